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
    """Compare models in size, speed, memory and quality.

    Published figures stand beside what is measured. Repeat the command with more time to refine the table.

    Example: bertbench compare --models bert,distilbert --max-minutes 5
    """
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
    figures = _published(study) if with_published else []
    request, fallback = _request(study), study.suite().fallback
    first = answer(study, request, figures)
    # Without hub and data the fallback still shows real scores, of models that are trained here.
    # A shard has no fallback, which would be whole only where each shard took to it.
    if not fallback or request.part is not None or not _quality_is_absent(first):
        return [first]
    return [first, *_fallback(study, fallback, request, clock, figures)]


def _published(study: Study) -> list[PublishedFigure]:
    from bertbench.specs import published  # specs: slow for a help text

    return published.load(study.catalog)


def _fallback(
    study: Study, name: str, first: Request, clock: Callable[[], float], figures: list[PublishedFigure]
) -> list[Answer]:
    """Measure the fallback suite with its own recipe, in what time is left; its failure never costs the first report."""
    # What was chosen for the first suite's models and data does not fit the fallback's; the limit is that of the command.
    options = replace(
        study.options,
        learning_rate=None,
        batch_size=None,
        max_length=None,
        data_dir=None,
        allow_metric=None,
        finetune=False,
        full=False,
        max_minutes=first.options.max_minutes or 0.0,
    )
    try:
        if first.deadline is not None and clock() >= first.deadline:
            raise MeasurementError("--max-minutes is used up")
        fallback = replace(study, options=options)
        suite = study.catalog.suite(name)
        request = fallback.request(suite, suite.tasks, models="all", reference=None, run=False)
        return [answer(fallback, replace(request, started=first.started), figures)]
    except BertBenchError as error:
        study.say(f"suite {name} is left out: {error}")
        return []


def _quality_is_absent(answer: Answer) -> bool:
    """Tell whether not one of the models has a score, because data or weights could not be had."""
    quality = [
        record for record in answer.stored.records if record.kind == "quality" and record.model_name in answer.models
    ]
    return bool(quality) and all(record.error is not None and record.error.kind == UNAVAILABLE for record in quality)
