"""`check --against-code`: two versions of the code in one job, model by model, their workers taking turns."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bertbench.errors import UsageError
from bertbench.gate.baseline import Timed
from bertbench.gate.check import Checked
from bertbench.gate.finding import GateFinding, Margins
from bertbench.gate.ratios import enough, protocol, speed_findings
from bertbench.models.sources import Encoder, gather, weight_folders
from bertbench.records import environment
from bertbench.records.progress import Progress
from bertbench.session.selection import resolve
from bertbench.session.study import Study
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.latency import round_ratios
from bertbench.speed.side_by_side import SpeedResult, measure_speed
from bertbench.speed.workers import Interpreter, checked_out, environment_in, of_now

BASE, HEAD = "base", "head"


def with_code(study: Study, name: str, margins: Margins) -> Checked:
    """Time every model by both versions of the code; their ratios may fail, a slow-down common to all models included.

    Raises:
        UsageError: there is no such code, it cannot be imported, or something else than speed is asked for.
    """
    chosen = study.options
    if chosen.only not in {None, "speed"}:
        raise UsageError(f"--only {chosen.only}: --against-code compares times", "leave --only out")
    if os.name == "nt":
        raise UsageError("--against-code needs pipes that Windows has not", "run it under Linux or macOS")
    suite = study.suite()
    encoders = gather(resolve(chosen.models, study.catalog, suite, study.store), may_be_random=True)
    started = time.monotonic()
    findings: list[GateFinding] = []
    with ExitStack() as stack:
        code = {BASE: stack.enter_context(code_of(name)), HEAD: of_now()}
        folders = [str(interpreter.check(name)) for interpreter in code.values()]
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bertbench-weights-")))
        ready = stack.enter_context(weight_folders(encoders, scratch))
        screen = stack.enter_context(study.display())
        for number, encoder in enumerate(ready):
            deadline = _deadline(chosen.max_minutes, started, len(ready) - number)
            threads = chosen.threads or environment.default_threads()
            measured = _Model(encoder, code, _timing(suite.timing), margins, len(ready) - 1, threads)
            screen.say(f"timing {encoder.spec.name}, {number + 1} of {len(ready)}, by both versions")
            findings += measured.findings(screen, deadline)
    study.say(f"base: {folders[0]}; head: {folders[1]}")
    notes = (
        f"base {name}: {folders[0]}",
        f"head: {folders[1]}",
        "weights are the same for both; raw times are not stored",
    )
    return Checked(findings, f"Gate against the code of {name} (suite {suite.name})", suite.name, notes)


@contextmanager
def code_of(name: str) -> Iterator[Interpreter]:
    """The interpreter of the environment in the folder `name`, or this one with the revision `name` checked out."""
    folder = Path(name).expanduser()
    interpreter = environment_in(folder) if folder.is_dir() else None
    if interpreter is not None:
        yield interpreter
        return
    with checked_out(name, Path.cwd()) as checkout:
        yield Interpreter(sys.executable, checkout)


def _timing(timing: TimingSpec) -> TimingSpec:
    """The suite's protocol on its fixed shapes, as a gate takes it."""
    fixed = tuple(shape for shape in timing.shapes if shape.sequence_length)
    return protocol(timing.model_copy(update={"shapes": fixed or timing.shapes}))


def _deadline(minutes: float | None, started: float, models_left: int) -> float | None:
    """An equal share of what is left of --max-minutes."""
    if minutes is None:
        return None
    now = time.monotonic()
    return now + max(started + minutes * 60 - now, 0.0) / models_left


class _Model:
    """One model by both versions of the code. `others` models are gated in the same way."""

    def __init__(
        self,
        encoder: Encoder,
        code: dict[str, Interpreter],
        timing: TimingSpec,
        margins: Margins,
        others: int,
        threads: int,
    ) -> None:
        self.name, self.encoder, self.code, self.timing = encoder.spec.name, encoder, code, timing
        self.margins, self.threads = margins, threads
        self.others = others * len(timing.shapes)

    def _targets(self) -> list[SpeedTarget]:

        folder = self.encoder.source.folder
        assert folder is not None  # noqa: S101 (weight_folders gave one)
        settings = ExecutionSettings("cpu", "fp32", self.threads)
        return [SpeedTarget(side, folder, settings, self.name, self.code[side]) for side in (BASE, HEAD)]

    def findings(self, progress: Progress, deadline: float | None) -> Iterator[GateFinding]:
        """Measure, then judge."""
        result = measure_speed(
            self._targets(),
            BASE,
            self.timing,
            session_id="",
            progress=progress,
            deadline=deadline,
            enough=lambda ratios: enough(None, self.margins, ratios, self.others),
        )
        yield from self._failures(result)
        yield from speed_findings(None, self._times(result), self.margins, self.others)

    def _times(self, result: SpeedResult) -> Sequence[Timed]:

        ratios = round_ratios(result.rows, BASE)
        return [
            Timed(self.name, shape, "eager fp32", tuple(logs)) for (side, shape), logs in ratios.items() if side == HEAD
        ]

    def _failures(self, result: SpeedResult) -> Iterator[GateFinding]:
        """Head that breaks has failed; base that breaks leaves nothing to compare."""
        lost = {side: failure.message for side, failure in result.failures.items()}
        lost |= {side: failure.message for (side, _), failure in result.cells.items()}
        for side, message in lost.items():
            verdict = "fail" if side == HEAD else "inconclusive"
            yield GateFinding("speed", self.name, f"time of {side}", verdict, reason=message, measured=False)  # type: ignore[arg-type]
