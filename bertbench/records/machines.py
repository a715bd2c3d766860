"""What is found out about a machine: its noise; and what holds for later sessions, warm-up passes and how to train.

    results/machines/<environment class>.json

Everything in the file can be measured again, so a file that cannot be read is a warning and counts as absent, and of two processes
that save at once the later one wins.

    machine = Machine.load(Path("results"), environment.environment_class)
    machine.warmup("cpu/eager/fp32/...")                        # None: not asked before
    machine.with_warmup("cpu/eager/fp32/...", passes=4).save()  # Machines are immutable
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import inside, read_file
from bertbench.records.files import write_atomically
from bertbench.specs import text_files
from bertbench.stats.repetitions import Components, best_turns, components
from bertbench.stats.stopping import deviation_interval, expected_half_width, standard_deviation

SCHEMA_VERSION = 1
FOLDER = "machines"
ROUNDS_FOR_BEST_TURNS = 8  # fewer say next to nothing of what rounds add


@dataclass(frozen=True)
class Noise:
    """An A/A session: the same model as two workers. `log_ratios` holds its round values, 0 being the truth. Not stored.

    `round_s` is what a round of the two took in seconds, its workers' start included, `start_s` what was spent before the
    first one; `model` to `threads` say what was run. `turns` holds by round the log-ratios of its turns, `turn_s` the seconds of
    one, and `pass_variance` what passes of both workers vary by within a turn, in squared log units; None: not known.
    """

    log_ratios: tuple[float, ...]
    round_s: float
    start_s: float
    model: str
    shape: str
    device: str
    backend: str
    dtype: str
    threads: int
    turns: tuple[tuple[float, ...], ...] = ()
    turn_s: float | None = None
    pass_variance: float | None = None

    def __post_init__(self) -> None:
        if len(self.log_ratios) < 2:
            raise ValueError("noise needs two rounds or more")
        if not all(math.isfinite(value) for value in (*self.log_ratios, self.round_s, self.start_s)):
            raise ValueError("noise is not finite")
        if self.round_s <= 0 or self.start_s < 0:
            raise ValueError("noise has no duration")

    @property
    def rounds(self) -> int:
        """How many rounds it is known from."""
        return len(self.log_ratios)

    @property
    def sd(self) -> float:
        """Standard deviation between rounds, in log units."""
        return standard_deviation(self.log_ratios)

    @property
    def sd_interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return deviation_interval(self.sd, self.rounds)

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean log-ratio of the model to itself and the bounds of its 95 % t-interval."""
        mean, half = math.fsum(self.log_ratios) / self.rounds, expected_half_width(self.sd, self.rounds)
        return mean, mean - half, mean + half

    @property
    def contains_one(self) -> bool:
        """True if the interval of the ratio holds 1, as it should in 19 of 20 sessions."""
        _, low, high = self.interval
        return low <= 0 <= high

    def rounds_in(self, seconds: float, round_s: float | None = None) -> int:
        """Count the rounds of two workers that fit into `seconds`, start-up included; `round_s` if they take another time."""
        # Rounding must not cost a round.
        return max(0, math.floor((seconds - self.start_s) / (round_s or self.round_s) + 1e-9))

    @property
    def components(self) -> Components | None:
        """What turns and rounds add to the variance; None where turns are not known."""
        return components(self.turns)

    @property
    def turns_of_round(self) -> int:
        """How many turns a round had; 0 where that is not known."""
        return max(map(len, self.turns), default=0)

    @property
    def best_turns(self) -> int | None:
        """The turns of a round that would be best; None where they cannot be told."""
        if (parts := self.components) is None or self.turn_s is None or self.rounds < ROUNDS_FOR_BEST_TURNS:
            return None
        return best_turns(parts, self.turn_s, self.round_s - self.turns_of_round * self.turn_s)

    def with_turns(self, turns: int, seconds: float) -> tuple[float, int] | None:
        """Expect a standard deviation and a number of rounds in `seconds`, had rounds so many turns; None where neither is known."""
        parts = self.components
        if parts is None or self.turn_s is None or not parts.of_round(1):
            return None
        taken = self.turns_of_round
        sd = self.sd * math.sqrt(parts.of_round(turns) / parts.of_round(taken))
        return sd, self.rounds_in(seconds, self.round_s + (turns - taken) * self.turn_s)


@dataclass(frozen=True)
class _Facts:
    """The file's content. Earlier versions kept noise and ceilings in it too, which are passed over."""

    environment_class: str
    schema_version: int = SCHEMA_VERSION
    warmups: dict[str, int] = field(default_factory=dict)
    training_dtypes: dict[str, Literal["fp32", "bf16"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(passes < 0 for passes in self.warmups.values()):
            raise ValueError("warm-up passes below 0")


@dataclass(frozen=True)
class Machine:
    """The facts about one environment class, and where they are kept. `warnings` tells what could not be read."""

    path: Path
    facts: _Facts
    warnings: tuple[str, ...] = ()
    is_newer: bool = False  # the file is of a newer bertbench: neither used nor replaced

    @staticmethod
    def load(results_dir: Path, environment_class: str) -> Machine:
        """Load what `results_dir` holds about the class; nothing, with a warning where there is an unreadable file."""
        path = results_dir / FOLDER / f"{environment_class}.json"
        nothing = Machine(path, _Facts(environment_class))
        try:
            data = text_files.object_of(text_files.decoded(read_file(inside(results_dir, path))))
            version = data.get("schema_version")
            if isinstance(version, int) and version > SCHEMA_VERSION:
                text = f"{path}: written by a newer bertbench; it is neither used nor changed"
                return replace(nothing, warnings=(text,), is_newer=True)
            facts = _checked(data, version, environment_class)
        except FileNotFoundError:
            return nothing
        except (OSError, ValueError, ArithmeticError, StoreError) as error:
            text = f"{path}: cannot be read and is taken as absent ({first_line(error)}); what is needed of it is found out anew"
            return replace(nothing, warnings=(text,))
        return replace(nothing, facts=facts)

    def warmup(self, key: str) -> int | None:
        """Return the untimed passes a fresh worker needs; `key` names model, back-end, format, shape and threads."""
        return self.facts.warmups.get(key)

    def with_warmup(self, key: str, passes: int) -> Machine:
        """Return a copy that knows the passes of `key`."""
        return self._with(warmups=self.facts.warmups | {key: passes})

    def training_dtype(self, device: str, threads: int) -> str | None:
        """Return the number format that models are trained in, or None: not decided before."""
        return self.facts.training_dtypes.get(f"{device}/{threads}")

    def with_training_dtype(self, device: str, threads: int, dtype: Literal["fp32", "bf16"]) -> Machine:
        """Return a copy that knows the decision."""
        return self._with(training_dtypes=self.facts.training_dtypes | {f"{device}/{threads}": dtype})

    def save(self) -> None:
        """Write the file, whole or not at all; one of a newer bertbench is left alone.

        Raises:
            StoreError: the results directory cannot be written to.
        """
        if self.is_newer:
            return
        text = json.dumps(asdict(self.facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        inside(self.path.parent.parent, self.path.parent)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, lambda scratch: _write(scratch, text))
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error.strerror or error})",
                "make room or choose another --results-dir",
            ) from None

    def _with(self, **changes: Any) -> Machine:
        return replace(self, facts=replace(self.facts, **changes))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _checked(data: Any, version: Any, environment_class: str) -> _Facts:
    """Check the facts that a file holds and return them.

    Raises:
        ValueError: it holds something else; one line says what.
    """
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}")
    facts: _Facts = _adapter().validate_python(data)
    if facts.environment_class != environment_class:
        raise ValueError("of another environment class")
    return facts


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter  # slow to load, and only where there is a file

    return TypeAdapter(_Facts)
