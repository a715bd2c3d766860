"""What cannot be had is told before anything slow is loaded, by every command that measures, in the words of the later place."""

import pytest

CALL = """
import sys
from bertbench import cli
code = cli.main({arguments!r})
slow = {{"torch", "transformers", "datasets", "pandas", "scipy"}} & set(sys.modules)
print("\\n", code, *sorted(slow))
"""
NO_DATA = "data set nyu-mll/glue (sst2): not cached, and the hub cannot be reached. Run once with a connection"
NO_MODEL = "model google-bert/bert-base-uncased: not cached, and the hub cannot be reached."
NO_FOLDER = "data folder nowhere/sst2: no such folder. Expected files like nowhere/sst2/validation.parquet"
MINI = ("--models", "bert-mini")
GATE = {"baseline", "check"}
NOWHERE = ("--data-dir", "nowhere")


@pytest.fixture
def call(python, tmp_path):
    """Runs a command in a process of its own: how it ended, its exit code, and the slow libraries that it had loaded."""

    def run(*arguments, **options):
        done = python(CALL.format(arguments=list(arguments)), cwd=tmp_path, **options)
        code, *slow = done.stdout.splitlines()[-1].split()
        return done, int(code), slow

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--task", "sst2", *MINI), NO_DATA),
        (("run", "--task", "sst2", "--models", "bert"), NO_MODEL),
        (("run", "--task", "sst2", *MINI, *NOWHERE), NO_FOLDER),
        (("compare", *MINI, *NOWHERE), NO_FOLDER),
        (("baseline", "save", *MINI, *NOWHERE), NO_FOLDER),
        (("check", "--against-model", "albert-mini", *MINI, *NOWHERE), NO_FOLDER),
        (("distill", "--task", "sst2", "--teacher", "bert-mini"), NO_DATA),
        (("distill", "--task", "sst2", "--teacher", "bert"), NO_MODEL),
        (("distill", "--text", "org/texts", "--teacher", "bert", "--save-to", "kept"), "data set org/texts: the hub"),
        (("speed", "--task", "sst2", *MINI, *NOWHERE), NO_FOLDER),
        (("speed", "--task", "sst2", "--scenario", "natural", *MINI), f"task sst2: no texts to time: {NO_DATA[:40]}"),
        (
            ("speed", "--task", "demo-sentiment", "--scenario", "natural", "--models", "bert"),
            f"model bert: no tokenizer for texts to time: {NO_MODEL[:-1]}",
        ),
    ],
)  # fmt: skip
def test_error_comes_before_slow_libraries(call, arguments, message):
    """One line and exit code 2; none of the libraries is loaded that take seconds, but scipy, which the gate judges with."""
    done, code, slow = call(*arguments)
    assert done.error.startswith(message)
    assert code == 2
    assert set(slow) <= ({"scipy"} if arguments[0] in GATE else set())


def test_offline_mode_is_told_as_early(call):
    """HF_HUB_OFFLINE is the reason then."""
    done, code, slow = call("run", "--task", "sst2", *MINI, HF_HUB_OFFLINE="1")
    assert done.error.startswith(NO_DATA.replace("the hub cannot be reached", "HF_HUB_OFFLINE is set"))
    assert (code, slow) == (2, [])


def test_doctor_without_anything_to_examine_loads_nothing_slow(call):
    """Its table says why nothing is checked, as where something is."""
    done, code, slow = call("doctor", "--task", "sst2", "--models", "bert", "--format", "csv")
    assert (code, slow) == (4, [])
    assert NO_DATA.partition(". ")[0] in done.stdout
    assert NO_MODEL.removesuffix(".") in done.stdout


def test_claims_are_told_what_cannot_be_had(call):
    """`verify` says for each job why it was not measured, and loads torch for none of them."""
    done, code, slow = call("verify", "--claims", "distilbert-retains-97-percent", "--measure", *NOWHERE)
    assert "data folder nowhere/" in done.stderr, done.stderr
    assert code in {1, 4}
    assert {"torch", "transformers", "datasets"}.isdisjoint(slow)


def test_missing_training_file_is_told_at_once_where_it_is_needed(call, tmp_path):
    """A model without weights must be trained: the file is looked for before anything is loaded."""
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    (folder / "validation.csv").write_text("sentence,label\nfine,positive\n", encoding="utf-8")
    done, code, slow = call("run", "--task", "sst2", *MINI, "--data-dir", "data")
    assert done.error.startswith("data folder data/sst2: no file for split 'train'")
    assert (code, slow) == (2, [])
