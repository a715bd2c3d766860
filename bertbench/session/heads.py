"""Timing whole classifiers where every model has one for the task, so that a back-end's answers can be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bertbench.models.loading import has_head, output_order
from bertbench.models.sources import Encoder, finetuned_source
from bertbench.session.plan import Plan
from bertbench.session.run import Session
from bertbench.specs.tasks import SEQUENCES, TaskSpec
from bertbench.specs.timing import Head
from bertbench.tasks.data import Examples

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats

SCORED_EXAMPLES = 128  # a check of the back-end, not an evaluation


@dataclass(frozen=True)
class Heads:
    """What is timed: bare encoders (`head` None), or classifiers with the class that each of their outputs stands for."""

    encoders: tuple[Encoder, ...]
    head: Head | None = None
    task: TaskSpec | None = None
    orders: dict[str, list[int] | None] = field(default_factory=dict)

    def score(self, model: str, logits: Floats, examples: Examples) -> float | None:
        """The task's score of a model's logits on the first of `examples`, one row each."""
        from bertbench.quality.evaluate import scores
        from bertbench.tasks.kinds.sequence_classification import classes

        assert self.task is not None  # noqa: S101 (callers have looked)
        predicted = classes(logits, self.orders[model]).tolist()
        found = scores(self.task, examples.first(len(logits)), predicted)
        return next((measurement.values[0] for measurement in found if measurement.quantity == "score"), None)


def choose(session: Session, encoders: Sequence[Encoder], plan: Plan) -> Heads:
    """Classifiers if `speed` has a task and every model can be had fine-tuned on it; else the bare encoders."""
    bare = Heads(tuple(encoders))
    if session.request.command != "speed" or not session.request.tasks or not plan.data:
        return bare
    task = session.request.tasks[0]
    if task.kind != SEQUENCES:
        return bare
    found: list[Encoder] = []
    for encoder in encoders:
        source = finetuned_source(encoder, task.name, lambda _: None)
        if (
            source is None
            and encoder.source.weights == "pretrained"
            and has_head(encoder.source.folder, "sequence-classification")
        ):
            source = encoder.source
        if source is not None and source.folder is not None:
            found.append(replace(encoder, source=source))
    if len(found) < len(encoders):
        if found:
            names = ", ".join(encoder.spec.name for encoder in found)
            session.say(f"bare encoders are timed: only {names} can be had fine-tuned on {task.name}")
        return bare
    orders = {encoder.spec.name: _order(encoder, task) for encoder in found}
    return Heads(tuple(found), "sequence-classification", task, orders)


def _order(encoder: Encoder, task: TaskSpec) -> list[int] | None:
    """The class index that each output stands for; None for regression."""
    from bertbench.models.architecture import config_of

    if task.labels is None:
        return None
    config = config_of(encoder.spec, encoder.source.folder)
    outputs, _ = output_order(encoder.spec.name, config.id2label, task.labels, encoder.source.outputs)
    return [task.labels.index(label) for label in outputs]
