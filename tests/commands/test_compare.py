"""`bertbench compare`: what the store may answer, and the fallback suite."""

import json
import time
from dataclasses import replace

import pytest

from bertbench import cli
from bertbench.commands._study import exit_code
from bertbench.commands.compare import answers
from bertbench.errors import MeasurementError
from bertbench.records.record import UNAVAILABLE, Failure
from bertbench.records.store import Store
from bertbench.report.formats.json import PLUGIN
from tests.factories import answered, failed, session_record, size_record, stored_session, study

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
    """Compares, `measured(max_minutes=2.0)`: the first request is answered with `first`, the fallback fails."""
    monkeypatch.chdir(tmp_path)

    def compared(answer=first, clock=time.monotonic, *, with_published=False, **options):
        given = iter([answer, MeasurementError("too hot")])
        compared.requests, compared.said = [], []

        def measure(request):
            compared.requests.append(request)
            result = next(given)
            if isinstance(result, Exception):
                raise result
            return result

        given_study = answered(measure, Store(tmp_path / "results"), "compare", say=compared.said.append, **options)
        return answers(given_study, with_published=with_published, clock=clock)

    return compared


def test_failing_fallback_never_costs_the_first_report(measured):
    """If the fallback suite cannot be measured, that is said and the first suite's report is shown all the same."""
    (only,) = compared = measured()
    assert measured.said == ["suite demo is left out: too hot"]
    assert {row.model for row in only.report.rows} >= set(BASE)
    assert exit_code(compared) == 0
    assert [request.suite.name for request in measured.requests] == ["base", "demo"]


def test_fallback_has_its_own_recipe(measured, tmp_path):
    """Lengths, rates, batches and data meant for the first suite are not used for the fallback; samples and seeds are."""
    given = {"max_length": 128, "learning_rate": 1e-5, "batch_size": 8, "data_dir": tmp_path}
    measured(finetune=True, eval_samples=7, seed=3, **given)
    first, second = (request.options for request in measured.requests)
    assert (first.max_length, first.learning_rate, first.batch_size, first.finetune) == (128, 1e-5, 8, True)
    assert (second.max_length, second.learning_rate, second.batch_size, second.data_dir) == (None,) * 4
    assert not second.finetune
    assert (second.eval_samples, second.seeds) == (7, (3,))


def test_fallback_has_what_time_is_left(measured):
    """--max-minutes is for both suites together; if nothing is left the fallback is left out."""
    measured(clock=time.monotonic, max_minutes=2.0)
    first, second = measured.requests
    assert first.options.max_minutes == second.options.max_minutes == 2.0
    assert first.deadline == second.deadline
    measured(clock=lambda: time.monotonic() + 150, max_minutes=2.0)
    assert measured.said == ["suite demo is left out: --max-minutes is used up"]
    assert len(measured.requests) == 1


def test_fallback_has_no_limit_where_the_first_suite_has_none(measured):
    """Whoever asked for training, or for everything, has no limit of a quarter of an hour for the miniatures."""
    for options in ({"finetune": True}, {"full": True}):
        measured(**options)
        assert [request.options.max_minutes for request in measured.requests] == [None, None]


@pytest.mark.parametrize("kind", ["OutOfTime", "MeasurementError"])
def test_fallback_is_for_what_cannot_be_had(measured, first, kind):
    """A quality run that failed, or that time ran out for, is no reason to show another suite."""
    records = tuple(
        replace(absent(record.model_name, kind)) if record.kind == "quality" else record for record in first.records
    )
    measured(replace(first, records=records))
    assert [request.suite.name for request in measured.requests] == ["base"]


def test_published_scores_are_shown_where_asked(measured, first):
    """--with-published puts the published scores of every task that was tried into the table; without it the YAML's are all."""
    records = tuple(
        replace(record, task_name="squad") if record.kind == "quality" else record for record in first.records
    )
    for asked in (False, True):
        (only,) = measured(replace(first, records=records), with_published=asked)
        assert ("88.5 on squad (dev), Answer f1" in PLUGIN.render(only.report, layout="long", width=None)) is asked


def test_the_whole_command(tmp_path, monkeypatch, capsys):
    """From options to a report on stdout, with what is stored; a fallback without a session is said and left out."""
    monkeypatch.chdir(tmp_path)
    chosen = study(Store(tmp_path / "elsewhere"), "compare")
    suite = chosen.suite()
    asked = chosen.request(suite, suite.tasks, models=chosen.options.models, reference=None, run=False)
    known = asked.canonical(dict.fromkeys(BASE, "w"), dict.fromkeys(suite.tasks, "d"), "elsewhere")
    records = [record for model in BASE for record in (size_record(model), absent(model))]
    stored_session(tmp_path / "results", records=records, session=session_record(BASE, request=known))
    assert cli.main(["compare", "--from-store", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert "suite demo is left out: no complete session of" in captured.err
    assert {row["model"] for row in json.loads(captured.out)["rows"]} >= set(BASE)


def test_a_dry_run_shows_the_plan_and_measures_nothing(tmp_path, capsys):
    """The plan stands on stdout with what it takes; nothing is stored."""
    folder = tmp_path / "results"
    assert cli.main(["compare", "--suite", "demo", "--dry-run", "--results-dir", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plan (6 steps, about ")
    assert any("fine-tuning bert-mini on demo-sentiment" in line for line in lines)
    assert not list(folder.glob("sessions/*"))
