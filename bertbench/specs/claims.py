"""Claims as YAML states them: what is said, what that means measured, and which evidence settles it.

Judging them is the work of `bertbench.stats.claim_tests`; finding the evidence that of `bertbench.report.claims.proofs`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bertbench.specs.base import Name, Positive, Spec
from bertbench.units import Kind

Outcome = Literal["supported", "refuted", "inconclusive"]
Statistic = Literal["ratio", "speedup", "difference", "value"]
Relation = Literal["at_most", "at_least", "equal"]
Scenario = Literal["fixed", "natural", "offline"]

# What gives a quantity; all others, metrics among them, are of quality runs.
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("parameters", "parameter_bytes", "checkpoint_bytes", "flops"), "size"),
    **dict.fromkeys(("latency", "speedup", "throughput", "inference_time", "energy"), "speed"),
    "peak_memory": "memory",
}
TIMES_OF_TRAINING = frozenset({"training_time", "evaluation_time"})
BESIDE_SCORES = frozenset({*TIMES_OF_TRAINING, "training_loss", "padding_waste"})  # of quality runs, and no scores


class Needs(Spec):
    """The evidence that a claim takes. Counts are the least; `capped_training`: training cut to fit a time limit will do.

    Scores of fine-tuned models take three seeds, if `seeds` asks for fewer. `one_recipe`: what is compared was
    trained alike, in batch, rate, epochs and length, and published checkpoints learnt the task alike, by labels or by a teacher.
    """

    rounds: Annotated[int, Field(ge=2)] = 2  # fewer give no interval
    seeds: Positive = 1
    device: Literal["cpu", "cuda", "mps"] | None = None
    capped_training: bool = False
    one_recipe: bool = True


class ClaimSpec(Spec):
    """A claim made measurable.

    `statistic` of `quantity` of `model` against `reference` is compared with `expected`: a ratio (model / reference), a
    speed-up (how many times as fast), a difference, or the model's own value. `reading` picks one of several readings of a
    quantity ('training' of peak_memory); the usual one if left out. `task`, or `tasks` (names of tasks and groups) taken
    `over` their mean or each: then all must hold. `scenario`, `batch_size` and `sequence_length` name the cell.

    `checkpoints` binds names of models to the released checkpoints that the claim is about: what a project calls by the
    same name settles nothing. `expect` is the verdict that is expected; another one is a surprise.
    """

    name: Name
    wording: str
    short: str = ""
    document: str = ""
    source: str
    definition: str

    model: str
    reference: str | None = None
    checkpoints: dict[str, str] = Field(default_factory=dict)

    quantity: str
    statistic: Statistic = "ratio"
    reading: str | None = None
    task: str | None = None
    tasks: tuple[Name, ...] = ()
    over: Literal["mean", "each"] = "mean"
    scenario: Scenario | None = None
    batch_size: Positive | None = None
    sequence_length: Positive | None = None
    backend: str = "eager"
    dtype: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"

    relation: Relation
    expected: float
    margin: Annotated[float, Field(ge=0)]
    needs: Needs = Needs()
    evidence: str = ""
    expect: Outcome | None = None

    @model_validator(mode="after")
    def _can_be_judged(self) -> ClaimSpec:
        if not math.isfinite(self.expected) or not math.isfinite(self.margin):
            # A ratio is judged by its logarithm, which a bound of 0 or less has not.
            raise ValueError("'expected' and 'margin' must be finite numbers")
        if self.statistic in {"ratio", "speedup"} and self.least <= 0:
            raise ValueError(f"a {self.statistic} is above 0: 'expected' and 'margin' leave {self.least:g}")
        if self.task is not None and self.tasks:
            raise ValueError("'task' and 'tasks' cannot be given both")
        strangers = sorted(set(self.checkpoints) - {self.model, self.reference})
        if strangers:
            raise ValueError(f"'checkpoints' names {strangers[0]}, which is neither 'model' nor 'reference'")
        return self

    @property
    def least(self) -> float:
        """The smallest of the values that `expected` and `margin` make bounds of."""
        return self.expected + self.margin if self.relation == "at_most" else self.expected - self.margin

    @property
    def models(self) -> tuple[str, ...]:
        """The model, and the reference if there is one."""
        return (self.model,) if self.reference is None else (self.model, self.reference)

    @property
    def kind(self) -> Kind:
        """The kind of measuring that gives the quantity."""
        return KINDS.get(self.quantity, "quality")

    @property
    def is_timed(self) -> bool:
        """True if the figure is a time, which is compared within one session only."""
        return self.kind == "speed" or self.quantity in TIMES_OF_TRAINING

    @property
    def is_score(self) -> bool:
        """True if the figure is a score, which differs from seed to seed."""
        return self.kind == "quality" and self.quantity not in BESIDE_SCORES

    @property
    def title(self) -> str:
        """What it is called where there is little room."""
        return self.short or self.wording

    def on(self, task: str) -> ClaimSpec:
        """Return the same claim about one of its tasks."""
        fields: dict[str, Any] = {"task": task, "tasks": (), "over": "mean"}
        return self.model_copy(update=fields)
