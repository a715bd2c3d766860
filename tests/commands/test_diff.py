"""`bertbench diff`: what two stored results differ in, and which examples flipped."""

import json

import pandas as pd
import pytest

from bertbench import cli
from bertbench.records.store import Store
from bertbench.report.compare.differences import compared
from tests.factories import environment, failed, quality_record, session_record, size_record

IDS = ("20260101T120000-aaaaaa", "20260102T120000-bbbbbb")
LABELS = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]


def frame(values, labels=LABELS, split="validation"):
    """Predictions with the labels."""
    ids = [f"e{index}" for index in range(len(values))]
    return pd.DataFrame({"example_id": ids, "split": split, "prediction": values, "label": labels})


@pytest.fixture
def root(tmp_path):
    """Two sessions with a size and a quality run each: another learning rate, another torch, three flipped examples."""
    given = zip(IDS, ([0.0, 1, 0, 1, 1, 0], [0.0, 1, 0, 0, 0, 1]), (2e-5, 3e-5), ("2.6.0", "2.7.0"), strict=True)
    for session_id, values, rate, torch in given:
        store = Store(tmp_path)
        store.write_session(session_record(session_id=session_id))
        common = {"session_id": session_id, "environment": environment(packages={"torch": torch})}
        store.write_record(size_record(run_id=f"{session_id}-size-bert", **common))
        table = frame(values)
        sidecar = store.write_sidecar(session_id, "predictions", table)
        settings = {"learning_rate": rate, "epochs": 3}
        run = quality_record("bert", table, sidecar=sidecar, run_id=f"{session_id}-q", settings=settings, **common)
        store.write_record(run)
    return tmp_path


def diff(root, capsys, first, second, *options, code=0):
    """The command's tables by title, or what it says."""
    assert cli.main(["diff", first, second, "--results-dir", str(root), "--format", "json", *options]) == code
    captured = capsys.readouterr()
    if code:
        return captured.err
    content = json.loads(captured.out)
    return {table["title"]: table for table in content["tables"]} | {"notes": content["notes"]}


def test_runs_are_told_apart(root, capsys):
    """Settings and versions that differ are listed with both values, and nothing that is the same."""
    found = diff(root, capsys, f"{IDS[0]}-q", f"{IDS[1]}-q")["What differs"]["rows"]
    assert {(row["Of"], row["What"], row["First"], row["Second"]) for row in found} == {
        ("settings", "learning_rate", "2e-05", "3e-05"),
        ("versions", "torch", "2.6.0", "2.7.0"),
    }


def test_flipped_examples_are_counted_both_ways(root, capsys):
    """Examples that only one run got right are counted and named for each."""
    table = diff(root, capsys, f"{IDS[0]}-q", f"{IDS[1]}-q")["Flipped examples: quality bert sst2 seed 1"]
    assert [(row["What"], row["Examples"], row["Ids"]) for row in table["rows"]] == [
        ("only the first is right", "1", "e3"),
        ("only the second is right", "2", "e4, e5"),
        ("both wrong, differently", "0", None),
    ]
    assert table["notes"] == ["3 of 6 examples have the same prediction"]


def test_sessions_are_compared_run_by_run(root, capsys):
    """Runs of the same are put side by side; what differs everywhere is said once, what only one session has is named."""
    Store(root).write_record(failed("memory", session_id=IDS[0], run_id=f"{IDS[0]}-memory-bert"))
    tables = diff(root, capsys, IDS[0], "20260102")
    found = {(row["What"], row["Runs"]) for row in tables["What differs"]["rows"]}
    assert found == {("torch", "all"), ("learning_rate", "quality bert sst2 seed 1")}
    figures = {(row["Run"], row["Quantity"]): row["Ratio"] for row in tables["Figures"]["rows"]}
    assert figures["quality bert sst2 seed 1", "Accuracy, validation"] == "1.250x"
    assert tables["notes"] == ["only in the first: memory bert"]


def test_what_is_the_same_is_said(root, capsys):
    """Two results that differ in nothing recorded leave chance."""
    assert "nothing that is recorded differs" in diff(root, capsys, IDS[0], IDS[0])["notes"][0]


def test_fewer_ids_where_asked(root, capsys):
    """--examples cuts the ids, not the counts, and says so."""
    table = diff(root, capsys, IDS[0], IDS[1], "--examples", "1")["Flipped examples: quality bert sst2 seed 1"]
    assert (table["rows"][1]["Examples"], table["rows"][1]["Ids"]) == ("2", "e4")
    assert "the first 1 ids" in table["notes"][-1]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("2026", IDS[0], "ambiguous"),
        ("nothing", IDS[0], "no run 'nothing'"),
        (IDS[0], f"{IDS[1]}-q", "one is a run, the other a session"),
        (f"{IDS[0]}-q", f"{IDS[1]}-size", "is a run of quality"),
    ],
)
def test_what_cannot_be_compared_is_said(root, capsys, first, second, said):
    """Unknown, ambiguous and unlike ids are one clear line."""
    assert said in diff(root, capsys, first, second, code=2)


def test_lists_of_tags_and_answers_are_judged_as_their_tasks_do():
    """Tags: fewer wrong is better; answers: any accepted one is right, articles and case aside."""
    tags = ['["O", "B"]', '["O", "O"]']
    found = compared(frame(tags[:1], tags[:1]), frame(tags[1:], tags[:1]))
    assert (found.only_first, found.only_second) == (("e0",), ())
    labels = ['["the cat", "cats"]', "[]"]
    found = compared(frame(['"Cat"', '""'], labels), frame(['"dog"', '"x"'], labels))
    assert (found.only_first, found.otherwise) == (("e0", "e1"), ())


def test_numbers_go_by_which_is_closer():
    """In a regression the run whose prediction is nearer to the label has it."""
    found = compared(frame([0.5, 2.0], [0.4, 3.5]), frame([0.9, 3.0], [0.4, 3.5]))
    assert (found.only_first, found.only_second, found.same) == (("e0",), ("e1",), 0)


def test_examples_of_one_run_only_are_counted():
    """Examples that the other run did not see, or saw with another label, are not compared."""
    found = compared(frame([0.0, 1.0], [0.0, 1.0]), frame([0.0, 1.0, 1.0], [0.0, 0.0, 1.0]))
    assert (found.same, found.unmatched) == (1, 2)


def test_ids_that_repeat_are_paired_one_by_one():
    """Older records may hold an id twice: the first goes with the first, not with both."""
    one, two = frame([0.0, 1.0], [0.0, 1.0]), frame([0.0, 0.0], [0.0, 1.0])
    found = compared(one.assign(example_id="7"), two.assign(example_id="7"))
    assert (found.same, found.only_first, found.unmatched) == (1, ("7",), 0)
