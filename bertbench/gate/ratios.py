"""Times and memory as ratios to a model of the same session: against a baseline's ratios, or base against head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bertbench.gate.finding import GateFinding, Margins, Verdict
from bertbench.stats.estimate import Estimate, Method, MethodKind
from bertbench.stats.group_sequential import LOOKS, MOST_ROUNDS, Decision, decide

if TYPE_CHECKING:
    from bertbench.gate.baseline import Baseline, Timed
    from bertbench.specs.timing import TimingSpec

SMALL = 8 * 2**20  # bytes: differences below are the allocator's
BASELINE_ROUNDS = 32  # a baseline is taken once; its noise is in every check that follows
SHAPE_S = (
    2.0  # at a shape in a round: what is brief takes more turns, since the median of few turns is most of the noise
)
ACROSS = (
    "slower than the margin allows, but a ratio stored by another session lacks the noise between sessions; "
    "measure both in one job: --against-model, --against-code"
)
ELSEWHERE = "measured on another class of machine or software: times and memory of one say nothing about another"


def protocol(timing: TimingSpec, rounds: int = MOST_ROUNDS) -> TimingSpec:
    """Adapt the suite's timing to a gate: up to `rounds`, no precision, longer at brief shapes, on the same cores."""
    shape_s = max(timing.min_shape_s, SHAPE_S)
    update = {"rounds": rounds, "precision": None, "min_shape_s": shape_s, "same_cores": True}
    return timing.model_copy(update=update)


def key_of(timed: Timed) -> str:
    """Name a gated time as measuring names it too."""
    usual = "eager fp32"
    return f"{timed.model}{'' if timed.way == usual else f' {timed.way}'} {timed.shape}"


def speed_findings(
    before: Sequence[Timed] | None, now: Sequence[Timed], margins: Margins, others: int = 0
) -> Iterator[GateFinding]:
    """Judge the ratio to the reference now over that before; without `before` the ratio of base and head in one job.

    `others` are times gated elsewhere at the same time.
    """
    series = {key_of(timed): timed.log_ratios for timed in now}
    stored = {key_of(timed): timed.log_ratios for timed in before or ()}
    if before is not None:
        # One round has no spread.
        series = {name: values for name, values in series.items() if len(stored.get(name, ())) > 1}
    decisions = decide(series, dict.fromkeys(series, math.log(margins.speed)), stored, others=others)
    for timed in now:
        name = key_of(timed)
        if name in decisions:
            yield _speed_finding(timed, stored.get(name), decisions[name], margins.speed)
    for timed in before or ():
        if key_of(timed) not in decisions:
            reason = "not timed now" if key_of(timed) not in {key_of(other) for other in now} else "too few rounds"
            yield GateFinding(
                "speed", timed.model, "time", "inconclusive", reason=reason, detail=timed.shape, measured=False
            )


def _speed_finding(timed: Timed, stored: Sequence[float] | None, decision: Decision, margin: float) -> GateFinding:
    verdict, reason = decision.verdict, ""
    if stored is not None and verdict == "fail":
        # The noise between sessions is in no interval, so that such a ratio cannot prove a slow-down.
        verdict, reason = "inconclusive", ACROSS
    elif verdict == "inconclusive":
        needed = (
            f"about {decision.needed} rounds would show it"
            if decision.needed
            else "no practical number of rounds would settle it"
        )
        reason = f"{needed}, there are {decision.rounds}"
    estimate = None
    if decision.log_ratio is not None and decision.low is not None and decision.high is not None:
        value, low, high = (math.exp(bound) for bound in (decision.log_ratio, decision.low, decision.high))
        kind = MethodKind.WELCH if stored else MethodKind.STUDENT
        estimate = Estimate(value, low, high, Method(kind, (decision.rounds,), "rounds", level=0.90))
    now = _mean_ratio(timed.log_ratios)
    return GateFinding(
        "speed", timed.model, "time", verdict, f"{_mean_ratio(stored):.3f}x" if stored else "1x", f"{now:.3f}x",
        # Fewer than the first look takes is nothing measured.
        f"{margin:g}x", reason, timed.shape, estimate, decision.rounds, "rounds", measured=decision.rounds >= LOOKS[0], value=now,
    )  # fmt: skip


def _mean_ratio(logs: Sequence[float]) -> float:
    return math.exp(math.fsum(logs) / len(logs))


def memory_findings(before: Baseline | None, now: Baseline, margins: Margins) -> Iterator[GateFinding]:
    """Judge peaks relative to the reference's, now over before; single readings, so that the margin alone decides."""
    for model, peaks in (before or now).peak_memory.items():
        if model == now.reference:
            continue
        for shape in peaks:
            new = _relative(now, model, shape)
            old = _relative(before, model, shape) if before else 1.0
            if new is None or old is None:
                yield GateFinding(
                    "memory",
                    model,
                    "peak memory",
                    "inconclusive",
                    reason="not measured now",
                    detail=shape,
                    measured=False,
                )
                continue
            yield _memory_finding(now, (model, shape), (old, new), margins.at("memory", model))


def _memory_finding(now: Baseline, key: tuple[str, str], ratios: tuple[float, float], margin: float) -> GateFinding:
    """Judge one peak: a failure takes more than the margin and more than the allocator's whim."""
    model, shape = key
    old, new = ratios
    excess = (new - old) * now.peak_memory[now.reference][shape]
    over = not new / old <= margin  # what is no number is no pass
    verdict: Verdict = "fail" if over and not excess <= SMALL else "pass"
    reason = f"{excess / 1e6:.1f} MB more are within what an allocator does" if over and verdict == "pass" else ""
    estimate = Estimate(new / old, method=Method(MethodKind.SINGLE_READINGS))
    return GateFinding(
        "memory", model, "peak memory", verdict, f"{old:.3f}x" if old != 1 else "1x", f"{new:.3f}x", f"{margin:g}x",
        reason, shape, estimate, 1, "reading", value=new,
    )  # fmt: skip


def _relative(of: Baseline | None, model: str, shape: str) -> float | None:
    peaks = of.peak_memory if of else {}
    ours, theirs = (peaks.get(name, {}).get(shape) for name in (model, of.reference if of else ""))
    return ours / theirs if ours and theirs else None


def enough(
    before: Sequence[Timed] | None, margins: Margins, ratios: Mapping[str, Sequence[float]], others: int = 0
) -> bool:
    """Tell whether a session may stop at this look: every gated time is decided. For the measuring side to ask."""
    stored = {key_of(timed): timed.log_ratios for timed in before or ()}
    series = {name: values for name, values in ratios.items() if before is None or len(stored.get(name, ())) > 1}
    decisions = decide(series, dict.fromkeys(series, math.log(margins.speed)), stored, ended=False, others=others)
    return bool(decisions) and all(timed.verdict != "inconclusive" for timed in decisions.values())
