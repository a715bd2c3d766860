"""All findings of a gate: what is measured now against a baseline, or heads against a base of the same session."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from bertbench.gate import ratios
from bertbench.gate.finding import EQUAL, GateFinding, Kind, Margins, ModelTask, Verdict
from bertbench.gate.scores import score_finding, undefined_finding

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Checkpoint, Fingerprints, Saved, StoredScore, Unmeasured

QUANTITY_OF: dict[Kind, str] = {"size": "counts", "quality": "score", "speed": "time", "memory": "peak memory"}


def against_baseline(
    before: Saved, now: Saved, models: Sequence[str], kinds: Collection[Kind], margins: Margins, prints: Fingerprints
) -> list[GateFinding]:
    """Find everything that `kinds` ask for: what the baseline has of it, and a finding for what it lacks."""
    old, new = _limited_to(before.baseline, models), _limited_to(now.baseline, models)
    findings: list[GateFinding] = []
    if "size" in kinds:
        findings += _sizes(old, new, models)
    if "quality" in kinds:
        findings += _quality(before, now, old.scores, margins, prints)
    # Only times and memory belong to a machine; counts and scores are compared on any.
    elsewhere = incomparable(old, new)
    if elsewhere:
        findings += _elsewhere(old, kinds, elsewhere)
    else:
        if "speed" in kinds:
            findings += ratios.speed_findings(old.times, new.times, margins)
        if "memory" in kinds:
            findings += ratios.memory_findings(old, new, margins)
    findings += _failed(new, kinds)
    # Gaps come last: they are what no finding covers.
    return _explained([*findings, *_gaps(before.baseline, findings, models, kinds)], new.lost)


def incomparable(before: Baseline, now: Baseline) -> str:
    """Tell why times and memory of now say nothing against those before; empty if they do."""
    if before.environment_class != now.environment_class:
        return ratios.ELSEWHERE
    threads = [baseline.options.get("threads") for baseline in (before, now)]
    if None not in threads and threads[0] != threads[1]:
        return f"measured with {threads[0]} threads, now with {threads[1]}: ratios depend on it"
    return ""


def _sizes(old: Baseline, new: Baseline, models: Sequence[str]) -> Iterator[GateFinding]:
    late = {lost.model: lost.reason for lost in new.lost if lost.kind == "size" and not lost.failed}
    for model in models:
        if model in late and model not in new.counts and model in old.counts:
            yield _unmeasured("size", model, "counts", late[model], None)
        else:
            yield from size_findings(old, new, model)


def _gaps(
    before: Baseline, findings: Sequence[GateFinding], models: Sequence[str], kinds: Collection[Kind]
) -> Iterator[GateFinding]:
    """Yield what others have and one lacks: a baseline that lost something must not gate less in silence.

    What was skipped when the baseline was saved is said and not gated; what failed, or went without a word, is open.
    """
    lost = {(gap.kind, gap.model, gap.task): gap for gap in before.lost}
    # Without tasks to go by, any reason of a kind and model will do.
    lost |= {(gap.kind, gap.model, None): gap for gap in before.lost}
    covered = {_cell(finding) for finding in findings}
    for kind in kinds:
        for model in models:
            if kind in {"speed", "memory"} and model == before.reference:  # its ratio to itself is 1
                continue
            for task in before.tasks if kind == "quality" and before.tasks else (None,):
                if (kind, model, task) in covered:
                    continue
                why = lost.get((kind, model, task))
                reason = f"the baseline has none{f': {why.reason}' if why else ''}"
                verdict: Verdict = "not gated" if why is not None and not why.failed else "inconclusive"
                yield GateFinding(kind, model, QUANTITY_OF[kind], verdict, reason=reason, detail=task, measured=False)


def _explained(findings: Sequence[GateFinding], lost: Sequence[Unmeasured]) -> list[GateFinding]:
    """Add the reason that measuring gave to findings of what was not measured."""
    reasons = {(gap.kind, gap.model, gap.task): gap.reason for gap in lost if not gap.failed}
    return [
        replace(finding, reason=f"{finding.reason}: {reason}")
        if not finding.measured and finding.verdict == "inconclusive" and (reason := reasons.get(_cell(finding)))
        else finding
        for finding in findings
    ]


def _cell(finding: GateFinding) -> tuple[str, str, str | None]:
    """Name what was measured at once: kind, model and, of scores, the task. Shapes of a model are timed together."""
    return finding.kind, finding.model, finding.detail if finding.kind == "quality" else None


def broken_checkpoints(
    before: Saved, prints: Fingerprints, margins: Margins, decides: Callable[[GateFinding], bool] = lambda _: True
) -> frozenset[ModelTask]:
    """Find where a checkpoint cannot be loaded or is not the right one, so that a score would mean nothing.

    Outputs that decide nothing, being advisory or waived, do not keep a score from being measured, which may be critical. A
    score by swapped labels or other weights means nothing whatever a policy says of them.
    """
    broken = set(prints.failed)
    for scored in before.baseline.scores:
        key = (scored.model, scored.task)
        findings = (
            checkpoint_findings(scored, prints.taken[key], "", margins.at("outputs", *key))
            if key in prints.taken
            else ()
        )
        if any(
            finding.verdict == "fail" and (finding.quantity != "outputs" or decides(finding)) for finding in findings
        ):
            broken.add(key)
    return frozenset(broken)


def _limited_to(baseline: Baseline, models: Sequence[str]) -> Baseline:
    """Limit a baseline to some of its models."""
    return replace(
        baseline,
        scores=tuple(scored for scored in baseline.scores if scored.model in models),
        times=tuple(timed for timed in baseline.times if timed.model in models),
        peak_memory={
            name: peaks
            for name, peaks in baseline.peak_memory.items()
            if name in models or name == baseline.reference  # every other peak is divided by the reference's
        },
    )


def _quality(
    before: Saved, now: Saved, scores: Sequence[StoredScore], margins: Margins, prints: Fingerprints
) -> Iterator[GateFinding]:
    measured = {(scored.model, scored.task): scored for scored in now.baseline.scores}
    for old in scores:
        key = (old.model, old.task)
        if key in prints.taken or key in prints.failed:
            tolerance = margins.at("outputs", *key)
            yield from checkpoint_findings(old, prints.taken.get(key), prints.failed.get(key, ""), tolerance)
        new = measured.get(key)
        if new is not None and (lacking := undefined_finding(old, new, margins.at("quality", *key))):
            yield lacking
            continue
        if new is None or key not in now.predictions or key not in before.predictions:
            reason = "not evaluated now" if new is None else "the baseline has no predictions"
            yield _unmeasured("quality", old.model, "score", reason, old.task)
            continue
        yield score_finding(old, new, (before.predictions[key], now.predictions[key]), margins.at("quality", *key))


def _elsewhere(before: Baseline, kinds: Collection[Kind], why: str) -> Iterator[GateFinding]:
    """Yield an inconclusive finding for everything timed in another environment class or with other threads."""
    for timed in before.times if "speed" in kinds else ():
        yield _unmeasured("speed", timed.model, "time", why, timed.shape)
    for model, shapes in before.peak_memory.items() if "memory" in kinds else ():
        for shape in shapes if model != before.reference else ():
            yield _unmeasured("memory", model, "peak memory", why, shape)


def _failed(now: Baseline, kinds: Collection[Kind]) -> Iterator[GateFinding]:
    """Yield a failure for everything that broke while it was measured."""
    for lost in now.lost:
        if lost.failed and lost.kind in kinds:
            yield GateFinding(
                lost.kind,  # type: ignore[arg-type]
                lost.model,
                "measuring",
                "fail",
                reason=lost.reason,
                detail=lost.task,
                measured=False,
            )


def _unmeasured(kind: Kind, model: str, quantity: str, reason: str, detail: str | None) -> GateFinding:
    return GateFinding(kind, model, quantity, "inconclusive", reason=reason, detail=detail, measured=False)


@dataclass(frozen=True)
class GateRequest:
    """What was asked for of every head: kinds, tasks, and shapes of fixed or natural length."""

    kinds: Collection[Kind]
    tasks: Sequence[str] = ()
    shapes: Sequence[str] = ()


def against_model(
    now: Saved, base: str, heads: Sequence[str], wanted: GateRequest, margins: Margins
) -> list[GateFinding]:
    """Judge head models against a base of the same session: these ratios may fail. All that is wanted has a finding."""
    new = now.baseline
    findings: list[GateFinding] = []
    scores = {(scored.model, scored.task): scored for scored in new.scores}
    for head in heads:
        for task in wanted.tasks if "quality" in wanted.kinds else ():
            keys = ((base, task), (head, task))
            retained = margins.at("quality", head, task)
            pair = [scores[key] for key in keys if key in scores]
            if len(pair) == 2 and (lacking := undefined_finding(pair[0], pair[1], retained, head)):
                findings.append(lacking)
                continue
            if not all(key in scores and key in now.predictions for key in keys):
                findings.append(_unmeasured("quality", head, "score", "one of the two was not evaluated", task))
                continue
            frames = (now.predictions[keys[0]], now.predictions[keys[1]])
            findings.append(score_finding(scores[keys[0]], scores[keys[1]], frames, retained, head))
    if "speed" in wanted.kinds:
        findings += ratios.speed_findings(None, [timed for timed in new.times if timed.model in heads], margins)
    if "memory" in wanted.kinds:
        findings += ratios.memory_findings(None, new, margins)
    findings += _failed(new, wanted.kinds)
    return _explained([*findings, *_absent(findings, heads, wanted)], new.lost)


def _absent(findings: Sequence[GateFinding], heads: Sequence[str], wanted: GateRequest) -> Iterator[GateFinding]:
    """Yield the times, memory and scores that were asked for and are missing."""
    timed = {(finding.model, finding.detail) for finding in findings if finding.kind == "speed"}
    others = {(finding.kind, finding.model) for finding in findings}
    for head in heads:
        for shape in wanted.shapes if "speed" in wanted.kinds else ():
            if (head, shape) not in timed:
                yield _unmeasured("speed", head, "time", "not timed", shape)
        for kind in wanted.kinds:
            if kind != "speed" and (kind, head) not in others:
                yield _unmeasured(kind, head, QUANTITY_OF[kind], "not measured", None)


Equality = Literal["pass", "fail"]
SHOWN = 3  # differing weights that are named


def size_findings(before: Baseline, now: Baseline, model: str) -> Iterator[GateFinding]:
    """Compare counts and the architecture's weights of a model."""
    old, new = before.counts.get(model, {}), now.counts.get(model, {})
    for name, value in old.items():
        finding = partial(GateFinding, "size", model, name, before=f"{value:,.0f}", margin=EQUAL)
        if name in new:
            yield finding(_equal(value == new[name]), now=f"{new[name]:,.0f}", value=new[name])
        else:
            yield finding("fail", reason="is not counted any more", measured=False)
    if model in before.weights and model not in now.weights:
        reason = "its configuration cannot be read now"
        yield GateFinding(
            "size", model, "shapes of weights", "inconclusive", margin=EQUAL, reason=reason, measured=False
        )
    elif model in before.weights:
        reason = differing(before.weights[model], now.weights.get(model, {}))
        old_count, new_count = (f"{len(part.get(model, {}))} weights" for part in (before.weights, now.weights))
        yield GateFinding("size", model, "shapes of weights", _equal(not reason), old_count, new_count, EQUAL, reason)


def checkpoint_findings(
    scored: StoredScore, now: Checkpoint | None, why: str, tolerance: float
) -> Iterator[GateFinding]:
    """Compare label map, weights and outputs of the checkpoint that is evaluated.

    Args:
        scored: the baseline's, with its checkpoint.
        now: the fingerprint of what is there now; None: it cannot be taken, and `why`.
        why: the reason.
        tolerance: of outputs, absolute.
    """
    old = scored.checkpoint
    if old is None:
        return
    finding = partial(GateFinding, "quality", scored.model, detail=scored.task)
    if now is None:
        yield finding("checkpoint", "fail", margin=EQUAL, reason=why, measured=False)
        return
    old_labels, new_labels = (", ".join(checkpoint.labels or ()) for checkpoint in (old, now))
    yield finding("labels", _equal(old.labels == now.labels), old_labels, new_labels, EQUAL)
    reason = differing(old.weights, now.weights)
    old_count, new_count = (f"{len(checkpoint.weights)} weights" for checkpoint in (old, now))
    yield finding("shapes of weights", _equal(not reason), old_count, new_count, EQUAL, reason)
    yield _outputs(partial(finding, "outputs", margin=f"{tolerance:g}, same answers"), old, now, tolerance)


def _outputs(finding: Callable[..., GateFinding], old: Checkpoint, now: Checkpoint, tolerance: float) -> GateFinding:
    """Compare outputs: equal but for rounding, with equal answers; outputs of other weights are not compared."""
    # A checkpoint that is not kept may have been replaced on purpose; its predictions tell.
    if old.digest != now.digest and old.kept is None:
        return finding("not gated", reason="other weights than the baseline's: judged by their predictions alone")
    if old.output_shape != now.output_shape:
        reason = f"shape {'x'.join(map(str, now.output_shape))} instead of {'x'.join(map(str, old.output_shape))}"
        return finding("fail", reason=reason)
    if not now.outputs or not all(map(math.isfinite, now.outputs)):
        reason = "outputs are not all finite numbers" if now.outputs else "there are no outputs"
        return finding("fail", reason=reason, measured=False)
    largest = max((abs(a - b) for a, b in zip(old.outputs, now.outputs, strict=True)), default=0.0)
    moved = sum(a != b for a, b in zip(_answers(old), _answers(now), strict=True))
    # A small difference that changes an answer is no rounding to whoever reads the answer.
    is_equal = largest <= tolerance and not moved
    reason = f"{moved} answers (largest outputs) differ" if moved else ""
    return finding(_equal(is_equal), f"{len(old.outputs)} outputs", f"differ by {largest:.2g}", reason=reason)


def _answers(checkpoint: Checkpoint) -> list[int]:
    """Find the position of the largest output along each last dimension."""
    width = checkpoint.output_shape[-1]
    rows = [checkpoint.outputs[start : start + width] for start in range(0, len(checkpoint.outputs), width)]
    return [row.index(max(row)) for row in rows]


def differing(old: Mapping[str, tuple[int, ...]], new: Mapping[str, tuple[int, ...]]) -> str:
    """List what is new, gone or of another shape; empty if nothing is."""
    changed = [
        f"{name}: {_shape(old.get(name))} before, {_shape(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return "; ".join(changed[:SHOWN]) + more


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape)) or "one number"


def _equal(equal: bool) -> Equality:
    return "pass" if equal else "fail"
