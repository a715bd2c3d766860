"""This machine's noise: one model timed against itself, as two workers of the engine that times different ones.

Such an A/A session has a known answer, a ratio of 1. What its rounds differ by is what any ratio measured here in the same
way is uncertain by.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bertbench.errors import MeasurementError
from bertbench.records.machines import Noise
from bertbench.records.progress import Progress, silent
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.latency import passes_by_turn, turn_ratios
from bertbench.speed.rounds import TimingRow
from bertbench.speed.side_by_side import SpeedResult, SpeedTarget, measure_speed
from bertbench.stats.repetitions import pooled_variance


def measure_noise(
    model: str,
    folder: Path,
    settings: ExecutionSettings,
    timing: TimingSpec,
    *,
    session_id: str,
    seed: int = 0,
    warmup_passes: int | None = None,
    progress: Progress = silent,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    measure: Callable[..., SpeedResult] = measure_speed,
) -> tuple[Noise, tuple[str, ...]]:
    """Time the model in `folder` against itself at the one shape of `timing`: the noise, and warnings of the session.

    A round that the deadline cut short does not count.

    Args:
        model: its name, for messages and the record.
        folder: what the back-end loads.
        settings: how both workers run it.
        timing: rounds, turns and one shape of fixed length.
        session_id: marks the session.
        seed: decides the order within turns and the token ids.
        warmup_passes: untimed passes of a fresh worker where `timing` does not say; None: the usual number.
        progress: takes how far it is.
        deadline: a time of `time.monotonic` at which it ends, but not before two rounds are whole.
        clock: seconds, monotonic.
        measure: times the two workers, as `measure_speed` does.

    Raises:
        MeasurementError: the model cannot be timed, or fewer than two rounds were whole.
    """
    first, second = f"{model} (a)", f"{model} (b)"
    targets = [SpeedTarget(name, folder, settings, model) for name in (first, second)]
    (shape,) = timing.shapes
    turns = shape.turns or timing.turns
    stopwatch = _Stopwatch(progress, clock)
    result = measure(
        targets,
        first,
        timing,
        session_id=session_id,
        seed=seed,
        warmups=None if warmup_passes is None else dict.fromkeys((first, second), warmup_passes),
        progress=stopwatch,
        deadline=deadline,
    )
    _check(result)
    whole = _whole(result.rows, turns)
    logs = turn_ratios(whole, first).get((second, shape.label), {})
    values = [statistics.median(of_round) for of_round in logs.values()]
    if len(values) < 2:
        raise MeasurementError(
            f"{model}: {len(values)} whole rounds were timed, and noise shows between two or more",
            "give more --max-minutes",
        )
    round_s, start_s = stopwatch.seconds(turns, len(values))
    noise = Noise(
        log_ratios=tuple(values),
        round_s=round_s,
        start_s=start_s,
        model=model,
        shape=shape.label,
        device=settings.device,
        backend=settings.backend,
        dtype=settings.dtype,
        threads=settings.threads,
        turns=tuple(map(tuple, logs.values())),
        turn_s=stopwatch.turn_s(turns),
        pass_variance=_pass_variance(whole),
    )
    return noise, tuple(map(str, result.warnings))


class _Stopwatch:
    """A Progress that notes when each turn was over, and passes everything on."""

    def __init__(self, progress: Progress, clock: Callable[[], float]) -> None:
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._ended: dict[float, float] = {}  # turns done to the moment

    def __call__(self, label: str, done: float, total: float) -> None:
        self._ended.setdefault(done, self._clock())
        self._progress(label, done, total)

    def seconds(self, turns: int, rounds: int) -> tuple[float, float]:
        """Compute what a round of `turns` took, starting its workers included, and what was spent before the first one.

        A round lasts from the end of the one before it to its own, so that the first one is not needed to know it.
        """
        first, last = self._ended[turns], self._ended[turns * rounds]
        round_s = (last - first) / (rounds - 1)
        return round_s, max(0.0, first - self._began - round_s)

    def turn_s(self, turns: int) -> float | None:
        """Compute what a turn took that was not its round's first: the median; None with one turn a round."""
        ends = sorted((int(done), moment) for done, moment in self._ended.items())
        took = [
            moment - before
            for (last, before), (done, moment) in itertools.pairwise(ends)
            if done == last + 1 and last % turns
        ]
        return statistics.median(took) if took else None


def _pass_variance(rows: Sequence[TimingRow]) -> float | None:
    """Compute the variance within turns of the log-ratio of a pass of one worker to a pass of the other; None of single passes."""
    parts = [
        pooled_variance([[math.log(seconds) for seconds in passes] for passes in turns.values()])
        for turns in passes_by_turn(rows).values()
    ]
    return sum(part for part in parts if part is not None) if parts and None not in parts else None


def _check(result: SpeedResult) -> None:
    """Raise the first failure there is."""
    for failure in (*result.failures.values(), *result.cells.values()):
        raise MeasurementError(failure.message, failure.hint)


def _whole(rows: Sequence[TimingRow], turns: int) -> list[TimingRow]:
    """Keep the rows of those rounds in which both workers took all turns: a median over fewer turns is noisier."""
    opened = {(row.round, row.turn, row.model) for row in rows if row.warmup}  # each turn has one untimed pass
    count = Counter(number for number, _, _ in opened)
    return [row for row in rows if count[row.round] == 2 * turns]
