"""`bertbench compare`: the table of BERT, DistilBERT and ALBERT, or of any other models."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bertbench.commands._measuring import Answer, Measuring
from bertbench.commands._measuring_options import takes_measuring_options

OWN_TO_A_SUITE = ("learning_rate", "batch_size", "max_length", "data_dir")  # not meant for the fallback's models


PublishedOption = Annotated[
    bool, typer.Option("--with-published", help="Show published scores on every task measured (`bertbench published`).")
]


@takes_measuring_options()
def compare(given: Mapping[str, Any], with_published: PublishedOption = False) -> None:
    """Compare models in size, speed, memory and quality, beside what was published."""
    started = time.monotonic()
    measuring = Measuring("compare", given, with_published=with_published)
    suite = measuring.catalog.suite(given["suite"] or "base")
    first = measuring.answer(suite, suite.tasks, models=given["models"], reference=given["reference"], run=False)
    answers = [first]
    if suite.fallback and _quality_is_absent(first):
        answers += _fallback(measuring, suite.fallback, time.monotonic() - started)
    measuring.finish(answers)


def _fallback(measuring: Measuring, name: str, used_s: float) -> list[Answer]:
    """The fallback suite with its own recipe, in what time is left; its failure never costs the first report."""
    from bertbench.commands._display import say
    from bertbench.errors import BertBenchError, MeasurementError

    measuring.given |= dict.fromkeys(OWN_TO_A_SUITE) | {"finetune": False}
    try:
        if measuring.given["max_minutes"] is not None:
            measuring.given["max_minutes"] -= used_s / 60
            if measuring.given["max_minutes"] <= 0:
                raise MeasurementError("--max-minutes is used up")
        suite = measuring.catalog.suite(name)
        return [measuring.answer(suite, suite.tasks, models="all", reference=None, run=False)]
    except BertBenchError as error:
        say(f"suite {name} is left out: {error}")
        return []


def _quality_is_absent(answer: Answer) -> bool:
    """True if not one of the models has a score, because data or weights could not be had."""
    from bertbench.records.record import UNAVAILABLE

    quality = [
        record for record in answer.stored.records if record.kind == "quality" and record.model_name in answer.models
    ]
    return bool(quality) and all(record.error is not None and record.error.kind == UNAVAILABLE for record in quality)
