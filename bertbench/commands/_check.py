"""How `check` measures: from a baseline, or a base model, to a session of now, and to findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.commands._check_request import Asked
from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.gate.finding import Finding, Margins
    from bertbench.request import Request
    from bertbench.store import StoredSession

BROKEN = "scores were not measured: a checkpoint is not what the baseline says"
ELSEWHERE = "this is another class of machine or software than the baseline's: nothing timed was measured"
SAME_REFERENCE = "a slow-down common to all models leaves every ratio as it is; --against-code sees it"


@dataclass(frozen=True)
class Checked:
    """What came of a check, and what is said above and below its table."""

    findings: list[Finding]
    title: str
    suite: str
    notes: tuple[str, ...]


def with_baseline(measuring: Measuring, place: Path, margins: Margins) -> Checked:
    """Measure what a baseline has and compare.

    Raises:
        StoreError, UsageError: the baseline cannot be used: absent, of another schema or other tasks, nothing in common.
    """
    from bertbench.commands._gate import collected, fingerprints_of
    from bertbench.gate.baseline import read
    from bertbench.gate.judging import against_baseline, broken_checkpoints

    before = read(place)
    base = before.baseline
    asked = Asked.of(measuring, before)
    prints = fingerprints_of(asked.checkpoints() if "quality" in asked.kinds else {})
    broken = broken_checkpoints(before, prints, margins)
    elsewhere = asked.environment_class != base.environment_class
    left_out = ({"speed", "memory"} if elsewhere else set()) | ({"quality"} if broken else set())
    kinds = [kind for kind in asked.kinds if kind not in left_out]
    stored = _measured(asked.request(kinds, margins), measuring) if kinds else None
    now = collected(stored, asked.specs, base.reference, prints.taken) if stored else asked.nothing()
    now = replace(now, baseline=replace(now.baseline, environment_class=asked.environment_class))
    findings = against_baseline(before, now, asked.names, asked.kinds, margins, prints)
    notes = [f"baseline {place}: session {base.session_id} of {base.created_at}, {base.machine}"]
    notes += [f"now: session {stored.session.session_id}"] if stored else []
    notes += [BROKEN] if broken else []
    notes += [ELSEWHERE] if elsewhere and {"speed", "memory"} & set(asked.kinds) else []
    notes += [SAME_REFERENCE] if "speed" in kinds else []
    return Checked(findings, f"Gate against {place} (suite {base.suite})", base.suite, tuple(notes))


def _measured(request: Request, measuring: Measuring) -> StoredSession:
    from bertbench.commands._measuring import measure_or_read

    return measure_or_read(request, measuring.store, from_store=False, yes=True)


def with_model(measuring: Measuring, base: str, margins: Margins) -> Checked:
    """Measure head models beside a base model, interleaved in one session, and gate their ratios.

    Raises:
        UsageError: no head is named, or it is the base.
    """
    from bertbench.commands._gate import collected
    from bertbench.gate.cost import enough, protocol
    from bertbench.gate.judging import against_model
    from bertbench.selection import resolve

    given = measuring.given
    if given["models"] == "all":
        raise UsageError("--against-model compares the models of --models with it", "name them: --models ./head")
    suite = measuring.catalog.suite(given["suite"] or "base")
    first = resolve(base, measuring.catalog, suite, measuring.store)[0]
    heads = resolve(given["models"], measuring.catalog, suite, measuring.store)
    if first.name in {spec.name for spec in heads}:
        raise UsageError(f"--against-model {base}: is among --models", "name two different models")
    measuring.given = {**given, "only": given["only"] or "quality,speed,memory"}
    request = measuring.request(suite, suite.tasks, models=[first, *heads], reference=first.name, run=False)
    request = replace(request, timing=protocol(request.timing))
    stored = _measured(replace(request, enough=lambda ratios: enough(None, margins, ratios)), measuring)
    now = collected(stored, [first, *heads], first.name, {})
    findings = against_model(now, first.name, [spec.name for spec in heads], request.kinds, margins)
    notes = (f"session {stored.session.session_id}: base and head interleaved in one job", now.baseline.machine)
    return Checked(findings, f"Gate against {first.name} (suite {suite.name})", suite.name, notes)
