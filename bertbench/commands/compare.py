"""`bertbench compare`: the table of BERT, DistilBERT and ALBERT, or of any other models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench.commands._options import MeasuringOptions, spread
from bertbench.commands._study import Answer, answer, finish, open_study, show_plan
from bertbench.errors import BertBenchError, MeasurementError
from bertbench.records.record import UNAVAILABLE

if TYPE_CHECKING:
    from bertbench.session.request import Request
    from bertbench.session.study import Study
    from bertbench.specs.published import PublishedFigure

PublishedOption = Annotated[
    bool, Option("--with-published", help="Show published scores on every task measured (`bertbench published`).")
]


@spread()
def compare(with_published: PublishedOption = False, *, options: MeasuringOptions) -> None:
    """Compare models in size, speed, memory and quality, beside what was published."""
    study = open_study("compare", options)
    if options.dry_run:
        show_plan(study, _request(study))
        return
    finish(options, answers(study, with_published=with_published))


def _request(study: Study) -> Request:
    suite, options = study.suite(), study.options
    return study.request(suite, suite.tasks, models=options.models, reference=options.reference, run=False)


def answers(study: Study, *, with_published: bool = False, clock: Callable[[], float] = time.monotonic) -> list[Answer]:
    """Measure the suite, and its fallback where no model has a score; `clock` gives seconds.

    Raises:
        BertBenchError: the suite cannot be measured.
    """
    started = clock()
    figures = _published(study) if with_published else []
    request, fallback = _request(study), study.suite().fallback
    first = answer(study, request, figures)
    # Without hub and data the fallback still shows real scores, of models that are trained here.
    if not fallback or not _quality_is_absent(first):
        return [first]
    minutes = request.options.max_minutes
    left = None if minutes is None else minutes - (clock() - started) / 60
    return [first, *_fallback(study, fallback, left, figures)]


def _published(study: Study) -> list[PublishedFigure]:
    from bertbench.specs import published  # specs: slow for a help text

    return published.load(study.catalog)


def _fallback(study: Study, name: str, left: float | None, figures: list[PublishedFigure]) -> list[Answer]:
    """Measure the fallback suite with its own recipe, in what time is left; its failure never costs the first report."""
    # What was chosen for the first suite's models and data does not fit the fallback's.
    options = replace(
        study.options, learning_rate=None, batch_size=None, max_length=None, data_dir=None, finetune=False
    )
    try:
        if left is not None:
            if left <= 0:
                raise MeasurementError("--max-minutes is used up")
            options = replace(options, max_minutes=left)
        fallback = replace(study, options=options)
        suite = study.catalog.suite(name)
        return [
            answer(fallback, fallback.request(suite, suite.tasks, models="all", reference=None, run=False), figures)
        ]
    except BertBenchError as error:
        study.say(f"suite {name} is left out: {error}")
        return []


def _quality_is_absent(answer: Answer) -> bool:
    """Tell whether not one of the models has a score, because data or weights could not be had."""
    quality = [
        record for record in answer.stored.records if record.kind == "quality" and record.model_name in answer.models
    ]
    return bool(quality) and all(record.error is not None and record.error.kind == UNAVAILABLE for record in quality)
