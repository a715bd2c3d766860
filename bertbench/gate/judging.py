"""All findings of a gate: what is measured now against a baseline, or head models against a base model of the same session."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bertbench.gate import cost
from bertbench.gate.exact import checkpoint_findings, size_findings
from bertbench.gate.finding import Finding, Kind, Margins
from bertbench.gate.quality import score_finding

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint, Saved, Scored

Place = tuple[str, str]  # model and task


@dataclass(frozen=True)
class Fingerprints:
    """Of the checkpoints that are evaluated, by model and task; of those that cannot be taken, why."""

    taken: Mapping[Place, Checkpoint] = field(default_factory=dict)
    failed: Mapping[Place, str] = field(default_factory=dict)


def against_baseline(
    before: Saved, now: Saved, models: Sequence[str], kinds: Collection[Kind], margins: Margins, prints: Fingerprints
) -> list[Finding]:
    """Everything that the baseline has and `kinds` ask for."""
    old, new = _of(before.baseline, models), _of(now.baseline, models)
    found: list[Finding] = []
    if "size" in kinds:
        found += [one for model in models for one in size_findings(old, new, model)]
    if "quality" in kinds:
        found += _quality(before, now, old.scores, margins, prints)
    if old.environment_class != new.environment_class:
        return [*found, *_elsewhere(old, kinds), *_failed(new, kinds)]
    if "speed" in kinds:
        found += cost.speed_findings(old.times, new.times, margins)
    if "memory" in kinds:
        found += cost.memory_findings(old, new, margins.memory)
    return [*found, *_failed(new, kinds)]


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
    from dataclasses import replace

    return replace(
        baseline,
        scores=tuple(one for one in baseline.scores if one.model in models),
        times=tuple(one for one in baseline.times if one.model in models),
        peak_memory={
            name: of for name, of in baseline.peak_memory.items() if name in models or name == baseline.reference
        },
    )


def _quality(
    before: Saved, now: Saved, scores: Sequence[Scored], margins: Margins, prints: Fingerprints
) -> Iterator[Finding]:
    measured = {(one.model, one.task): one for one in now.baseline.scores}
    for old in scores:
        place = (old.model, old.task)
        if place in prints.taken or place in prints.failed:
            yield from checkpoint_findings(old, prints.taken.get(place), prints.failed.get(place, ""), margins.outputs)
        if place not in measured or place not in now.predictions or place not in before.predictions:
            reason = "not evaluated now" if place not in measured else "the baseline has no predictions"
            yield _unmeasured("quality", old.model, "score", reason, old.task)
            continue
        yield score_finding(old, measured[place], (before.predictions[place], now.predictions[place]), margins.quality)


def _elsewhere(before: Baseline, kinds: Collection[Kind]) -> Iterator[Finding]:
    """Of another environment class everything timed is inconclusive."""
    for one in before.times if "speed" in kinds else ():
        yield _unmeasured("speed", one.model, "time", cost.ELSEWHERE, one.shape)
    for model, shapes in before.peak_memory.items() if "memory" in kinds else ():
        for shape in shapes if model != before.reference else ():
            yield _unmeasured("memory", model, "peak memory", cost.ELSEWHERE, shape)


def _failed(now: Baseline, kinds: Collection[Kind]) -> Iterator[Finding]:
    """What broke while it was measured fails the gate."""
    for lost in now.lost:
        if lost.failed and lost.kind in kinds:
            yield Finding(lost.kind, lost.model, "measuring", "fail", reason=lost.reason, detail=lost.task)  # type: ignore[arg-type]


def _unmeasured(kind: Kind, model: str, quantity: str, reason: str, detail: str | None) -> Finding:
    return Finding(kind, model, quantity, "inconclusive", reason=reason, detail=detail, measured=False)


def against_model(
    now: Saved, base: str, heads: Sequence[str], kinds: Collection[Kind], margins: Margins
) -> list[Finding]:
    """Head models against a base model that shared their session: these ratios may fail."""
    new = now.baseline
    found: list[Finding] = []
    scores = {(one.model, one.task): one for one in new.scores}
    for head in heads:
        for task in new.tasks if "quality" in kinds else ():
            places = ((base, task), (head, task))
            if not all(place in scores and place in now.predictions for place in places):
                found.append(_unmeasured("quality", head, "score", "one of the two was not evaluated", task))
                continue
            frames = (now.predictions[places[0]], now.predictions[places[1]])
            found.append(score_finding(scores[places[0]], scores[places[1]], frames, margins.quality, head))
    if "speed" in kinds:
        found += cost.speed_findings(None, new.times, margins)
    if "memory" in kinds:
        found += cost.memory_findings(None, new, margins.memory)
    return [*found, *_failed(new, kinds)]
