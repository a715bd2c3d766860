"""What timing is asked for: how a model is run, the shapes of its passes, and how often they are timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bertbench.specs.base import Positive, PositiveFloat, Spec

Head = Literal["sequence-classification"]


@dataclass(frozen=True)
class ExecutionSettings:
    """How a model is run.

    `device` and `dtype` are resolved names ('cpu', 'cuda:0'; 'fp32', 'bf16', 'fp16', 'int8'), `attention` is transformers'
    name of an attention implementation, used where the architecture and the back-end have a choice. `head` None runs the
    bare encoder with its pooler.
    """

    device: str = "cpu"
    dtype: str = "fp32"
    threads: int = 1
    backend: str = "eager"
    attention: str = "sdpa"
    head: Head | None = None


class ShapeSpec(Spec):
    """What one timed pass is given: `batch_size` inputs of a fixed `sequence_length`, or a task's natural lengths.

    `sequence_length: null` means natural lengths, in batches that are padded to their longest. With `whole_split` every
    example of the split is taken once, sorted by length where batches are larger than 1, and the time for all of them is
    the figure. Null `turns`, `passes` and `warmup_passes` mean those of the TimingSpec.
    """

    batch_size: Positive = 1
    sequence_length: Annotated[int, Field(ge=1)] | None = 128
    whole_split: bool = False
    turns: Positive | None = None
    passes: Positive | None = None
    warmup_passes: Positive | None = None

    @model_validator(mode="after")
    def _split_is_natural(self) -> ShapeSpec:
        if self.whole_split and self.sequence_length is not None:
            raise ValueError("'whole_split' goes with natural lengths: set 'sequence_length: null'")
        return self

    @property
    def scenario(self) -> Literal["fixed", "natural", "offline"]:
        """'fixed' or 'natural' lengths, or a whole split ('offline', MLPerf's name for it)."""
        if self.whole_split:
            return "offline"
        return "natural" if self.sequence_length is None else "fixed"

    @property
    def label(self) -> str:
        """A short name, e.g. '1x128', '1xnatural' or '32xsplit'."""
        return f"{self.batch_size}x{'split' if self.whole_split else self.sequence_length or 'natural'}"


class TimingSpec(Spec):
    """The timing protocol's counts; the first shape is the one that speed-ups are quoted for.

    `warmup_passes` null: as many as the model was seen to need on this machine. With `precision`, a relative half-width,
    rounds are taken until every ratio's interval is that narrow, `rounds` at most. A turn that takes longer than
    `timeout_s` fails its shape. Where `turns` take less than `min_shape_s` seconds at a shape, more are taken in the round.
    With `same_cores` all workers of a round run on the same cores, other ones in the next round (Linux, CPU).
    """

    rounds: Annotated[int, Field(ge=2)] = 5  # fewer give no interval
    turns: Positive = 7
    passes: Positive = 2
    min_turn_s: Annotated[float, Field(ge=0)] = 0.03
    min_shape_s: Annotated[float, Field(ge=0)] = 0.0
    same_cores: bool = False
    warmup_passes: Positive | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    timeout_s: PositiveFloat = 60.0
    shapes: Annotated[tuple[ShapeSpec, ...], Field(min_length=1)] = (ShapeSpec(),)

    @model_validator(mode="after")
    def _distinct_shapes(self) -> TimingSpec:
        labels = [shape.label for shape in self.shapes]
        if len(set(labels)) != len(labels):
            raise ValueError("'shapes' holds the same batch size and length twice")
        return self
