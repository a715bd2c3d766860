"""`bertbench speed`: what a pass costs, by model, back-end, number format and shape of input."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.commands._options import MeasuringOptions, spread
from bertbench.commands._study import Answer, finish, open_study
from bertbench.session.options import SpeedOptions

if TYPE_CHECKING:
    from bertbench.session.request import Request
    from bertbench.session.study import Study


@spread(
    options=(
        "models", "reference", "suite", "file", "device", "threads", "max_minutes", "max_length", "data_dir", "output_format",
        "output", "layout", "quiet", "verbose", "fresh", "from_store", "config_dir", "results_dir",
    )
)  # fmt: skip
def speed(timed: SpeedOptions, options: MeasuringOptions) -> None:
    """Time models, back-ends, number formats and shapes side by side.

    Example: bertbench speed --models bert,distilbert --backends all --batch-sizes 1,8
    """
    from bertbench.session.speed_request import build  # specs: slow for a help text

    study = open_study("speed", replace(options, yes=True))  # no cell of it is a training run
    finish(options, [_answer(study, build(study, timed))])


def _answer(study: Study, request: Request) -> Answer:
    """Measure or read, and report."""
    stored = study.measure_or_read(request)
    from bertbench.report.compare.notes import mark_stale
    from bertbench.report.compare.speed_report import build_speed  # scipy: after what may end in an error at once

    names = tuple(spec.name for spec in request.models)
    paper = study.catalog.paper(request.options.paper) if request.options.paper else None
    report = build_speed(stored, {spec.name: spec for spec in request.models}, names, request.reference, paper=paper)
    return Answer(mark_stale(report, stored, study.catalog), stored, names)
