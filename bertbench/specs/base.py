"""What all specs share: immutability, strictness about keys, and the types of their fields.

A spec is intent, as YAML states it: every field is checked, unknown keys are refused, defaults live in the class and YAML
has no inheritance. A spec does nothing: it neither looks anything up nor touches the environment. Records embed the specs
they ran with.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# The stem of a file and a part of other names: no blanks, slashes or capitals.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spec(BaseModel):
    """Base of all specs: immutable, strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
