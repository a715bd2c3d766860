"""bertbench in Python: `compare` gives an object that notebooks show, pandas takes and altair draws."""

import inspect
import re
import sys

import pytest

import bertbench
from bertbench import api, cli
from bertbench.api import ComparisonResult
from bertbench.errors import NothingMeasuredError, UnknownNameError
from bertbench.records.store import Store
from bertbench.report.row import HEADER, Report, Row
from tests.factories import predictions, session_record, size_record, stored_session, study, timing_rows
from tests.report.test_notebook import Shown

BASE = ("bert", "distilbert", "albert")
LATENCY = {"quantity": "latency", "statistic": "median", "batch_size": 1, "sequence_length": 128}
SCORE = {"quantity": "score", "statistic": "mean", "task": "sst2"}
ROWS = (
    Row(model="bert", value=0.2, n=5, **LATENCY),
    Row(model="bert", value=0.9, low=0.8, high=0.95, **SCORE),
    Row(model="distilbert", value=0.1, **LATENCY),
    Row(model="distilbert", value=0.1, **(LATENCY | {"batch_size": 8})),
    Row(model="distilbert", value=0.85, **SCORE),
    Row(model="albert", value=0.3, **LATENCY),
)


def result_of(*rows):
    """A result with these rows."""
    return ComparisonResult(Report("A report", (), rows))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A results folder with a complete session of the base suite, and the working directory above it."""
    monkeypatch.chdir(tmp_path)
    chosen = study(Store(tmp_path / "elsewhere"), "compare")
    suite = chosen.suite()
    asked = chosen.request(suite, suite.tasks, models="all", reference=None, run=False)
    known = asked.canonical(dict.fromkeys(BASE, "w"), dict.fromkeys(suite.tasks, "d"), "elsewhere")
    stored_session(
        tmp_path / "results",
        records=[size_record(model) for model in BASE],
        timings=timing_rows(dict(zip(BASE, (0.2, 0.1, 0.3), strict=True)), turns=3),
        scored=[(model, predictions(share, seed=index)) for index, (model, share) in enumerate(zip(BASE, (0.9, 0.8, 0.7), strict=True))],
        session=session_record(BASE, request=known),
    )  # fmt: skip
    return tmp_path / "results"


def test_a_comparison_from_the_store(stored):
    """`compare` finds what the command line finds, with the same rows, and measures nothing."""
    result = bertbench.compare(results_dir=stored, from_store=True)
    frame = result.to_pandas()
    assert {"bert", "distilbert", "albert"} == set(frame["model"].dropna())
    assert {"latency", "score", "parameters"} <= set(frame["quantity"])
    assert cli.main(["compare", "--from-store", "--output", "table.csv"]) == 0
    import pandas as pd

    told = pd.read_csv(stored.parent / "table.csv")
    assert len(told) == len(frame)
    assert told["value"].tolist() == pytest.approx(frame["value"].tolist(), nan_ok=True)
    shown = Shown(result._repr_html_())
    assert shown.open == []
    assert "DistilBERT" in shown.text
    assert "Latency" not in shown.text  # the table at a glance, not every figure


def test_nothing_in_the_store(tmp_path):
    """What the store does not have is the command line's error, raised."""
    with pytest.raises(NothingMeasuredError, match="no complete session"):
        bertbench.compare("bert,distilbert", results_dir=tmp_path, from_store=True)
    with pytest.raises(UnknownNameError, match="did you mean 'bert'"):
        bertbench.compare(["bertt"], results_dir=tmp_path, from_store=True)
    with pytest.raises(UnknownNameError, match="unknown option 'freshh'; did you mean 'fresh'"):
        bertbench.compare(results_dir=tmp_path, freshh=True)


@pytest.mark.parametrize("tasks", ["sst2,squad", ["sst2", "squad"]])
def test_names_are_a_list_or_a_text(tmp_path, monkeypatch, tasks):
    """Models and tasks are given as on the command line or as lists; a notebook's own arguments are kept out of records."""
    asked = []

    def measured(_, request):
        asked.append(request)
        raise NothingMeasuredError("enough")

    monkeypatch.setattr(api.Study, "measure_or_read", measured)
    monkeypatch.setattr(sys, "argv", ["kernel", "-f", "private.json"])
    with pytest.raises(NothingMeasuredError, match="enough"):
        bertbench.compare(["distilbert"], tasks, results_dir=tmp_path, max_minutes=3, eval_samples=7)
    (request,) = asked
    assert [task.name for task in request.tasks] == ["sst2", "squad"]
    assert [spec.name for spec in request.models] == ["bert", "distilbert"]
    assert (request.argv, request.options.max_minutes, request.options.eval_samples) == ((), 3, 7)


def test_to_pandas():
    """A row a figure with the columns of the long CSV, in types that keep what is absent missing."""
    frame = result_of(*ROWS).to_pandas()
    assert tuple(frame.columns) == HEADER
    assert frame["value"].dtype == "float64"
    assert str(frame["n"].dtype) == "Int64"
    assert frame["n"].isna().tolist() == [False] + [True] * 5
    assert frame.loc[1, ["low", "high"]].tolist() == [0.8, 0.95]
    assert result_of().to_pandas().empty


def test_repr_is_a_line():
    """Outside notebooks a result says what it is of."""
    assert repr(result_of(*ROWS)) == "<comparison of A report: 6 figures>"


def test_plot():
    """A chart has a point a model with a latency at the first shape and a score, in ms and points."""
    pytest.importorskip("altair")
    chart = result_of(*ROWS).plot().to_dict()
    (points,) = [layer["data"]["values"] for layer in chart["layer"][:1] if "data" in layer] or [
        chart["data"]["values"]
    ]
    assert [(point["model"], point["latency"], point["score"]) for point in points] == [
        ("bert", 200.0, 90.0),
        ("distilbert", 100.0, 85.0),
    ]
    assert "1x128, ms" in str(chart)
    with pytest.raises(NothingMeasuredError, match="nothing to plot"):
        result_of(*ROWS).plot(task="squad")
    with pytest.raises(NothingMeasuredError, match="nothing to plot"):
        result_of().plot()


def test_plot_takes_the_mean_of_several_tasks():
    """Of several tasks the mean is drawn, unless one is named."""
    pytest.importorskip("altair")
    mean = Row(model="bert", value=0.7, quantity="score", statistic="macro", task="all-tasks")
    result = result_of(*ROWS, mean)
    assert "Score on all-tasks" in str(result.plot().to_dict())
    assert "Score on sst2" in str(result.plot(task="sst2").to_dict())


def test_plot_without_altair(monkeypatch):
    """Without altair it is one line that says how to get it."""
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ImportError, match=re.escape("plot() needs altair: pip install 'bertbench[report]'")):
        result_of(*ROWS).plot()


def test_importing_is_light(python):
    """`import bertbench` loads nothing but the package, and what it offers is listed."""
    heavy = ("pandas", "numpy", "pydantic", "typer", "torch", "bertbench.api", "bertbench.session")
    assert python(f"import sys, bertbench; print(*set({heavy!r}) & sys.modules.keys())").stdout.strip() == ""
    assert bertbench.__all__ == sorted(bertbench.__all__)
    assert {"compare", "load_results"} <= set(dir(bertbench))


def test_the_two_signatures_are_one():
    """What the package offers takes what `bertbench.api` does, with the same defaults."""
    assert str(inspect.signature(bertbench.compare)) == str(inspect.signature(api.compare))


def test_a_dry_run_is_none_of_its_options():
    """It would measure all the same, so it is refused."""
    with pytest.raises(UnknownNameError, match="dry_run"):
        bertbench.compare(models="bert", dry_run=True)
