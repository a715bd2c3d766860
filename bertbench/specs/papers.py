"""What a paper's table publishes and bertbench repeats: times of inference, numbers of parameters, or both."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bertbench.specs.base import Name, Positive, PositiveFloat, Spec


class PublishedParameters(Spec):
    """One published number of parameters and the architecture it is of, as changes to a model's configuration.

    A rebuilt count agrees if it rounds to `parameters`, to a multiple of `rounded_to`. `expected: differs` marks a cell that
    the described architecture does not give; `note` says why.
    """

    label: str
    model: Name
    parameters: PositiveFloat
    rounded_to: PositiveFloat = 1e6  # most tables print millions
    vocabulary: Positive | None = None
    embedding_size: Positive | None = None
    share: Literal["none", "attention", "ffn", "all"] | None = None
    layers: Positive | None = None
    expected: Literal["equal", "differs"] = "equal"
    note: str = ""

    @model_validator(mode="after")
    def _explained(self) -> PublishedParameters:
        if self.expected == "differs" and not self.note:
            raise ValueError("'expected: differs' needs a 'note' that says why")
        return self


class PaperSpec(Spec):
    """A published table that can be repeated.

    Times: one pass over the first evaluation split of a task; `published` holds what was published of `quantity`, by model
    and in base units. Numbers of parameters: `parameters`, a row a cell, under `parameters_title` where the title is about
    the times. At least one of the two is there.
    """

    name: Name
    title: str
    source: str
    models: tuple[str, ...] = ()
    reference: str = ""
    task: Name = ""
    batch_size: Positive = 1
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    quantity: Literal["inference_time"] = "inference_time"
    published: dict[str, PositiveFloat] = Field(default_factory=dict)
    parameters: tuple[PublishedParameters, ...] = ()
    parameters_title: str = ""
    note: str = ""
    parameters_note: str = ""

    @property
    def has_times(self) -> bool:
        """True if it publishes times of inference."""
        return bool(self.published)

    @model_validator(mode="after")
    def _about_its_models(self) -> PaperSpec:
        if not (self.published or self.parameters):
            raise ValueError("publishes neither times ('published') nor numbers of parameters ('parameters')")
        if self.has_times:
            absent = [key for key in ("models", "reference", "task") if not getattr(self, key)]
            if absent:
                raise ValueError(f"'published' needs {', '.join(map(repr, absent))} too")
        strangers = sorted({*filter(None, [self.reference]), *self.published} - set(self.models))
        if strangers:
            raise ValueError(f"{', '.join(strangers)}: not among 'models'")
        labels = [row.label for row in self.parameters]
        if len(set(labels)) != len(labels):
            raise ValueError("'parameters' has the same label twice")
        return self
