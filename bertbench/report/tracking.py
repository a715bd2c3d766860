"""Logging finished records in experiment trackers: `--track trackio,wandb`.

A tracker is told of a record once the results folder has it. It is a copy for those who look at their experiments elsewhere: nothing
is read back from it, and one that fails costs no result. Each tracker is one file in `bertbench.report.trackers` with a `PLUGIN`.

Not aware of: how anything is measured; it works on records alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from bertbench.errors import UnavailableError, UsageError, first_line, without_credentials
from bertbench.safe_text import visible
from bertbench.specs import plugins
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    from bertbench.records.record import Measurement, RunRecord

PACKAGE = "bertbench.report.trackers"
PROJECT = "bertbench"
PATIENCE_S = 60.0  # with a tracker that logs one run
LONGEST_TEXT = 500  # characters of a parameter, which is what all trackers take

Parameter = str | int | float | bool


@dataclass(frozen=True)
class TrackedRun:
    """A record as trackers take it: what was run (`params`), what came out (`metrics`, in base units).

    `id` is the same whenever the record is logged again: with a larger sample, which raises `step`, or by a later command.
    """

    id: str
    session: str
    status: str
    step: int
    params: dict[str, Parameter]
    metrics: dict[str, float]


class Tracker(Protocol):
    """Where runs are logged; the `PLUGIN` of a file in `bertbench.report.trackers`.

    `requires` is the module that it needs, `extra` the name under which bertbench installs it.
    """

    requires: str
    extra: str

    def log(self, run: TrackedRun) -> None:
        """Log a run, or what is new of it, and leave nothing running that would take time from what is measured next."""


@dataclass
class Tracking:
    """Tells trackers, by name, of records; one that fails is told of no more."""

    trackers: dict[str, Tracker] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)  # by run, how often it was told before

    def tell(self, record: RunRecord) -> list[str]:
        """Log a record with every tracker, and return a line for each that fails."""
        if not self.trackers:
            return []
        step = self.steps.get(record.run_id, -1) + 1
        self.steps[record.run_id] = step
        run, warnings = tracked(record, step), []
        for name, tracker in list(self.trackers.items()):
            problem = _problem(tracker, run)
            if problem is not None:
                del self.trackers[name]
                warnings.append(
                    f"warning: {name}: cannot log ({problem}); it is told of nothing more, results are stored all the same"
                )
        return warnings


def _problem(tracker: Tracker, run: TrackedRun) -> str | None:
    """Log a run, and return what went wrong; a tracker that waits for somebody else is waited for no longer than PATIENCE_S."""
    errors: list[str] = []

    def log() -> None:
        try:
            tracker.log(run)
        except Exception as error:  # noqa: BLE001 (whatever a tracker does, measuring goes on)
            errors.append(first_line(error))

    thread = threading.Thread(target=log, daemon=True)
    # They print greetings, and stdout is for results.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        thread.start()
        thread.join(PATIENCE_S)
    return f"no answer within {PATIENCE_S:g} s" if thread.is_alive() else next(iter(errors), None)


def open_tracking(names: str | None) -> Tracking:
    """Find the trackers that `--track` names, before any work.

    Raises:
        UsageError: it names none.
        UnknownNameError: there is no tracker of a name.
        UnavailableError: what a tracker needs is not installed.
    """
    if names is None:
        return Tracking()
    known = plugins.names(PACKAGE)
    wanted = dict.fromkeys(split("--track", names, known.__contains__, known.__contains__))
    if not wanted:
        raise UsageError("--track names no tracker", f"choose of {', '.join(known)}")
    trackers: dict[str, Tracker] = {name: plugins.load(PACKAGE, "tracker", name) for name in wanted}
    for name, tracker in trackers.items():
        if find_spec(tracker.requires) is None:
            raise UnavailableError(
                f"--track {name}: {tracker.requires} is not installed",
                f"install it: pip install 'bertbench[{tracker.extra}]'",
            )
    return Tracking(trackers)


def tracked(record: RunRecord, step: int = 0) -> TrackedRun:
    """Make of a record what trackers take."""
    metrics = {_name(measurement): statistics.median(measurement.values) for measurement in record.measurements}
    if record.seconds is not None:
        metrics["seconds"] = record.seconds
    return TrackedRun(record.run_id, record.session_id, record.status, step, params_of(record), metrics)


def params_of(record: RunRecord) -> dict[str, Parameter]:
    """Collect what was run: model, weights, task, seeds, machine and settings; what is absent is left out."""
    environment = record.environment
    values: dict[str, Any] = {
        "session": record.session_id,
        "run": record.run_id,
        "kind": record.kind,
        "suite": record.suite,
        "model": record.model_name,
        "task": record.task_name,
        "seed": record.seed,
        "data_seed": record.data_seed,
        "status": record.status,
        "checkpoint": record.checkpoint,
        "revision": record.revision,
        "weights": record.weights,
        "weights_digest": record.weights_digest,
        "data_fingerprint": record.data_fingerprint,
        "error": record.error.message if record.error else None,
        "cpu": environment.cpu if environment else None,
        "gpu": environment.gpu if environment else None,
        "environment_class": environment.environment_class if environment else None,
    }
    values |= {f"settings/{name}": value for name, value in _flat(record.settings).items()}
    return {name: _parameter(value) for name, value in values.items() if value is not None}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lift what stands in mappings to the top: teaching/temperature."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value) if isinstance(value, Mapping) else None
        flat |= {name: value} if inner is None else {f"{name}/{key}": entry for key, entry in inner.items()}
    return {_plain(name): value for name, value in flat.items()}


def _parameter(value: Any) -> Parameter:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return visible(without_credentials(text))[:LONGEST_TEXT]


def _name(measurement: Measurement) -> str:
    """Name a metric after its quantity and what tells it from others: latency/round-median/fixed/batch-1/tokens-128."""
    words: Sequence[str | None] = (
        measurement.quantity,
        None if measurement.statistic == "value" else measurement.statistic,
        measurement.split,
        measurement.scenario,
        None if measurement.batch_size is None else f"batch-{measurement.batch_size}",
        None if measurement.sequence_length is None else f"tokens-{measurement.sequence_length}",
    )
    return _plain("/".join(word for word in words if word))


def _plain(name: str) -> str:
    """Keep of a name what all trackers allow in one."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_./ -") else "_" for sign in name)
