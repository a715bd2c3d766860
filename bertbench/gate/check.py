"""How `check` measures: from a baseline, or a base model, to a session of now, and to findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bertbench.errors import UsageError
from bertbench.gate.baseline import read
from bertbench.gate.collect import collected, fingerprints_of
from bertbench.gate.finding import GateFinding, Margins
from bertbench.gate.judging import GateRequest, against_baseline, against_model, broken_checkpoints
from bertbench.gate.ratios import enough, protocol
from bertbench.gate.scope import GateScope, of_tasks
from bertbench.session.request import names_of
from bertbench.session.selection import resolve, resolve_one, resolve_tasks
from bertbench.session.study import Study

BROKEN = "scores were not measured: a checkpoint is not what the baseline says"
SAME_REFERENCE = "a slow-down common to all models leaves every ratio as it is; --against-code sees it"


@dataclass(frozen=True)
class Checked:
    """What came of a check, and what is said above and below its table."""

    findings: list[GateFinding]
    title: str
    suite: str
    notes: tuple[str, ...]


def with_baseline(study: Study, folder: Path, margins: Margins, task: str | None) -> Checked:
    """Measure what a baseline has, of `task` alone if one is named, and compare.

    Raises:
        StoreError, UsageError: the baseline cannot be used: absent, of another schema or other tasks, nothing in common.
    """
    before = of_tasks(read(folder), task)
    base = before.baseline
    scope = GateScope.of(study, before)
    prints = fingerprints_of(scope.checkpoints() if "quality" in scope.kinds else {})
    broken = broken_checkpoints(before, prints, margins)
    elsewhere = scope.incomparable
    left_out = ({"speed", "memory"} if elsewhere else set()) | ({"quality"} if broken else set())
    kinds = [kind for kind in scope.kinds if kind not in left_out]
    stored = study.measure_or_read(scope.request(kinds, margins)) if kinds else None
    now = collected(stored, scope.specs, base.reference, prints.taken) if stored else scope.nothing()
    now = replace(now, baseline=scope.as_of_now(now.baseline))
    findings = against_baseline(before, now, scope.names, scope.kinds, margins, prints)
    notes = [f"baseline {folder}: session {base.session_id} of {base.created_at}, {base.machine}"]
    notes += [f"now: session {stored.session.session_id}"] if stored else []
    notes += [BROKEN] if broken else []
    notes += (
        [f"nothing timed was measured: {elsewhere}"] if elsewhere and {"speed", "memory"} & set(scope.kinds) else []
    )
    notes += [SAME_REFERENCE] if "speed" in kinds else []
    return Checked(findings, f"Gate against {folder} (suite {base.suite})", base.suite, tuple(notes))


def with_model(study: Study, base: str, margins: Margins, task: str | None) -> Checked:
    """Measure head models beside a base model, interleaved in one session, and gate their ratios.

    Raises:
        UsageError: no head is named, or it is the base, or several bases are; sizes are asked for.
    """
    chosen = study.options
    if chosen.models == "all":
        raise UsageError("--against-model compares the models of --models with it", "name them: --models ./head")
    suite = study.suite()
    first = resolve_one(base, study.catalog, study.store)
    heads = resolve(chosen.models, study.catalog, suite, study.store)
    if first.name in {spec.name for spec in heads}:
        raise UsageError(f"--against-model {base}: is among --models", "name two different models")
    study = replace(study, options=replace(chosen, only=chosen.only or "quality,speed,memory"))
    tasks = resolve_tasks(task, study.catalog, suite.name) if task else suite.tasks
    request = study.request(suite, tasks, models=[first, *heads], reference=first.name, run=False)
    if "size" in request.kinds:
        raise UsageError(f"--only {chosen.only}: two models need not be of one size", "name quality, speed or memory")
    request = replace(request, timing=protocol(request.timing))
    stored = study.measure_or_read(replace(request, enough=lambda ratios: enough(None, margins, ratios)))
    now = collected(stored, [first, *heads], first.name, {})
    shapes = [shape.label for shape in request.timing.shapes if not shape.whole_split]
    gated = GateRequest(request.kinds, names_of(request.tasks), shapes)
    findings = against_model(now, first.name, [spec.name for spec in heads], gated, margins)
    notes = (f"session {stored.session.session_id}: base and head interleaved in one job", now.baseline.machine)
    return Checked(findings, f"Gate against {first.name} (suite {suite.name})", suite.name, notes)
