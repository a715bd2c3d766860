"""What was observed. Records sit between measuring and reporting: one side writes them, the other reads them.

A record keeps raw values, unit, seed, specs and environment; statistics are functions over records and never stored.
A failed or skipped run is a record too. Absent is None. JSON refuses numbers that are not finite.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bertbench import units
from bertbench.records.cautions import OTHER, Caution, caution

NOT_MEASURED = {
    "published",
    "description",
    "source",
    "title",
    "compression",
}  # parts of a ModelSpec that change no figure


# One integer a measuring module: raise it when a change there changes figures. A test guards it by the source's hash.
MEASURE_VERSIONS: dict[str, int] = {"size": 1, "speed": 3, "memory": 2, "quality": 3}


SCHEMA_VERSION = 3  # 2: the file has a check sum; 3: warnings are facts, not sentences
UNDEFINED = "undefined"  # the status of a figure that no number is, though everything was evaluated
UNAVAILABLE = "Unavailable"  # the kind of a Failure that measuring again would not cure

Status = Literal["ok", "failed", "skipped"]
Kind = units.Kind
Weights = Literal["pretrained", "fine-tuned", "random"]

_LEAST = {"n": 0, "batch_size": 1, "sequence_length": 1}
_EDGES = (1, 9999)  # where another zone may have no such year


@dataclass(frozen=True)
class Measurement:
    """Raw values of one quantity; never empty.

    `statistic` tells readings of the same quantity apart (parameters: 'unique' and 'executed'; component names).
    `n` counts what a value was computed from, in `n_unit` (examples, passes). Shape and split are None where they do
    not matter. `held_bound` says of a rate that was tried live whether it held its bound; None of all others, and in
    records that were made when the note alone said it.
    """

    quantity: str
    unit: str
    values: tuple[float, ...]
    statistic: str = "value"
    split: str | None = None
    scenario: str | None = None
    batch_size: int | None = None
    sequence_length: int | None = None
    n: int | None = None
    n_unit: str | None = None
    note: str | None = None
    held_bound: bool | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"measurement of {self.quantity} without values")
        possible = units.quantity_of(self.quantity).possible
        for value in self.values:
            wrong = possible.why_impossible(value)
            if wrong:
                raise ValueError(f"measurement of {self.quantity} {wrong}: {value!r:.60}")
        for name, least in _LEAST.items():
            if (count := getattr(self, name)) is not None and count < least:
                raise ValueError(f"measurement of {self.quantity}: {name} is {count!r:.60}")


@dataclass(frozen=True)
class SystemSettings:
    """Settings of the system that timings depend on; None, and no governors, where the system does not tell.

    `governors` are those of the usable cores' frequency, `threads_share_cores` says whether SMT is on, `physical_cores` how many of
    them the usable cores are, `randomized_layout` how address layouts are randomized (0: not, 1: but for the heap, 2: wholly).
    """

    governors: tuple[str, ...] = ()
    turbo: bool | None = None
    threads_share_cores: bool | None = None
    physical_cores: int | None = None
    randomized_layout: Literal[0, 1, 2] | None = None

    def __post_init__(self) -> None:
        if self.physical_cores is not None and self.physical_cores < 1:
            raise ValueError(f"settings of the system: physical_cores is {self.physical_cores!r:.60}")


@dataclass(frozen=True)
class Environment:
    """The machine and the software of a run. `environment_class` is what makes timings comparable.

    `settings` can change from session to session on one machine, so they are no part of the class; None in records that were
    made before they were looked at.
    """

    cpu: str
    instruction_flags: tuple[str, ...]
    usable_cores: int
    memory_bytes: int
    gpu: str | None
    system: str
    python: str
    packages: dict[str, str]
    commit: str | None = None
    dirty: bool | None = None
    settings: SystemSettings | None = None

    def __post_init__(self) -> None:
        for name in ("usable_cores", "memory_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"environment: {name} is {getattr(self, name)!r:.60}")

    @property
    def environment_class(self) -> str:
        """Digest of CPU and GPU model, flags, usable cores, OS and the minor version of torch."""
        # Builds and patches of one minor version count as the same.
        torch = ".".join(self.packages.get("torch", "none").split("+")[0].split(".")[:2])
        parts = [self.cpu, list(self.instruction_flags), self.usable_cores, self.gpu, self.system, torch]
        return digest(parts)[:16]


@dataclass(frozen=True)
class Failure:
    """Why a run gave no measurement: the class of the error, its message, what to do."""

    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Undefined:
    """A metric, or 'score', that has no value on a split, though all of it was evaluated; `reason` in the metric's words."""

    metric: str
    reason: str
    split: str | None = None
    n: int | None = None


@dataclass(frozen=True)
class Sidecar:
    """A parquet file beside a record: its name in the session's folder and its sha256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class RunRecord:
    """One run of one model: of its size, speed or memory, or of its quality on a task with a seed.

    `model` and `task` are the specs as used (JSON form), `settings` the resolved options (recipe, dtype, device,
    threads, back-end, samples), `key` the quality_key or timing_key. `revision` is the resolved commit of the checkpoint
    that was loaded. `capped` says that training was cut short to fit a time limit. `data_changes` counts by split what
    loading the data changed or left out (`bertbench.tasks.reading.CHANGES`). `warnings` are sentences in records that were
    made before they were facts; readers take `cautions`. `seed` initializes what is new in the model; `data_seed` orders the
    examples and draws dropout, None: it is `seed`, too.
    """

    run_id: str
    session_id: str
    kind: Kind
    suite: str
    model_name: str
    model: dict[str, Any]
    status: Status
    started_at: str
    key: str | None = None
    task_name: str | None = None
    task: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    data_seed: int | None = None
    checkpoint: str | None = None
    revision: str | None = None
    weights: Weights | None = None
    weights_digest: str | None = None
    data_fingerprint: str | None = None
    data_changes: dict[str, dict[str, int]] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    undefined: tuple[Undefined, ...] = ()
    sidecars: dict[str, Sidecar] = field(default_factory=dict)
    environment: Environment | None = None
    error: Failure | None = None
    warnings: tuple[Caution | str, ...] = ()
    capped: bool = False
    finetuned_checkpoint: str | None = None
    seconds: float | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_time("started_at", self.started_at)
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds is {self.seconds!r:.60}")

    @property
    def seeds(self) -> tuple[int | None, int | None]:
        """The seeds of initialization and of the data."""
        return self.seed, self.seed if self.data_seed is None else self.data_seed

    @property
    def seed_label(self) -> str | None:
        """Its seed for people, '0' or '0/1' with a data seed of its own; None without any."""
        if self.seed is None:
            return None
        return str(self.seed) if self.data_seed is None else f"{self.seed}/{self.data_seed}"

    @property
    def distinct_samples(self) -> int | None:
        """How many different examples there were in a training set that was drawn with replacement; None of any other."""
        distinct = self.settings.get("train_distinct")
        return distinct if isinstance(distinct, int) else None

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What a reader should know; sentences of an older record are of the kind 'other'."""
        return tuple(caution(OTHER, text=warning) if isinstance(warning, str) else warning for warning in self.warnings)

    def find(self, quantity: str, statistic: str | None = None, **where: Any) -> Measurement | None:
        """Find the first measurement of `quantity` whose `statistic` and other given fields match, or None."""
        for measurement in self.measurements:
            if measurement.quantity != quantity or (statistic is not None and measurement.statistic != statistic):
                continue
            if all(getattr(measurement, key) == value for key, value in where.items()):
                return measurement
        return None


@dataclass(frozen=True)
class SessionRecord:
    """What one command measured together: a timing ratio exists only within one session.

    `request` holds everything that decides which figures come out, so that an equal request can be answered from the
    store; `complete` is set at the end, when every cell has a record. `decisions` is what calibration led to (the cap on
    training, the number format of training): an interrupted session is continued with the same.
    """

    session_id: str
    command: str
    argv: tuple[str, ...]
    suite: str
    models: tuple[str, ...]
    reference: str
    tasks: tuple[str, ...]
    request: dict[str, Any]
    started_at: str
    decisions: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    ended_at: str | None = None
    environment_class: str | None = None
    notes: tuple[str, ...] = ()
    bertbench_version: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check_time("started_at", self.started_at)
        if self.ended_at is not None:
            check_time("ended_at", self.ended_at)


def check_time(name: str, text: str) -> None:
    """Refuse what is no moment: ISO 8601 with its zone.

    Raises:
        ValueError: it is no moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year in _EDGES:
        raise ValueError(f"{name} is {text!r:.60}, no time with its zone")


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys and without spaces, equal for equal values.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Compute the sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
