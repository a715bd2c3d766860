"""The report of `bertbench recommend`: what to take and why, what each alternative costs, and what would settle what is open."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bertbench.report.caveats import (
    BestOfTrials,
    OtherRecipe,
    RandomWeights,
    SampleOnly,
    StartedFrom,
    TrainingCapped,
    TrainingResampled,
)
from bertbench.report.compare.advice import HIGHER_IS_BETTER, PLAIN, Advice, Axis, Candidate, Fit, Limits, are_apart
from bertbench.report.compare.use_case import RULE, Use
from bertbench.report.row import Report, Row, Style, Table
from bertbench.report.tables.figures import listed, shown, way_label
from bertbench.units import megabytes, significant

QUANTITIES = {Axis.LATENCY: "latency", Axis.MEMORY: "peak_memory", Axis.SIZE: "parameter_bytes", Axis.SCORE: "score"}
MORE_ROUNDS = 30
WORSE = {Axis.LATENCY: "slower", Axis.MEMORY: "more memory", Axis.SIZE: "larger"}
BETTER = {Axis.LATENCY: "faster", Axis.MEMORY: "less memory", Axis.SIZE: "smaller"}
SAID = (SampleOnly, TrainingCapped, TrainingResampled, OtherRecipe, RandomWeights, StartedFrom, BestOfTrials)
SAME = 1.005  # ratios closer to 1 are not told
STYLES: Mapping[str, Style] = {"take this": "good", "no:": "bad", "open:": "open"}


@dataclass(frozen=True)
class Inquiry:
    """What was asked, beside the limits: the inputs of a pass, the task, and what stands in commands after their names."""

    limits: Limits
    batch_size: int
    sequence_length: int
    task: str | None
    options: str = ""


def build_advice(advice: Advice, inquiry: Inquiry, sources: Sequence[str]) -> Report:
    """Build the report; `sources` are the sessions that figures are from."""
    candidates = (*advice.fitting, *advice.open, *advice.missing)
    heads = {
        Axis.LATENCY: f"Latency {inquiry.batch_size}x{inquiry.sequence_length}",
        Axis.MEMORY: f"Peak memory {inquiry.batch_size}x{inquiry.sequence_length}",
        Axis.SIZE: "Size",
        Axis.SCORE: f"Score {inquiry.task}" if inquiry.task else "Score",
    }
    rows = tuple(
        (
            candidate.model,
            way_label(candidate.backend, candidate.dtype),
            *(figure_cell(candidate, axis) for axis in heads),
            _verdict(candidate, advice, inquiry.limits),
        )
        for candidate in candidates
    )
    table = Table(
        title="Candidates",
        columns=("Model", "Back-end", *heads.values(), "Verdict"),
        rows=rows,
        notes=(
            *_why(advice, inquiry),
            *_unknown(advice, candidates, inquiry),
            *_of_scores(candidates, inquiry),
            *sources,
        ),
        kinds=("text", "text", "number", "number", "number", "number", "text"),
        accents=STYLES,
    )
    return Report(headline(advice, inquiry.limits), (table,), tuple(_rows(candidates)))


def build_uses(uses: Mapping[str, Sequence[Use]], sources: Sequence[str]) -> Report:
    """Build the report where nothing is asked for: what each model is best used for, by the rule of the comparison."""
    rows = tuple(
        (
            model,
            "\n".join(use.phrase for use in of if use.is_best),
            "\n".join((use.reason if use.is_best else use.text) for use in of),
        )
        for model, of in uses.items()
    )
    hint = "with limits one is chosen: --max-latency-ms, --max-memory-mb, --max-size-mb, --min-score; or --prefer"
    table = Table("Best use", ("Model", "Best use", "Because"), rows, (hint, RULE, *sources), ("text",) * 3)
    return Report("What each model is best used for", (table,))


def headline(advice: Advice, limits: Limits) -> str:
    """Say in one line what to take."""
    asked = f" within {limits_text(limits)}" if limits.bounds else ""
    if advice.taken is not None:
        return f"Take {_named(advice.taken)}: the best in {limits.order[0]}{asked}"
    within = [each for each in advice.open if set(each.fits(limits).values()) <= {Fit.MET}]
    if within:  # what is preferred is not known of them
        return f"Undecided: {limits.order[0]} is not known of {listed([_named(each) for each in within])}"
    if advice.open:
        return f"Undecided: nothing is known to stay{asked}; {listed([_named(each) for each in advice.open])} may"
    return f"None of what was measured stays{asked}"


def limits_text(limits: Limits) -> str:
    """Write the limits: 'latency 50.0 ms, score 90.0'."""
    return ", ".join(f"{axis} {_text(axis, bound)}" for axis, bound in limits.bounds.items())


def figure_cell(candidate: Candidate, axis: Axis) -> str:
    """Write a candidate's figure with its interval; memory without the margin of its single reading."""
    estimate = candidate.figures.get(axis)
    if estimate is None:
        return ""
    if axis in {Axis.MEMORY, Axis.SIZE}:
        return megabytes(estimate.value)
    return shown(QUANTITIES[axis], estimate.value, estimate.low, estimate.high)


def _named(candidate: Candidate) -> str:
    return (
        candidate.model
        if _is_plain(candidate)
        else f"{candidate.model} ({way_label(candidate.backend, candidate.dtype)})"
    )


def _is_audited(candidate: Candidate) -> bool:
    """Tell whether a score is of the back-end's own answers."""
    row = candidate.rows.get(Axis.SCORE)
    return row is not None and row.statistic == "audited"


def _is_plain(candidate: Candidate) -> bool:
    return (candidate.backend, candidate.dtype) == PLAIN


def _text(axis: Axis, value: float) -> str:
    return shown(QUANTITIES[axis], value)


def _verdict(candidate: Candidate, advice: Advice, limits: Limits) -> str:
    """Say what is to be said of a candidate: take it, what it costs instead, or where it misses a limit."""
    if candidate is advice.taken:
        return "take this"
    missed = [axis for axis, fit in candidate.fits(limits).items() if fit is Fit.MISSED]
    if missed:
        return "no: " + ", ".join(f"{axis} {_text(axis, candidate.figures[axis].value)}" for axis in missed)
    unsettled = [f"{axis} {fit}" for axis, fit in candidate.fits(limits).items() if fit in {Fit.OPEN, Fit.UNKNOWN}]
    if candidate in advice.open:
        return "open: " + ", ".join(unsettled or [f"{limits.order[0]} unknown"]).replace(" open", " too close to tell")
    costs = ", ".join(costs_of(candidate, advice.taken, limits.order)) if advice.taken else ""
    return "fits" + (f": {costs}" if costs else "")


def costs_of(candidate: Candidate, taken: Candidate, order: Sequence[Axis]) -> Iterator[str]:
    """Yield what another candidate costs and saves against what is taken: '1.9x slower', '1.2 points higher'."""
    for axis in order:
        ours, theirs = candidate.figures.get(axis), taken.figures.get(axis)
        if ours is None or theirs is None or not are_apart(candidate, taken, axis):
            continue
        if axis in HIGHER_IS_BETTER:
            points = 100 * (ours.value - theirs.value)
            if abs(points) >= 0.05:
                yield f"{abs(points):.1f} points {'higher' if points > 0 else 'lower'}"
            continue
        if not ours.value or not theirs.value:
            continue
        ratio = ours.value / theirs.value
        if max(ratio, 1 / ratio) >= SAME:
            yield f"{significant(max(ratio, 1 / ratio))}x {(WORSE if ratio > 1 else BETTER)[axis]}"


def _why(advice: Advice, inquiry: Inquiry) -> Iterator[str]:
    order = inquiry.limits.order
    if advice.taken is not None and advice.equals:
        others = listed([_named(each) for each in advice.equals])
        nexts = ", then ".join(order[1:])
        yield f"in {order[0]} not told apart from {others}: {nexts} decide"
    elif advice.taken is not None and len(advice.fitting) > 1:
        yield f"in {order[0]} ahead of all others that fit"
    borrowed = [each for each in (*advice.fitting, *advice.open) if not _is_plain(each) and not _is_audited(each)]
    if borrowed and inquiry.task:
        yield "scores are those of PyTorch in fp32; `bertbench speed --task` tells what a back-end changes in the answers"


def _unknown(advice: Advice, candidates: Sequence[Candidate], inquiry: Inquiry) -> Iterator[str]:
    """Yield what is not known, with the commands that would settle it."""
    wanted = dict.fromkeys((*inquiry.limits.bounds, inquiry.limits.order[0]))
    for axis in wanted:
        without = [each for each in advice.open if axis not in each.figures]
        never = [each for each in without if _is_never_measured(axis, each)]
        if never:
            what = "weights are counted in fp32" if axis is Axis.SIZE else "memory is measured in PyTorch"
            yield f"not known: {axis} of {listed([_named(each) for each in never])}; {what} only"
        lacking = [each for each in without if each not in never]
        if lacking:
            names = list(dict.fromkeys(each.model for each in lacking))
            yield f"not known: {axis} of {listed([_named(each) for each in lacking])}: {_command(axis, names, inquiry)}"
    close = [each for each in advice.open if Fit.OPEN in each.fits(inquiry.limits).values()]
    timed = [each for each in close if each.fits(inquiry.limits).get(Axis.LATENCY) is Fit.OPEN]
    if timed:
        names = list(dict.fromkeys(each.model for each in timed))
        yield f"too close to tell: {_command(Axis.LATENCY, names, inquiry)} --rounds {MORE_ROUNDS}"
    is_timed = any(Axis.LATENCY in each.figures for each in candidates)
    if is_timed and all(_is_plain(each) for each in candidates) and Axis.LATENCY in wanted:
        names = list(dict.fromkeys(each.model for each in candidates))
        yield f"only PyTorch was timed: {_command(Axis.LATENCY, names, inquiry)} --backends all"


def _is_never_measured(axis: Axis, candidate: Candidate) -> bool:
    """Tell whether no command measures this of the candidate."""
    backend, dtype = PLAIN
    return (axis is Axis.SIZE and candidate.dtype != dtype) or (axis is Axis.MEMORY and candidate.backend != backend)


def _of_scores(candidates: Sequence[Candidate], inquiry: Inquiry) -> Iterator[str]:
    """Say which scores are of samples, of cut training or of random weights."""
    about: dict[str, dict[str, None]] = {}
    for candidate in candidates:
        row = candidate.rows.get(Axis.SCORE)
        for caveat in row.caveats if row else ():
            if isinstance(caveat, SAID):
                about.setdefault(caveat.text, {})[candidate.model] = None
    for text, models in about.items():
        yield f"score on {inquiry.task} of {listed(list(models))}: {text}"
    for candidate in candidates:
        row = candidate.rows.get(Axis.SCORE)
        if row is not None and row.n is not None and _is_audited(candidate):
            yield f"score on {inquiry.task} of {_named(candidate)}: its own answers to {row.n:,} examples, without an interval"


def _command(axis: Axis, models: Sequence[str], inquiry: Inquiry) -> str:
    """Write the command that measures an axis of models."""
    named = f"--models {shlex.quote(','.join(models))}{inquiry.options}"  # names may be strangers'
    if axis is Axis.SCORE:
        return f"bertbench run --task {shlex.quote(inquiry.task or 'sst2')} {named}"
    if axis in {Axis.LATENCY, Axis.MEMORY}:
        shape = f"--batch-sizes {inquiry.batch_size} --sequence-lengths {inquiry.sequence_length}"
        return f"bertbench speed {named} {shape}"
    return f"bertbench compare {named}"


def _rows(candidates: Sequence[Candidate]) -> Iterator[Row]:
    """Yield the rows behind the figures, each once."""
    seen: list[Row] = []
    for candidate in candidates:
        for row in candidate.rows.values():
            if not any(row is other for other in seen):
                seen.append(row)
                yield row
