"""All findings of a gate: what is measured now against a baseline, or head models against a base model of the same session."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bertbench.gate import ratios
from bertbench.gate.exact import checkpoint_findings, size_findings
from bertbench.gate.finding import Finding, Kind, Margins, Verdict
from bertbench.gate.scores import score_finding, undefined_finding

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint, Saved, StoredScore, Unmeasured

Place = tuple[str, str]  # model and task
WHAT: dict[Kind, str] = {"size": "counts", "quality": "score", "speed": "time", "memory": "peak memory"}


@dataclass(frozen=True)
class Fingerprints:
    """Of the checkpoints that are evaluated, by model and task; of those that cannot be taken, why."""

    taken: Mapping[Place, Checkpoint] = field(default_factory=dict)
    failed: Mapping[Place, str] = field(default_factory=dict)


def against_baseline(
    before: Saved, now: Saved, models: Sequence[str], kinds: Collection[Kind], margins: Margins, prints: Fingerprints
) -> list[Finding]:
    """Everything that `kinds` ask for: what the baseline has of it, and a finding for what it lacks."""
    old, new = _of(before.baseline, models), _of(now.baseline, models)
    found: list[Finding] = []
    if "size" in kinds:
        found += _sizes(old, new, models)
    if "quality" in kinds:
        found += _quality(before, now, old.scores, margins, prints)
    elsewhere = incomparable(old, new)
    if elsewhere:
        found += _elsewhere(old, kinds, elsewhere)
    else:
        if "speed" in kinds:
            found += ratios.speed_findings(old.times, new.times, margins)
        if "memory" in kinds:
            found += ratios.memory_findings(old, new, margins.memory)
    found += _failed(new, kinds)
    return _explained([*found, *_gaps(before.baseline, found, models, kinds)], new.lost)


def incomparable(before: Baseline, now: Baseline) -> str:
    """Why times and memory of now say nothing against those before; empty if they do."""
    if before.environment_class != now.environment_class:
        return ratios.ELSEWHERE
    threads = [one.options.get("threads") for one in (before, now)]
    if None not in threads and threads[0] != threads[1]:
        return f"measured with {threads[0]} threads, now with {threads[1]}: ratios depend on it"
    return ""


def _sizes(old: Baseline, new: Baseline, models: Sequence[str]) -> Iterator[Finding]:
    late = {lost.model: lost.reason for lost in new.lost if lost.kind == "size" and not lost.failed}
    for model in models:
        if model in late and model not in new.counts and model in old.counts:
            yield _unmeasured("size", model, "counts", late[model], None)
        else:
            yield from size_findings(old, new, model)


def _gaps(
    before: Baseline, found: Sequence[Finding], models: Sequence[str], kinds: Collection[Kind]
) -> Iterator[Finding]:
    """What other models of the baseline have and one has not: a baseline that lost something must not gate less in silence.

    What was skipped when the baseline was saved is said and not gated; what failed, or went without a word, is open.
    """
    lost = {(one.kind, one.model, one.task): one for one in before.lost}
    lost |= {(one.kind, one.model, None): one for one in before.lost}
    has = {(one.kind, one.model, one.detail if one.kind == "quality" else None) for one in found}
    for kind in kinds:
        for model in models:
            if kind in {"speed", "memory"} and model == before.reference:
                continue
            for task in before.tasks if kind == "quality" and before.tasks else (None,):
                if (kind, model, task) in has:
                    continue
                why = lost.get((kind, model, task))
                reason = f"the baseline has none{f': {why.reason}' if why else ''}"
                verdict: Verdict = "not gated" if why is not None and not why.failed else "inconclusive"
                yield Finding(kind, model, WHAT[kind], verdict, reason=reason, detail=task, measured=False)


def _explained(found: Sequence[Finding], lost: Sequence[Unmeasured]) -> list[Finding]:
    """Findings of what was not measured, with the reason that measuring gave."""
    reasons = {(one.kind, one.model, one.task): one.reason for one in lost if not one.failed}
    return [
        replace(one, reason=f"{one.reason}: {reason}")
        if not one.measured
        and one.verdict == "inconclusive"
        and (reason := reasons.get((one.kind, one.model, one.detail if one.kind == "quality" else None)))
        else one
        for one in found
    ]


def broken_checkpoints(before: Saved, prints: Fingerprints, margins: Margins) -> bool:
    """True if a checkpoint cannot be loaded or is not the one that it should be, so that a score would mean nothing."""
    if prints.failed:
        return True
    return any(
        finding.verdict == "fail"
        for one in before.baseline.scores
        if (one.model, one.task) in prints.taken
        for finding in checkpoint_findings(one, prints.taken[one.model, one.task], "", margins.outputs)
    )


def _of(baseline: Baseline, models: Sequence[str]) -> Baseline:
    """What a baseline has of some of its models."""
    return replace(
        baseline,
        scores=tuple(one for one in baseline.scores if one.model in models),
        times=tuple(one for one in baseline.times if one.model in models),
        peak_memory={
            name: of for name, of in baseline.peak_memory.items() if name in models or name == baseline.reference
        },
    )


def _quality(
    before: Saved, now: Saved, scores: Sequence[StoredScore], margins: Margins, prints: Fingerprints
) -> Iterator[Finding]:
    measured = {(one.model, one.task): one for one in now.baseline.scores}
    for old in scores:
        place = (old.model, old.task)
        if place in prints.taken or place in prints.failed:
            yield from checkpoint_findings(old, prints.taken.get(place), prints.failed.get(place, ""), margins.outputs)
        new = measured.get(place)
        if new is not None and (lacking := undefined_finding(old, new, margins.quality)):
            yield lacking
            continue
        if new is None or place not in now.predictions or place not in before.predictions:
            reason = "not evaluated now" if new is None else "the baseline has no predictions"
            yield _unmeasured("quality", old.model, "score", reason, old.task)
            continue
        yield score_finding(old, new, (before.predictions[place], now.predictions[place]), margins.quality)


def _elsewhere(before: Baseline, kinds: Collection[Kind], why: str) -> Iterator[Finding]:
    """Of another environment class, or number of threads, everything timed is inconclusive."""
    for one in before.times if "speed" in kinds else ():
        yield _unmeasured("speed", one.model, "time", why, one.shape)
    for model, shapes in before.peak_memory.items() if "memory" in kinds else ():
        for shape in shapes if model != before.reference else ():
            yield _unmeasured("memory", model, "peak memory", why, shape)


def _failed(now: Baseline, kinds: Collection[Kind]) -> Iterator[Finding]:
    """What broke while it was measured fails the gate."""
    for lost in now.lost:
        if lost.failed and lost.kind in kinds:
            yield Finding(lost.kind, lost.model, "measuring", "fail", reason=lost.reason, detail=lost.task)  # type: ignore[arg-type]


def _unmeasured(kind: Kind, model: str, quantity: str, reason: str, detail: str | None) -> Finding:
    return Finding(kind, model, quantity, "inconclusive", reason=reason, detail=detail, measured=False)


@dataclass(frozen=True)
class GateRequest:
    """What was asked for of every head: kinds, tasks, and shapes of fixed or natural length."""

    kinds: Collection[Kind]
    tasks: Sequence[str] = ()
    shapes: Sequence[str] = ()


def against_model(now: Saved, base: str, heads: Sequence[str], wanted: GateRequest, margins: Margins) -> list[Finding]:
    """Head models against a base model that shared their session: these ratios may fail. All that is wanted has a finding."""
    new = now.baseline
    found: list[Finding] = []
    scores = {(one.model, one.task): one for one in new.scores}
    for head in heads:
        for task in wanted.tasks if "quality" in wanted.kinds else ():
            places = ((base, task), (head, task))
            pair = [scores[place] for place in places if place in scores]
            if len(pair) == 2 and (lacking := undefined_finding(pair[0], pair[1], margins.quality, head)):
                found.append(lacking)
                continue
            if not all(place in scores and place in now.predictions for place in places):
                found.append(_unmeasured("quality", head, "score", "one of the two was not evaluated", task))
                continue
            frames = (now.predictions[places[0]], now.predictions[places[1]])
            found.append(score_finding(scores[places[0]], scores[places[1]], frames, margins.quality, head))
    if "speed" in wanted.kinds:
        found += ratios.speed_findings(None, [one for one in new.times if one.model in heads], margins)
    if "memory" in wanted.kinds:
        found += ratios.memory_findings(None, new, margins.memory)
    found += _failed(new, wanted.kinds)
    return _explained([*found, *_absent(found, heads, wanted)], new.lost)


def _absent(found: Sequence[Finding], heads: Sequence[str], wanted: GateRequest) -> Iterator[Finding]:
    """Times, memory and scores that were asked for and of which there is nothing."""
    timed = {(one.model, one.detail) for one in found if one.kind == "speed"}
    others = {(one.kind, one.model) for one in found}
    for head in heads:
        for shape in wanted.shapes if "speed" in wanted.kinds else ():
            if (head, shape) not in timed:
                yield _unmeasured("speed", head, "time", "not timed", shape)
        for kind in wanted.kinds:
            if kind != "speed" and (kind, head) not in others:
                yield _unmeasured(kind, head, WHAT[kind], "not measured", None)
