"""The inputs that a static quantization takes the ranges of activations from: a task's training texts as one model reads them.

They reach the exporting process as a file in the folder that it fills, and stay there, so that an export tells what it was
calibrated on. `bertbench calibrate` is about something else, the noise of a machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bertbench.models.token_ids import Encoded
from bertbench.records.record import digest
from bertbench.specs.text_files import read_object

FILE = "calibration.json"
EXAMPLES = 300  # at most; as many as NNCF recommends and takes unless told otherwise


@dataclass(frozen=True)
class CalibrationSet:
    """Examples of a task's split as token ids, each of its own length, so that nothing is padded."""

    task: str
    split: str
    rows: tuple[Encoded, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 over token ids and token types: equal ones give equal ranges, whatever they are called."""
        return digest([[list(row.ids), None if row.types is None else list(row.types)] for row in self.rows])

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"task": self.task, "split": self.split, "examples": len(self.rows), "digest": self.digest}

    def write(self, folder: Path) -> None:
        """Store it for the process that exports into `folder`."""
        content = {"task": self.task, "split": self.split, "rows": [[row.ids, row.types] for row in self.rows]}
        (folder / FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> CalibrationSet | None:
        """Read what was stored in `folder`; None if nothing was."""
        if not (folder / FILE).exists():
            return None
        content = read_object(folder / FILE)
        rows = tuple(Encoded(tuple(ids), None if types is None else tuple(types)) for ids, types in content["rows"])
        return cls(content["task"], content["split"], rows)
