"""`bertbench compare`: what the store may answer, and the fallback suite."""

import json
from dataclasses import replace

import pytest

from bertbench import cli
from bertbench.commands import compare
from bertbench.errors import MeasurementError
from bertbench.records.record import UNAVAILABLE, Failure
from bertbench.session.study import Study
from tests.factories import failed, session_record, size_record, stored_session

BASE = ("bert", "distilbert", "albert")


def absent(model, kind=UNAVAILABLE):
    """A quality record of a cell that had no data or weights."""
    fields = {"run_id": f"quality-{model}", "task_name": "sst2", "seed": 0, "weights": "random"}
    return replace(failed("quality", model, status="skipped", **fields), error=Failure(kind, "the hub is away"))


@pytest.fixture
def first(tmp_path):
    """A session of base without quality."""
    records = [record for model in BASE for record in (size_record(model), absent(model))]
    return stored_session(tmp_path / "results", records=records, session=session_record(BASE))


@pytest.fixture
def measured(monkeypatch, first, tmp_path):
    """Requests that were measured; the first is answered with `first`, the fallback fails unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    requests = []
    answers = [first, MeasurementError("too hot")]

    def measure(_, request):
        requests.append(request)
        answer = answers[len(requests) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Study, "measure_or_read", measure)
    measure.requests, measure.answers = requests, answers
    return measure


def test_failing_fallback_never_costs_the_first_report(measured, capsys):
    """If the fallback suite cannot be measured, that is said and the first suite's report is shown all the same."""
    assert cli.main(["compare", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert "suite demo is left out: too hot" in captured.err
    assert {row["model"] for row in json.loads(captured.out)["rows"]} >= set(BASE)
    assert [request.suite.name for request in measured.requests] == ["base", "demo"]


def test_fallback_has_its_own_recipe(measured, capsys, tmp_path):
    """Lengths, rates, batches and data meant for the first suite are not used for the fallback; samples and seeds are."""
    given = {"--max-length": "128", "--learning-rate": "1e-5", "--batch-size": "8", "--data-dir": str(tmp_path)}
    options = [part for pair in given.items() for part in pair]
    assert cli.main(["compare", "--finetune", "--eval-samples", "7", "--seed", "3", *options]) == 0
    first, second = (request.options for request in measured.requests)
    assert (first.max_length, first.learning_rate, first.batch_size, first.finetune) == (128, 1e-5, 8, True)
    assert (second.max_length, second.learning_rate, second.batch_size, second.data_dir) == (None,) * 4
    assert not second.finetune
    assert (second.eval_samples, second.seeds) == (7, (3,))


def test_fallback_has_what_time_is_left(measured, monkeypatch, capsys):
    """--max-minutes is for both suites together; if nothing is left the fallback is left out."""
    clock = iter([0.0, 90.0])
    monkeypatch.setattr(compare, "time", type("Clock", (), {"monotonic": lambda: next(clock)}))
    assert cli.main(["compare", "--max-minutes", "2"]) == 0
    assert [request.options.max_minutes for request in measured.requests] == [2.0, 0.5]
    measured.requests.clear()
    clock = iter([0.0, 150.0])
    assert cli.main(["compare", "--max-minutes", "2"]) == 0
    assert "suite demo is left out: --max-minutes is used up" in capsys.readouterr().err
    assert len(measured.requests) == 1


@pytest.mark.parametrize("kind", ["OutOfTime", "MeasurementError"])
def test_fallback_is_for_what_cannot_be_had(measured, first, kind, capsys):
    """A quality run that failed, or that time ran out for, is no reason to show another suite."""
    records = tuple(
        replace(absent(record.model_name, kind)) if record.kind == "quality" else record for record in first.records
    )
    measured.answers[0] = replace(first, records=records)
    cli.main(["compare"])
    assert [request.suite.name for request in measured.requests] == ["base"]


def test_published_scores_are_shown_where_asked(measured, first, capsys):
    """--with-published puts the published scores of every task that was tried into the table; without it the YAML's are all."""
    records = tuple(
        replace(record, task_name="squad") if record.kind == "quality" else record for record in first.records
    )
    for options, shown in (([], False), (["--with-published"], True)):
        measured.requests.clear()
        measured.answers[0] = replace(first, records=records)
        assert cli.main(["compare", "--format", "json", *options]) == 0
        assert ("88.5 on squad (dev), Answer f1" in capsys.readouterr().out) is shown
