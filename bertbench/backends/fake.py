"""A back-end that states its own duration, so that timing can be tested against the truth. Not for measuring models.

`config.json` of a fake model: {"model_type": "fake", "seconds_per_token": 1e-5, "seconds_per_pass": 1e-3}; with "raises":
"text" every pass fails with that text. It sleeps, so durations hold to the timer's resolution of a fraction of a
millisecond, and it needs neither torch nor weights.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from bertbench.backends._backend import ExecutionSettings, Ids
from bertbench.errors import CheckpointError, MeasurementError


class FakeModel:
    """Sleeps for as long as its config says."""

    vocabulary = 1000
    pad_id = 0
    attention = "none"

    def __init__(self, seconds_per_token: float, seconds_per_pass: float, raises: str | None) -> None:
        self.seconds_per_token = seconds_per_token
        self.seconds_per_pass = seconds_per_pass
        self.raises = raises

    def prepare(self, ids: Ids, mask: Ids) -> int:
        """The number of tokens that are not padding."""
        del ids
        return sum(sum(row) for row in mask)

    def run(self, batch: int) -> None:
        """Sleep, or fail."""
        if self.raises:
            raise MeasurementError(self.raises)
        time.sleep(self.seconds_per_pass + batch * self.seconds_per_token)

    def device_peak_bytes(self, *, reset: bool = False) -> int | None:
        """None: there is no device."""
        del reset
        return None


class FakeBackend:
    """Reads the duration from config.json."""

    def start(self, settings: ExecutionSettings) -> None:
        """Nothing to set up."""

    def load(self, folder: Path, settings: ExecutionSettings) -> FakeModel:
        """The fake model that config.json describes.

        Raises:
            CheckpointError: there is no such file.
        """
        del settings
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: config.json cannot be read ({error})") from None
        return FakeModel(
            float(config.get("seconds_per_token", 0)), float(config.get("seconds_per_pass", 0)), config.get("raises")
        )


PLUGIN = FakeBackend()
