"""Errors that a user can cause: one line of what and where, and a hint of what to do next.

    BertBenchError                     exit code 2
    ├── UsageError                     2   an option's value
    ├── ConfigError                    2   a YAML file
    │   └── UnknownNameError           2   a name with a did-you-mean
    ├── UnavailableError               2   something that should be there is not available
    │   ├── HubError                   2
    │   ├── CheckpointError            2
    │   ├── DatasetError               2
    │   ├── DeviceError                2
    │   └── BackendError               2
    ├── StoreError                     2   results directory, records
    ├── MeasurementError               1   a cell could not be measured
    └── NothingMeasuredError           4

`bertbench.cli.main` holds the only catch. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class BertBenchError(Exception):
    """What was found and where (`message`), and what to do about it (`hint`).

    `finding` is the message without the file or model that it begins with, for tables that name those in a column. Where a
    colon divides the two, `about` gives what the message begins with, and the text is the finding.
    """

    exit_code = 2

    def __init__(
        self, text: str, hint: str | None = None, *, about: str | None = None, finding: str | None = None
    ) -> None:
        self.message = text if about is None else f"{about}: {text}"
        super().__init__(self.message)
        self.hint = hint
        self.finding = text if finding is None else finding

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        stop = "" if self.message.endswith(("?", "!", ".")) else "."
        return f"{self.message}{stop} {self.hint[:1].upper()}{self.hint[1:]}"


class UsageError(BertBenchError):
    """An option has a value that cannot be used."""


class ConfigError(BertBenchError):
    """A YAML file is broken or incomplete."""


class UnknownNameError(ConfigError):
    """A name is not among the known ones; the message suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str | None = None) -> None:
        self.kind = kind
        self.name = name
        choices = sorted(known)
        close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
        guess = f"; did you mean '{close[0]}'?" if close else ""
        listed = f"known: {', '.join(choices)}" if choices else f"there are no {kind}s"
        super().__init__(f"unknown {kind} '{name}'{guess}", hint or listed)


class UnavailableError(BertBenchError):
    """Something that should be there is not available."""


class HubError(UnavailableError):
    """The model and data-set hub refused, failed or cannot be reached."""


class CheckpointError(UnavailableError):
    """A checkpoint is missing, damaged, incomplete or does not fit the task."""


class DatasetError(UnavailableError):
    """A data set is missing, damaged, empty or does not fit the task."""


class DeviceError(UnavailableError):
    """A device or number format is asked for that this machine does not have."""


class BackendError(UnavailableError):
    """A back-end lacks its libraries, or something else that it needs of this machine."""


class StoreError(BertBenchError):
    """The results directory cannot be used or holds what cannot be read."""


class MeasurementError(BertBenchError):
    """A cell could not be measured."""

    exit_code = 1


class OutOfTimeError(MeasurementError):
    """A cell was not done at its time limit."""


class NothingMeasuredError(BertBenchError):
    """A command ends without a single measurement."""

    exit_code = 4


def without_credentials(text: str) -> str:
    """Leave a user's name and password out of addresses such as https://name:password@host."""
    return re.sub(r"(?<=://)[^/\s?#]*@", "", text)


def first_line(error: BaseException, most: int = 200) -> str:
    """Say in one line of at most `most` characters what a library's error says; name its class where it says nothing.

    Of several findings of pydantic the first, with its place. Addresses lose what logs in.
    """
    # By its name: pydantic is not loaded for the question.
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        first = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(map(str, first["loc"]))
        return f"{location}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")[:most]
    lines = [line.strip() for line in without_credentials(str(error)).splitlines() if line.strip()]
    return lines[0][:most] if lines else type(error).__name__
