"""A back-end that states its own duration, so that timing can be tested against the truth. Not for measuring models.

`config.json` of a fake model: {"model_type": "fake", "seconds_per_token": 1e-5, "seconds_per_pass": 1e-3}; with "raises":
"text" every pass fails with that text, with "fails_from": 512 one of so many tokens or more runs out of memory, and
"output_error": 0.1 is added to what it answers. It sleeps, so durations hold to the timer's resolution of a fraction of a
millisecond, and it needs neither torch nor weights.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError, MeasurementError
from bertbench.specs.text_files import read_object
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backend import DeviceMemory, Ids

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats


class FakeModel:
    """Sleeps for as long as its config says."""

    code_per_shape = False
    vocabulary = 1000
    pad_id = 0
    attention = "none"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.seconds_per_token = float(config.get("seconds_per_token", 0))
        self.seconds_per_pass = float(config.get("seconds_per_pass", 0))
        self.raises: str | None = config.get("raises")
        self.fails_from: int | None = config.get("fails_from")
        self.output_error = float(config.get("output_error", 0))

    def prepare(self, ids: Ids, mask: Ids, types: Ids | None = None) -> Ids:
        """Return the mask: where it is 1 are tokens."""
        del ids, types
        return mask

    def run(self, batch: Ids) -> Ids:
        """Sleep, or fail."""
        if self.raises:
            raise MeasurementError(self.raises)
        tokens = sum(sum(row) for row in batch)
        if self.fails_from is not None and tokens >= self.fails_from:
            raise MemoryError(f"{tokens} tokens")
        time.sleep(self.seconds_per_pass + tokens * self.seconds_per_token)
        return batch

    def seconds(self, batch: Ids) -> tuple[float, Ids]:
        """Sleep and say how long it was."""
        start = time.perf_counter()
        output = self.run(batch)
        return time.perf_counter() - start, output

    def array(self, output: Ids) -> Floats:
        """Return the mask with one hidden number a token, plus the error that config.json states."""
        import numpy as np

        return np.asarray(output, dtype=np.float32)[:, :, None] + np.float32(self.output_error)

    def device_memory(self, *, reset: bool = False) -> DeviceMemory | None:
        """Return None: there is no device."""
        del reset
        return None


class FakeBackend:
    """Reads the duration from config.json."""

    dtypes: tuple[str, ...] = ("fp32", "bf16", "fp16")
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    requires: tuple[str, ...] = ()
    extra: str | None = None

    def start(self, settings: ExecutionSettings) -> None:
        """Do nothing: there is nothing to set up."""

    def load(self, folder: Path, settings: ExecutionSettings) -> FakeModel:
        """Make the fake model that config.json describes.

        Raises:
            CheckpointError: there is no such file.
        """
        del settings
        try:
            config = read_object(folder / "config.json")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: config.json cannot be read ({error})") from None
        return FakeModel(config)


PLUGIN = FakeBackend()
