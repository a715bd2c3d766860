"""Which model and back-end to take within limits, from what was measured: the rule behind `bertbench recommend`.

A candidate is a model as it was run: on a back-end, in a number format. Each of its figures is the newest that there is of it on one
class of machine. A limit is met or missed where the whole interval says so, else it is open; a figure that is missing leaves it unknown.
Of the candidates that meet every limit the best by `prefer` is taken; those that are not told apart from it count as its equals, and the
next quantity decides among them. Scores of one session are told apart by their paired difference, as in the rule for best use, all else
by intervals that do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from bertbench.report.row import Row
from bertbench.stats.estimate import SINGLE_READING_MARGIN, Estimate


class Axis(StrEnum):
    """What candidates are compared in; the value is what the command line calls it."""

    SCORE = "score"
    LATENCY = "latency"
    MEMORY = "memory"
    SIZE = "size"


HIGHER_IS_BETTER = frozenset({Axis.SCORE})


class Fit(StrEnum):
    """How a figure stands to a limit."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Limits:
    """What is asked for: at most so much time (s), memory and size (bytes), at least so high a score (0..1)."""

    bounds: Mapping[Axis, float]
    prefer: Axis | None = None

    @property
    def order(self) -> tuple[Axis, ...]:
        """By what candidates are ranked: what is preferred, then the others.

        Without a preference the score decides, or the latency where only a score is asked for.
        """
        only_score = set(self.bounds) == {Axis.SCORE}
        first = self.prefer or (Axis.LATENCY if only_score else Axis.SCORE)
        return first, *(axis for axis in Axis if axis is not first)


@dataclass(frozen=True)
class Candidate:
    """A model as it was run, and what is known of it.

    `rows` has by axis the row that a figure is from, `differences` by other model that of the paired difference of scores.
    """

    model: str
    backend: str
    dtype: str
    figures: Mapping[Axis, Estimate]
    rows: Mapping[Axis, Row] = field(default_factory=dict)
    differences: Mapping[str, Row] = field(default_factory=dict)

    def fit(self, axis: Axis, bound: float) -> Fit:
        """Tell how a figure stands to its limit."""
        estimate = self.figures.get(axis)
        if estimate is None:
            return Fit.UNKNOWN
        low = estimate.value if estimate.low is None else estimate.low
        high = estimate.value if estimate.high is None else estimate.high
        worst, best = (low, high) if axis in HIGHER_IS_BETTER else (-high, -low)
        bound = bound if axis in HIGHER_IS_BETTER else -bound
        if worst >= bound:
            return Fit.MET
        return Fit.MISSED if best < bound else Fit.OPEN

    def fits(self, limits: Limits) -> dict[Axis, Fit]:
        """Tell how every limit is met."""
        return {axis: self.fit(axis, bound) for axis, bound in limits.bounds.items()}


@dataclass(frozen=True)
class Advice:
    """Candidates by how they meet the limits; `taken` is the first of those that meet all of them, None if none does.

    `equals` are told apart from `taken` only by what counts less than what is preferred.
    """

    taken: Candidate | None
    equals: tuple[Candidate, ...]
    fitting: tuple[Candidate, ...]
    open: tuple[Candidate, ...]
    missing: tuple[Candidate, ...]


def advise(candidates: Sequence[Candidate], limits: Limits) -> Advice:
    """Sort candidates by the limits, and take the best of those that meet all."""
    fitting, unsettled, missing = [], [], []
    for candidate in candidates:
        fits = set(candidate.fits(limits).values())
        if Fit.MISSED in fits:
            missing.append(candidate)
        elif fits <= {Fit.MET}:
            fitting.append(candidate)
        else:
            unsettled.append(candidate)
    # What is preferred must be known of whom is taken; without it a candidate can only be open.
    first = limits.order[0]
    unsettled += [candidate for candidate in fitting if first not in candidate.figures]
    known = [candidate for candidate in fitting if first in candidate.figures]
    ranked = ranking(known, limits.order)
    equals = _equals(ranked[0], ranked, first)[1:] if ranked else []
    return Advice(ranked[0] if ranked else None, tuple(equals), tuple(ranked), tuple(unsettled), tuple(missing))


def ranking(candidates: Sequence[Candidate], order: Sequence[Axis]) -> list[Candidate]:
    """Rank candidates: again and again the best of those left, of equals the best by the next axis."""
    left, ranked = list(candidates), []
    while left:
        best = left
        for axis in order:
            best = _best(best, axis)
        ranked.append(best[0])
        left.remove(best[0])
    return ranked


def _best(candidates: list[Candidate], axis: Axis) -> list[Candidate]:
    """Keep the best on an axis and those that are not told apart from it; those not measured only if none is."""
    known = [candidate for candidate in candidates if axis in candidate.figures]
    if not known:
        return candidates
    sign = 1 if axis in HIGHER_IS_BETTER else -1
    best = max(known, key=lambda candidate: sign * candidate.figures[axis].value)
    return _equals(best, known, axis)


def _equals(best: Candidate, candidates: Sequence[Candidate], axis: Axis) -> list[Candidate]:
    """Return the best and those whose interval overlaps its, the best first."""
    others = [
        candidate
        for candidate in candidates
        if candidate is not best and axis in candidate.figures and not are_apart(candidate, best, axis)
    ]
    return [best, *others]


def are_apart(first: Candidate, second: Candidate, axis: Axis) -> bool:
    """Tell whether two candidates differ on an axis: by their paired difference if there is one, else by their intervals."""
    paired = _paired(first, second) or _paired(second, first) if axis is Axis.SCORE else None
    if paired is not None and paired.low is not None and paired.high is not None:
        return paired.low > 0 or paired.high < 0
    return not overlap(first.figures[axis], second.figures[axis])


def _paired(first: Candidate, second: Candidate) -> Row | None:
    """Return the paired difference of the very scores of two candidates."""
    row, ours, theirs = first.differences.get(second.model), first.rows.get(Axis.SCORE), second.rows.get(Axis.SCORE)
    if row is None or ours is None or theirs is None or {ours.statistic, theirs.statistic} != {"mean"}:
        return None
    places = {(each.session_id, each.task, each.split) for each in (row, ours, theirs)}
    return row if len(places) == 1 else None


def overlap(first: Estimate, second: Estimate) -> bool:
    """Tell whether two intervals overlap; a figure without one is a point."""
    low, high = _bounds(first)
    other_low, other_high = _bounds(second)
    return low <= other_high and other_low <= high


def _bounds(estimate: Estimate) -> tuple[float, float]:
    low = estimate.value if estimate.low is None else estimate.low
    return low, estimate.value if estimate.high is None else estimate.high


# From the rows of sessions to candidates.

PLAIN = ("eager", "fp32")  # of whose answers scores are


def candidates_of(
    sessions: Iterable[Sequence[Row]], *, batch_size: int, sequence_length: int | None, task: str | None
) -> list[Candidate]:
    """Collect candidates from the rows of sessions, the newest session first; a figure is the newest there is.

    A score is that of the model in eager fp32 unless the back-end's own answers were scored. Times are those with as many threads as
    the newest. Bytes of weights are counted in fp32: of other number formats they are not known.
    """
    rows = [row for session in sessions for row in session if row.value is not None and row.model is not None]
    ways = dict.fromkeys(
        (str(row.model), row.backend or PLAIN[0], row.dtype or PLAIN[1]) for row in rows if row.quantity == "latency"
    )
    # A model that was never timed is a candidate of which the latency is unknown.
    timed = {model for model, *_ in ways}
    others = dict.fromkeys((str(row.model), *PLAIN) for row in rows if row.model not in timed)
    shape = {"batch_size": batch_size, "sequence_length": sequence_length}
    latencies = (row for row in rows if row.quantity == "latency" and row.statistic == "median" and _is(row, shape))
    threads = {row.threads for row in islice(latencies, 1)}
    rows = [row for row in rows if row.quantity != "latency" or row.threads in threads]
    candidates = []
    for model, backend, dtype in (*ways, *others):
        of_model = [row for row in rows if row.model == model]
        known = dict(_figures(of_model, (backend, dtype), shape, task))
        if known:
            figures = {axis: estimate for axis, (estimate, _) in known.items()}
            behind = {axis: row for axis, (_, row) in known.items()}
            candidates.append(Candidate(model, backend, dtype, figures, behind, _differences(of_model, task)))
    return candidates


def _differences(rows: Sequence[Row], task: str | None) -> dict[str, Row]:
    """Return by other model the newest paired difference of a model's score on a task."""
    from bertbench.report.compare.quality_rows import DIFFERENCE  # numpy, which a help text does without

    wanted = {"quantity": "score", "statistic": DIFFERENCE, "task": task}
    return {str(row.reference): row for row in reversed(rows) if _is(row, wanted)}


def _figures(
    rows: Sequence[Row], way: tuple[str, str], shape: Mapping[str, int | None], task: str | None
) -> Iterator[tuple[Axis, tuple[Estimate, Row]]]:
    """Yield by axis the newest figure of a model that is run in a way, with its row."""
    run = {"backend": way[0], "dtype": way[1]}
    scores: list[dict[str, object]] = [
        {"quantity": "score", "statistic": "audited", "task": task, **run},  # of some hundred examples
        {"quantity": "score", "statistic": "mean", "task": task},
    ]
    wanted: dict[Axis, list[dict[str, object]]] = {
        Axis.LATENCY: [{"quantity": "latency", "statistic": "median", **run, **shape}],
        Axis.MEMORY: [{"quantity": "peak_memory", "statistic": "peak", **run, **shape}],
        Axis.SIZE: [{"quantity": "parameter_bytes"}] if way[1] == PLAIN[1] else [],
        Axis.SCORE: scores if way != PLAIN else scores[::-1],
    }
    for axis, choices in wanted.items():
        if axis is Axis.SCORE and task is None:
            continue
        row = next((row for where in choices for row in rows if _is(row, where)), None)
        if row is not None and row.value is not None:
            low, high = row.low, row.high
            if axis is Axis.MEMORY:
                low, high = row.value / SINGLE_READING_MARGIN, row.value * SINGLE_READING_MARGIN
            yield axis, (Estimate(row.value, low, high), row)


def _is(row: Row, where: Mapping[str, object]) -> bool:
    return all(getattr(row, name) == value for name, value in where.items())


def tasks_of(sessions: Iterable[Sequence[Row]]) -> list[str]:
    """Return the tasks on which there are scores, the newest first."""
    scored = (
        row.task
        for rows in sessions
        for row in rows
        if row.quantity == "score" and row.statistic == "mean" and row.value is not None and row.task
    )
    return list(dict.fromkeys(scored))
