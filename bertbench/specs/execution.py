"""How a model is run: device, number format, threads, back-end, attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
