"""What Python programs and notebooks call: a comparison like that of `bertbench compare`, as an object.

    import bertbench
    result = bertbench.compare(models=["bert", "distilbert"], tasks=["sst2"], max_minutes=5)
    result                # in a notebook: the table
    result.to_pandas()    # a row a figure, with the columns of `--format csv`
    result.plot()         # quality against latency

Errors are those of the command line (`bertbench.errors`), raised. What is done is said on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from bertbench.errors import NothingMeasuredError, UnknownNameError
from bertbench.records.progress import Unwatched
from bertbench.records.store import open_store
from bertbench.report.notebook import as_html
from bertbench.report.row import HEADER, columns
from bertbench.report.tables.figures import shape_label
from bertbench.safe_text import visible
from bertbench.session.options import StudyOptions
from bertbench.session.selection import resolve_tasks, suite_for
from bertbench.session.study import Study
from bertbench.specs.catalog import Catalog

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.records.stored import StoredSession
    from bertbench.report.row import Report, Row
    from bertbench.session.request import Request

NUMBERS = frozenset({"value", "low", "high", "ratio", "ratio_low", "ratio_high"})
COUNTS = frozenset({"n", "batch_size", "sequence_length", "threads"})
ALL_TASKS = "all-tasks"  # what rows call the mean over all of them


@dataclass(frozen=True)
class ComparisonResult:
    """What was compared: its report, and by model name the rows of figures in it."""

    report: Report

    def __repr__(self) -> str:
        return f"<comparison of {visible(self.report.title)}: {len(self.report.rows):,} figures>"

    def _repr_html_(self) -> str:
        """Give notebooks the table at a glance, with its notes."""
        return as_html(self.report)

    def to_pandas(self) -> pd.DataFrame:
        """Return a row a figure, in base units, with the columns of the long CSV; what is absent is missing."""
        import pandas as pd

        rows = [columns(row) for row in self.report.rows]
        return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=_dtype(name)) for name in HEADER})

    def plot(self, task: str | None = None) -> Any:
        """Draw quality against latency, a point a model, as a chart of altair.

        Args:
            task: whose score is drawn; None: the mean over all tasks, or the only one there is.

        Raises:
            ImportError: altair is not installed.
            NothingMeasuredError: no model has both a latency and a score.
        """
        try:
            import altair as alt
        except ImportError:
            raise ImportError("plot() needs altair: pip install 'bertbench[report]'") from None
        points = self._points(task)
        if not points:
            raise NothingMeasuredError("nothing to plot: no model has both a latency and a score")
        scale = alt.Scale(zero=False)
        shape, quality = points[0]["shape"], points[0]["task"]
        inline = alt.Data(values=points)  # type: ignore[no-untyped-call]
        places = alt.Chart(inline).encode(
            x=alt.X("latency:Q", title=f"Median latency at {shape}, ms", scale=scale),
            y=alt.Y("score:Q", title=f"Score on {quality}", scale=scale),
            tooltip=["model:N", "latency:Q", "score:Q"],
        )
        return places.mark_point(filled=True, size=80) + places.mark_text(align="left", dx=8).encode(text="model:N")

    def _points(self, task: str | None) -> list[dict[str, Any]]:
        """List the models that have both, with what a chart shows of them."""
        means = [row for row in self.report.rows if row.quantity == "score" and row.statistic in {"mean", "macro"}]
        tasks = [row.task for row in means if row.value is not None]
        named = task or (ALL_TASKS if ALL_TASKS in tasks else next(iter(tasks), None))
        scores: dict[str | None, float] = {}
        for row in means:
            if row.task == named and row.value is not None:
                scores.setdefault(row.model, row.value * 100)
        shape, latencies = _latencies(self.report.rows)
        return [
            {
                "model": visible(str(model)),
                "latency": latency,
                "score": scores[model],
                "shape": shape,
                "task": visible(str(named)),
            }
            for model, latency in latencies.items()
            if model in scores
        ]


def _latencies(rows: Sequence[Row]) -> tuple[str, dict[str | None, float]]:
    """Return the first shape that was timed, and by model its median latency in ms."""
    shape: str | None = None
    latencies: dict[str | None, float] = {}
    for row in rows:
        if row.quantity == "latency" and row.statistic == "median" and row.value is not None:
            shape = shape or shape_label(row)
            if shape_label(row) == shape:
                latencies.setdefault(row.model, row.value * 1e3)
    return shape or "", latencies


def _dtype(name: str) -> str:
    return "float64" if name in NUMBERS else "Int64" if name in COUNTS else "string"


def compare(
    models: str | Sequence[str] = "all",
    tasks: str | Sequence[str] | None = None,
    *,
    suite: str | None = None,
    reference: str | None = None,
    results_dir: str | PathLike[str] = "results",
    max_minutes: float | None = None,
    from_store: bool = False,
    **options: Any,
) -> ComparisonResult:
    """Compare models in size, speed, memory and quality, or read the comparison from what is stored.

    Args:
        models: names, hub ids, folders or run:<id>; 'all': those of the suite.
        tasks: names of tasks and groups; None: those of the suite.
        suite: gives models, tasks and timing (default: base, or the one that fits the first of `tasks`).
        reference: model that ratios refer to (default: the suite's).
        results_dir: folder, or URL of a remote store, where everything measured is stored.
        max_minutes: time limit, 0 for none (default: 15 on a CPU).
        from_store: read the store only, measure nothing.
        options: the other options of `bertbench compare` by their names in Python, such as fresh=True or eval_samples=500.

    Raises:
        BertBenchError: the comparison cannot be made, or the store has none.
    """
    known = {field.name for field in fields(StudyOptions)} - {"dry_run"}  # which would measure all the same
    for name in options.keys() - known:
        raise UnknownNameError("option", name, known)
    chosen = StudyOptions(
        models=_joined(models),
        suite=suite,
        reference=reference,
        results_dir=fspath(results_dir),
        max_minutes=max_minutes,
        from_store=from_store,
        **options,
    )
    catalog = Catalog(chosen.config_dir or (), chosen.allowed_metrics)
    study = Study("compare", chosen, catalog, open_store(chosen.results_dir), _say, _lines)
    request = _request(study, None if tasks is None else _joined(tasks))
    return ComparisonResult(_report(study, request, study.measure_or_read(request)))


def _joined(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _request(study: Study, tasks: str | None) -> Request:
    chosen, catalog = study.options, study.catalog
    if tasks is None:
        suite = study.suite()
        names: Sequence[str] = suite.tasks
    else:
        names = resolve_tasks(tasks, catalog, chosen.suite or "base")
        suite = catalog.suite(chosen.suite or suite_for(names[0], catalog))
    request = study.request(suite, names, models=chosen.models, reference=chosen.reference, run=False)
    return replace(request, argv=())  # those of a notebook's kernel say nothing


def _report(study: Study, request: Request, stored: StoredSession) -> Report:
    from bertbench.report.compare.build import build  # scipy: after what may end in an error at once
    from bertbench.report.compare.notes import mark_stale
    from bertbench.specs.claim_checks import usable

    specs = {spec.name: spec for spec in request.models}
    report = build(stored, specs, tuple(specs), request.reference, claims=usable(study.catalog))
    return mark_stale(report, stored, study.catalog)


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 (a notebook shows it below the cell)


@dataclass
class _Lines(Unwatched):
    """A screen that says lines, and no more."""

    def say(self, line: str) -> None:
        """Print one line for people."""
        _say(line)

    def __call__(self, label: str, done: float, total: float) -> None:
        """Show nothing of a step's progress."""


@contextmanager
def _lines() -> Iterator[_Lines]:
    yield _Lines()
