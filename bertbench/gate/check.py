"""How `check` measures: a baseline, a base model or other code, beside a session of now, and what it finds.

Of two versions of the code, each model's workers take turns in one job (`--against-code`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from bertbench.errors import UsageError
from bertbench.gate.baseline import Baseline, Fingerprints, Saved, Timed, read
from bertbench.gate.collect import collected, fingerprints_of
from bertbench.gate.finding import GateFinding, Margins, ModelTask
from bertbench.gate.judging import GateRequest, against_baseline, against_model, broken_checkpoints
from bertbench.gate.policy import Gated, GatedQuantity, GatePolicy
from bertbench.gate.ratios import enough, protocol, speed_findings
from bertbench.gate.scope import GateScope, of_tasks
from bertbench.models.sources import Encoder, gather, weight_folders
from bertbench.records import environment
from bertbench.records.progress import Progress
from bertbench.session.request import Request, names_of, parse_kinds
from bertbench.session.selection import resolve, resolve_one, resolve_tasks
from bertbench.session.study import Study
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.latency import round_ratios
from bertbench.speed.side_by_side import SpeedResult, measure_speed
from bertbench.speed.workers import Interpreter, checked_out, environment_in, of_now
from bertbench.units import duration

BROKEN = "scores were not measured: a checkpoint is not what the baseline says"
NO_TIME = "the policy does not gate 'time', all that --against-code compares"
SAME_REFERENCE = "a slow-down common to all models leaves every ratio as it is; --against-code sees it"


@dataclass(frozen=True)
class Checked:
    """What came of a check, and what is said above and below its table."""

    findings: list[GateFinding]
    title: str
    suite: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GateRun:
    """How a check goes: with which study, by which policy, on which day (UTC); `is_dry`: it says what it would do, and measures nothing.

    Of a dry run findings are what would be gated; their verdicts mean nothing.
    """

    study: Study
    policy: GatePolicy
    today: date
    is_dry: bool = False


def with_baseline(run: GateRun, folder: Path, task: str | None) -> Checked:
    """Measure what a baseline has, of `task` alone if one is named, and compare.

    Raises:
        StoreError, UsageError: the baseline cannot be used: absent, of another schema or other tasks, nothing in common.
        ConfigError: the policy names what is not in it.
    """
    study, policy = run.study, run.policy
    whole = read(folder)
    policy.check_names(whole.baseline.models, whole.baseline.tasks)
    before = of_tasks(whole, task)
    scope = GateScope.of(study, before)
    if study.options.only is None:
        scope = replace(scope, kinds=tuple(kind for kind in scope.kinds if policy.gates(kind)))
    folders = scope.checkpoints() if "quality" in scope.kinds else {}
    notes = [
        f"baseline {folder}: session {before.baseline.session_id} of {before.baseline.created_at}, {before.baseline.machine}"
    ]
    notes += _left_out(run, scope.names, whole.baseline.models, before.baseline.tasks, whole.baseline.tasks)
    if run.is_dry:
        now = replace(before, baseline=scope.as_of_now(before.baseline))
        known = {(score.model, score.task): score.checkpoint for score in before.baseline.scores if score.checkpoint}
        prints = Fingerprints({key: known[key] for key in folders if key in known})
        kinds = [kind for kind in scope.kinds if not (scope.incomparable and kind in {"speed", "memory"})]
        notes += study.plan(scope.request(kinds, *policy.deciding)) if kinds else ["nothing would be measured"]
    else:
        now, prints, measured = _measured(run, scope, folders)
        notes += measured
    findings, said = policy.judged(
        lambda margins: against_baseline(before, now, scope.names, scope.kinds, margins, prints),
        Gated(scope.names, before.baseline.tasks, before.baseline.reference),
        run.today,
        is_dry=run.is_dry,
    )
    base = before.baseline
    return Checked(findings, f"Gate against {folder} (suite {base.suite})", base.suite, (*notes, *said))


def _left_out(
    run: GateRun, models: Sequence[str], all_models: Iterable[str], tasks: Sequence[str], all_tasks: Iterable[str]
) -> list[str]:
    """Say what options leave out of a policy, which would gate it."""
    if run.policy.path is None:
        return []
    absent = {"--models": [name for name in all_models if name not in models]}
    absent["--task"] = [name for name in all_tasks if name not in tasks]
    return [f"left out by {option}: {', '.join(names)}" for option, names in absent.items() if names]


def _measured(
    run: GateRun, scope: GateScope, folders: Mapping[ModelTask, tuple[Path, str, str | None]]
) -> tuple[Saved, Fingerprints, list[str]]:
    """Measure what can be compared, and return it with fingerprints of the checkpoints and what is to be said."""
    study, policy, before, elsewhere = run.study, run.policy, scope.before, scope.incomparable
    certain = [kind for kind in scope.kinds if kind == "size" or (kind != "quality" and not elsewhere)]
    if certain:  # whatever is found of the checkpoints, which takes torch
        study.check_inputs(scope.request(certain, *policy.deciding))
    prints = fingerprints_of(folders)
    broken = broken_checkpoints(
        before, prints, policy.critical_margins, lambda finding: policy.decides(finding, run.today)
    )
    is_all_broken = {
        (score.model, score.task) for score in before.baseline.scores if score.model in scope.names
    } <= broken
    left_out = ({"speed", "memory"} if elsewhere else set()) | ({"quality"} if broken and is_all_broken else set())
    # What could not be compared is not measured: it would take time for nothing.
    kinds = [kind for kind in scope.kinds if kind not in left_out]
    request = scope.request(kinds, *policy.deciding, without=broken) if kinds else None
    stored = study.measure_or_read(request) if request else None
    now = collected(stored, scope.specs, before.baseline.reference, prints.taken) if stored else scope.nothing()
    notes = [f"now: session {stored.session.session_id}"] if stored else []
    notes += [f"{BROKEN}: {', '.join(f'{model} on {task}' for model, task in sorted(broken))}"] if broken else []
    notes += (
        [f"nothing timed was measured: {elsewhere}"] if elsewhere and {"speed", "memory"} & set(scope.kinds) else []
    )
    notes += [SAME_REFERENCE] if "speed" in kinds else []
    return replace(now, baseline=scope.as_of_now(now.baseline)), prints, notes


def with_model(run: GateRun, base: str, task: str | None) -> Checked:
    """Measure head models beside a base model, interleaved in one session, and gate their ratios.

    Raises:
        UsageError: no head is named, or it is the base, or several bases are; sizes are asked for; the policy gates nothing of it.
        ConfigError: the policy names what is not compared.
    """
    study, policy = run.study, run.policy
    chosen = study.options
    if chosen.models == "all":
        raise UsageError("--against-model compares the models of --models with it", "name them: --models ./head")
    kinds = _gated_of_model(policy, chosen.only)
    suite = study.suite()
    first = resolve_one(base, study.catalog, study.store)
    heads = resolve(chosen.models, study.catalog, suite, study.store)
    if first.name in {spec.name for spec in heads}:
        raise UsageError(f"--against-model {base}: is among --models", "name two different models")
    study = replace(study, options=replace(chosen, only=chosen.only or ",".join(kinds)))
    tasks = resolve_tasks(task, study.catalog, suite.name) if task else suite.tasks
    policy.check_names([spec.name for spec in heads], suite.tasks if task is None else {*suite.tasks, *tasks})
    request = study.request(suite, tasks, models=[first, *heads], reference=first.name, run=False)
    if "size" in request.kinds:
        raise UsageError(f"--only {chosen.only}: two models need not be of one size", "name quality, speed or memory")
    request = replace(request, timing=protocol(request.timing))
    shapes = [shape.label for shape in request.timing.shapes if not shape.whole_split]
    asked = GateRequest(request.kinds, names_of(request.tasks), shapes)
    if run.is_dry:
        now, notes = _nothing(request), study.plan(request)
    else:
        stored = study.measure_or_read(
            replace(request, enough=lambda ratios: all(enough(None, each, ratios) for each in policy.deciding))
        )
        now = collected(stored, [first, *heads], first.name, {})
        notes = [
            f"session {stored.session.session_id}: base and head interleaved in one job",
            now.baseline.machine,
        ]

    def judge(margins: Margins) -> list[GateFinding]:
        findings = against_model(now, first.name, [spec.name for spec in heads], asked, margins)
        # That nothing was measured is no news of a dry run.
        return [replace(finding, reason="") for finding in findings] if run.is_dry else findings

    gated = Gated(names_of(heads), asked.tasks, first.name)
    findings, said = policy.judged(judge, gated, run.today, is_dry=run.is_dry)
    return Checked(findings, f"Gate against {first.name} (suite {suite.name})", suite.name, (*notes, *said))


def _gated_of_model(policy: GatePolicy, only: str | None) -> list[str]:
    """Choose the kinds of what a policy gates and two models can be compared by.

    Raises:
        UsageError: there is none, so that all of it would be measured for nothing.
    """
    compared: dict[str, GatedQuantity] = {"quality": "score", "speed": "time", "memory": "memory"}
    kinds = [kind for kind, quantity in compared.items() if policy.names(quantity)]
    asked = parse_kinds(only) if only else compared
    if not set(kinds) & set(asked) and "size" not in asked:  # which is refused for a reason of its own
        what = f"of --only {only}" if kinds else "that --against-model compares"
        quantities = [quantity for kind, quantity in compared.items() if kind in asked]
        raise UsageError(f"--policy {policy.path}: gates nothing {what}", f"name {' or '.join(quantities)} in it")
    return kinds


def _nothing(request: Request) -> Saved:
    """Return what there is where nothing was measured yet."""
    tasks = tuple(names_of(request.tasks))
    empty = Baseline(
        request.suite.name, request.reference, tasks, session_id="", created_at="", bertbench_version="",
        environment_class=None, machine="", options={}, timing={}, models={},
    )  # fmt: skip
    return Saved(empty, {})


BASE, HEAD = "base", "head"


def with_code(run: GateRun, name: str) -> Checked:
    """Time every model by both versions of the code; their ratios may fail, a slow-down common to all models included.

    Raises:
        UsageError: there is no such code, it cannot be imported, or something else than speed is asked for.
    """
    study, policy = run.study, run.policy
    chosen = study.options
    if chosen.only not in {None, "speed"}:
        raise UsageError(f"--only {chosen.only}: --against-code compares only times", "leave --only out")
    if os.name == "nt":
        raise UsageError("--against-code needs pipes that Windows lacks", "run it under Linux or macOS")
    suite = study.suite()
    specs = resolve(chosen.models, study.catalog, suite, study.store)
    policy.check_names(names_of(specs), suite.tasks)
    title, timing = f"Gate against the code of {name} (suite {suite.name})", _timing(suite.timing)
    gated = Gated(names_of(specs), suite.tasks)
    if not policy.names("time"):
        findings, said = policy.judged(lambda _: [], gated, run.today, is_dry=run.is_dry)
        return Checked(
            findings, title, suite.name, (f"nothing {'would be' if run.is_dry else 'was'} timed: {NO_TIME}", *said)
        )
    if run.is_dry:
        timed = [(model, shape.label) for model in names_of(specs) for shape in timing.shapes]
        findings, said = policy.judged(lambda _: [_planned(*each) for each in timed], gated, run.today, is_dry=True)
        seconds = 2 * len(timed) * timing.rounds * timing.min_shape_s  # by both versions
        notes = [f"timing takes about {duration(seconds)} at most, and ends when every verdict is clear"]
        return Checked(findings, title, suite.name, (*notes, *said))
    encoders = gather(specs, may_be_random=True)
    started = time.monotonic()
    measured: list[_Model] = []
    with ExitStack() as stack:
        code = {BASE: stack.enter_context(code_of(name)), HEAD: of_now()}
        folders = [str(interpreter.check(name)) for interpreter in code.values()]
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bertbench-weights-")))
        ready = stack.enter_context(weight_folders(encoders, scratch))
        screen = stack.enter_context(study.display())
        for number, encoder in enumerate(ready):
            deadline = _deadline(chosen.max_minutes, started, len(ready) - number)
            threads = chosen.threads or environment.default_threads()
            model = _Model(encoder, code, timing, policy.deciding, len(ready) - 1, threads)
            screen.say(f"timing {encoder.spec.name}, {number + 1} of {len(ready)}, by both versions")
            model.measure(screen, deadline)
            measured.append(model)
    study.say(f"base: {folders[0]}; head: {folders[1]}")
    notes = [
        f"base {name}: {folders[0]}",
        f"head: {folders[1]}",
        "weights are the same for both; raw times are not stored",
    ]
    findings, said = policy.judged(
        lambda margins: [finding for model in measured for finding in model.findings(margins)], gated, run.today
    )
    return Checked(findings, title, suite.name, (*notes, *said))


def _planned(model: str, shape: str) -> GateFinding:
    return GateFinding("speed", model, "time", "inconclusive", detail=shape, measured=False)


@contextmanager
def code_of(name: str) -> Iterator[Interpreter]:
    """Yield the interpreter of the environment in the folder `name`, or this one with revision `name` checked out."""
    folder = Path(name).expanduser()
    interpreter = environment_in(folder) if folder.is_dir() else None
    if interpreter is not None:
        yield interpreter
        return
    with checked_out(name, Path.cwd()) as checkout:
        yield Interpreter(sys.executable, checkout)


def _timing(timing: TimingSpec) -> TimingSpec:
    """Take the suite's protocol on its fixed shapes, as a gate does."""
    fixed = tuple(shape for shape in timing.shapes if shape.sequence_length)
    return protocol(timing.model_copy(update={"shapes": fixed or timing.shapes}))


def _deadline(minutes: float | None, started: float, models_left: int) -> float | None:
    """Compute when an equal share of what is left of --max-minutes ends; None without a limit."""
    if minutes is None:
        return None
    now = time.monotonic()
    return now + max(started + minutes * 60 - now, 0.0) / models_left  # never in the past


class _Model:
    """One model by both versions of the code. `others` models are gated in the same way."""

    def __init__(
        self,
        encoder: Encoder,
        code: dict[str, Interpreter],
        timing: TimingSpec,
        deciding: tuple[Margins, ...],
        others: int,
        threads: int,
    ) -> None:
        self.name, self.encoder, self.code, self.timing = encoder.spec.name, encoder, code, timing
        self.deciding, self.threads = deciding, threads
        self.result: SpeedResult
        self.others = others * len(timing.shapes)  # gated too, so that they share the error

    def _targets(self) -> list[SpeedTarget]:

        folder = self.encoder.source.folder
        assert folder is not None  # noqa: S101 (weight_folders gave one)
        settings = ExecutionSettings("cpu", "fp32", self.threads)
        return [SpeedTarget(side, folder, settings, self.name, self.code[side]) for side in (BASE, HEAD)]

    def measure(self, progress: Progress, deadline: float | None) -> None:
        """Time both versions until every verdict is clear."""
        self.result = measure_speed(
            self._targets(),
            BASE,
            self.timing,
            session_id="",
            progress=progress,
            deadline=deadline,
            enough=lambda ratios: all(enough(None, margins, ratios, self.others) for margins in self.deciding),
        )

    def findings(self, margins: Margins) -> Iterator[GateFinding]:
        """Judge what was measured."""
        yield from self._failures(self.result)
        yield from speed_findings(None, self._times(self.result), margins, self.others)

    def _times(self, result: SpeedResult) -> Sequence[Timed]:

        ratios = round_ratios(result.rows, BASE)
        return [
            Timed(self.name, shape, "eager fp32", tuple(logs)) for (side, shape), logs in ratios.items() if side == HEAD
        ]

    def _failures(self, result: SpeedResult) -> Iterator[GateFinding]:
        """Yield what broke: a broken head fails, a broken base leaves nothing to compare."""
        lost = {side: failure.message for side, failure in result.failures.items()}
        lost |= {side: failure.message for (side, _), failure in result.cells.items()}
        for side, message in lost.items():
            verdict = "fail" if side == HEAD else "inconclusive"
            yield GateFinding("speed", self.name, f"time of {side}", verdict, reason=message, measured=False)  # type: ignore[arg-type]
