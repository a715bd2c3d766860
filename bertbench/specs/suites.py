"""Specs of suites: what is compared together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bertbench.specs.base import Name, Positive, Spec
from bertbench.specs.timing import TimingSpec


class SuiteSpec(Spec):
    """Models, tasks and timing that are compared together. `fallback` names the suite shown where quality is absent."""

    name: Name
    title: str
    description: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    reference: str
    tasks: tuple[Name, ...] = ()
    seeds: Positive = 1
    timing: TimingSpec = TimingSpec()
    fallback: Name | None = None

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> SuiteSpec:
        if self.reference not in self.models:
            raise ValueError(f"reference '{self.reference}' is not among 'models'")
        return self
