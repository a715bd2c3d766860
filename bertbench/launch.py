"""Whether several processes were started together, by torchrun or `accelerate launch`, and which of them this is.

Not aware of what they do together. Loads nothing.
"""

from __future__ import annotations

import os

SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what both launchers set


def size() -> int:
    """How many processes there are: 1 where nothing started several."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in SAID) else 1


def rank() -> int:
    """Which one this is. 0 plans, evaluates, stores and reports."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_size() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) if size() > 1 else 1


def is_alone_by_mistake() -> bool:
    """True where `accelerate launch --cpu` was asked for several processes: it starts one, and says nothing."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_PORT" in os.environ
    return asked and "WORLD_SIZE" not in os.environ


def own_device(device: str) -> str:
    """The device of this process where the first one has `device`: of GPUs, each has its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', rank())}" if size() > 1 and device.startswith("cuda") else device
