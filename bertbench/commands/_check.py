"""How `check` measures: from a baseline, or a base model, to a session of now, and to findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.commands._check_request import Asked, of_tasks
from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.gate.finding import GateFinding, Margins
    from bertbench.records.store import StoredSession
    from bertbench.session.request import Request

BROKEN = "scores were not measured: a checkpoint is not what the baseline says"
SAME_REFERENCE = "a slow-down common to all models leaves every ratio as it is; --against-code sees it"


@dataclass(frozen=True)
class Checked:
    """What came of a check, and what is said above and below its table."""

    findings: list[GateFinding]
    title: str
    suite: str
    notes: tuple[str, ...]


def with_baseline(measuring: Measuring, place: Path, margins: Margins, task: str | None) -> Checked:
    """Measure what a baseline has, of `task` alone if one is named, and compare.

    Raises:
        StoreError, UsageError: the baseline cannot be used: absent, of another schema or other tasks, nothing in common.
    """
    from bertbench.gate.baseline import read
    from bertbench.gate.collect import collected, fingerprints_of
    from bertbench.gate.judging import against_baseline, broken_checkpoints

    before = of_tasks(read(place), task)
    base = before.baseline
    asked = Asked.of(measuring, before)
    prints = fingerprints_of(asked.checkpoints() if "quality" in asked.kinds else {})
    broken = broken_checkpoints(before, prints, margins)
    elsewhere = asked.incomparable
    left_out = ({"speed", "memory"} if elsewhere else set()) | ({"quality"} if broken else set())
    kinds = [kind for kind in asked.kinds if kind not in left_out]
    stored = _measured(asked.request(kinds, margins), measuring) if kinds else None
    now = collected(stored, asked.specs, base.reference, prints.taken) if stored else asked.nothing()
    now = replace(now, baseline=asked.as_of_now(now.baseline))
    findings = against_baseline(before, now, asked.names, asked.kinds, margins, prints)
    notes = [f"baseline {place}: session {base.session_id} of {base.created_at}, {base.machine}"]
    notes += [f"now: session {stored.session.session_id}"] if stored else []
    notes += [BROKEN] if broken else []
    notes += (
        [f"nothing timed was measured: {elsewhere}"] if elsewhere and {"speed", "memory"} & set(asked.kinds) else []
    )
    notes += [SAME_REFERENCE] if "speed" in kinds else []
    return Checked(findings, f"Gate against {place} (suite {base.suite})", base.suite, tuple(notes))


def _measured(request: Request, measuring: Measuring) -> StoredSession:
    from bertbench.commands._measuring import measure_or_read

    return measure_or_read(request, measuring.store, from_store=False, yes=True)


def with_model(measuring: Measuring, base: str, margins: Margins, task: str | None) -> Checked:
    """Measure head models beside a base model, interleaved in one session, and gate their ratios.

    Raises:
        UsageError: no head is named, or it is the base, or several bases are; sizes are asked for.
    """
    from bertbench.gate.collect import collected
    from bertbench.gate.judging import GateRequest, against_model
    from bertbench.gate.ratios import enough, protocol
    from bertbench.session.request import names_of
    from bertbench.session.selection import resolve, resolve_one, resolve_tasks

    given = measuring.given
    if given["models"] == "all":
        raise UsageError("--against-model compares the models of --models with it", "name them: --models ./head")
    suite = measuring.catalog.suite(given["suite"] or "base")
    first = resolve_one(base, measuring.catalog, measuring.store)
    heads = resolve(given["models"], measuring.catalog, suite, measuring.store)
    if first.name in {spec.name for spec in heads}:
        raise UsageError(f"--against-model {base}: is among --models", "name two different models")
    measuring.given = {**given, "only": given["only"] or "quality,speed,memory"}
    tasks = resolve_tasks(task, measuring.catalog, suite.name) if task else suite.tasks
    request = measuring.request(suite, tasks, models=[first, *heads], reference=first.name, run=False)
    if "size" in request.kinds:
        raise UsageError(f"--only {given['only']}: two models need not be of one size", "name quality, speed or memory")
    request = replace(request, timing=protocol(request.timing))
    stored = _measured(replace(request, enough=lambda ratios: enough(None, margins, ratios)), measuring)
    now = collected(stored, [first, *heads], first.name, {})
    shapes = [shape.label for shape in request.timing.shapes if not shape.whole_split]
    wanted = GateRequest(request.kinds, names_of(request.tasks), shapes)
    findings = against_model(now, first.name, [spec.name for spec in heads], wanted, margins)
    notes = (f"session {stored.session.session_id}: base and head interleaved in one job", now.baseline.machine)
    return Checked(findings, f"Gate against {first.name} (suite {suite.name})", suite.name, notes)
