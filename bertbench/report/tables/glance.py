"""The comparison at a glance: five rows, a column a model, a cell of short lines, and the few notes that change how to read it.

A line holds a figure, its ratio to the reference with the interval, the verdict on a claim as a mark, and what was published. What
a cell has no room for stands in the tables that `--details` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bertbench.report.caveats import (
    BestOfTrials,
    NoInterval,
    OtherRecipe,
    SampleOnly,
    StartedFrom,
    TasksLeftOut,
    TrainingCapped,
    TrainingResampled,
)
from bertbench.report.compare.use_case import ALONE
from bertbench.report.row import Row, Style, Table
from bertbench.report.tables.comparison import (
    Comparison,
    fastest_way,
    on_random_weights,
    speedup_of,
    titles,
    ways_timed,
)
from bertbench.report.tables.figures import figure_text, latency_fields, listed, shape_label, shown, way_name
from bertbench.units import megabytes, millions, significant, times

if TYPE_CHECKING:
    from bertbench.report.caveats import Caveat
    from bertbench.specs.models import Published, TableRow

MARKS = {"supported": "✔", "refuted": "✘", "inconclusive": "≈"}
NOTHING = "·"
STYLES: Mapping[str, Style] = {"✔": "good", "✘": "bad", "≈": "open", NOTHING: "dim"}
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_SHAPES = 3
MOST_REASONS = 2
LONG_NAME = 10  # of a task
SIZES = frozenset({"parameters", "parameter_bytes", "checkpoint_bytes", "flops"})
SHOWN = frozenset({"parameters", "latency", "peak_memory", "score"})
SHARED_LEAST = 1.005  # parameters executed for those stored, from which on layers are shared
OF_SHAPE = ("batch_size", "sequence_length", "scenario")
Shape = Mapping[str, int | str | None]
Line = tuple[str, Mapping[str, str]]
"""What stands in the first column, and by model a cell."""


@dataclass
class _Writer:
    """Writes cells, and remembers what the notes must explain."""

    comparison: Comparison
    sources: dict[str, int] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)  # texts in cells, to be shown dimly
    marks: set[str] = field(default_factory=set)
    has_gaps: bool = False
    has_ratios: bool = False
    untold: list[str] = field(default_factory=list)  # shapes and ways of running that were timed, too

    @property
    def others(self) -> tuple[str, ...]:
        """All models but the reference."""
        return tuple(model for model in self.comparison.models if model != self.comparison.reference)

    def line(self, label: str, write: Callable[[str], str]) -> Line:
        """Write a line of figures; a dot stands for what is missing."""
        cells = {model: write(model) for model in self.comparison.models}
        self.has_gaps |= not all(cells.values())
        return label, {model: text or NOTHING for model, text in cells.items()}

    def claims(self, write: Callable[[str], str]) -> list[Line]:
        """Write a line of claims below figures, which models need not have; none where no model has any."""
        cells = {model: write(model) for model in self.comparison.models}
        return [("  claims", cells)] if any(cells.values()) else []

    def paper(self, text: str, source: str) -> str:
        """Write a published figure with the number of its source."""
        number = self.sources.setdefault(source, len(self.sources) + 1)
        written = f"({text}{str(number).translate(SUPERSCRIPTS)})"
        self.published.append(written)
        return written

    def method(self) -> list[Line]:
        """Write how models are compressed, and how often parameters are used where layers share them."""
        return [self.line("Method", self._method)]

    def _method(self, model: str) -> str:
        compression = self.comparison.specs[model].compression
        unique, executed = (self._value(model, "parameters", statistic) for statistic in ("unique", "executed"))
        is_shared = unique and executed and executed / unique > SHARED_LEAST
        return (
            f"{compression}; weights used {times(executed / unique)}"
            if is_shared and unique and executed
            else compression
        )

    def size(self) -> list[Line]:
        """Write parameters and bytes, what was claimed of them, and memory at inference."""
        lines = [self.line("Size", self._parameters), *self.claims(lambda model: self._judged(model, "size", SIZES))]
        if any(self._value(model, "peak_memory", "peak") for model in self.comparison.models):
            lines.append(self.line("  memory", self._memory))
        return lines + self.claims(lambda model: self._verdicts(model, "size", lambda name: name not in SIZES))

    def _parameters(self, model: str) -> str:
        row = self.comparison.figures.first(model, "parameters", statistic="unique")
        if row is None or row.value is None:
            return ""
        stored = self._value(model, "parameter_bytes", "value")
        return _beside([millions(row.value), self._ratio(model, row), megabytes(stored) if stored else ""])

    def _memory(self, model: str) -> str:
        figures = self.comparison.figures
        peaks = (figures.first(name, "peak_memory", statistic="peak") for name in self.comparison.models)
        # At one shape, which is the first that was measured.
        first = next(row for row in peaks if row is not None)
        row = figures.first(model, "peak_memory", statistic="peak", **latency_fields(first))
        return "" if row is None or row.value is None else _beside([megabytes(row.value), self._ratio(model, row)])

    def speed(self) -> list[Line]:
        """Write a line a shape: latencies and how many times as fast; the first is the one that is quoted."""
        shapes: dict[str, Shape] = {}
        for row in self.comparison.figures.rows:
            if row.quantity == "latency" and row.statistic == "median" and row.value is not None:
                shapes.setdefault(_short(row), {name: getattr(row, name) for name in OF_SHAPE})
        named = list(shapes.items())[:MOST_SHAPES] or [("", {})]
        self.untold = [*list(shapes)[MOST_SHAPES:], *ways_timed(self.comparison)[1:]]
        lines = [
            self.line(_label("Speed", number, name), partial(self._latency, shape=shape))
            for number, (name, shape) in enumerate(named)
        ]
        if len(ways_timed(self.comparison)) > 1:
            lines.append(self.line("  best back-end", lambda model: fastest_way(self.comparison, model, named[0][1])))
        return lines + (self.claims(lambda model: self._judged(model, "speed")) if shapes else [])

    def _latency(self, model: str, shape: Shape) -> str:
        latencies = self.comparison.figures.all(model, "latency", statistic="median", **shape)
        first = next(iter(ways_timed(self.comparison)), "")
        latency = next((row for row in latencies if way_name(row) == first), next(iter(latencies), None))
        if latency is None:
            return ""
        speedup = speedup_of(self.comparison, latency)
        self.has_ratios |= speedup is not None
        return _beside(
            [
                shown("latency", latency.value or 0.0),
                f"({way_name(latency)})" if way_name(latency) != first else "",
                figure_text(speedup) if speedup is not None else "",
            ]
        )

    def accuracy(self) -> list[Line]:
        """Write a line a task and a mean: the score, its share of the reference's, and what was published of it."""
        scored = [task for task in self.comparison.scores if self._any("score", task)] or [""]
        # Tasks without a single score are told of in the notes.
        self.has_gaps |= len(scored) < len(self.comparison.scores)
        lines = [
            self.line(_label("Accuracy", number, task), partial(self._score, task=task))
            for number, task in enumerate(scored)
        ]
        if len(scored[0]) > LONG_NAME:  # beside the section's name it would take the room of figures
            lines = [
                ("Accuracy", dict.fromkeys(self.comparison.models, "")),
                (f"  {scored[0]}", lines[0][1]),
                *lines[1:],
            ]
        for row in self.comparison.figures.rows:
            if row.quantity == "score" and row.statistic == "macro" and row.model == self.comparison.reference:
                name = f"mean of {row.n}" if row.task == "all-tasks" else str(row.task)
                lines.append(self.line(f"  {name}", partial(self._score, task=str(row.task), statistic="macro")))
        # What papers say of the mean over other tasks stands beside a verdict only.
        judged = any((model, "accuracy") in self.comparison.claims for model in self.comparison.models)
        return lines + (self.claims(lambda model: self._judged(model, "accuracy")) if judged else [])

    def _score(self, model: str, task: str, statistic: str = "mean") -> str:
        row = self.comparison.figures.first(model, "score", statistic=statistic, task=task)
        if row is None or row.value is None:
            return ""
        where = {"task": task, "split": row.split, "statistic": statistic}
        kept = (
            None if model == self.comparison.reference else self.comparison.figures.first(model, "retention", **where)
        )
        share = "" if kept is None or kept.value is None else shown("retention", kept.value)
        self.has_ratios |= bool(share)
        return _beside([figure_text(row), share, self._published_score(model, task, row)])

    def use(self) -> list[Line]:
        """Write what models are best used for, in phrases; of one that is none's best the reason."""
        return [self.line("Best use", self._use)]

    def _use(self, model: str) -> str:
        best = [use.phrase for use in self.comparison.uses[model] if use.is_best]
        told = self.comparison.uses[model]
        others = (use.text for use in told if not use.is_best and (use is ALONE or not use.is_remark))
        return ", ".join(best) or next(others, "")

    def _any(self, quantity: str, task: str | None = None) -> bool:
        where = {} if task is None else {"task": task}
        return any(self.comparison.figures.first(model, quantity, **where) for model in self.comparison.models)

    def _value(self, model: str, quantity: str, statistic: str) -> float | None:
        row = self.comparison.figures.first(model, quantity, statistic=statistic)
        return None if row is None else row.value

    def _ratio(self, model: str, row: Row) -> str:
        is_shown = model != self.comparison.reference and row.ratio is not None
        self.has_ratios |= is_shown
        return times(row.ratio) if is_shown and row.ratio is not None else ""

    def _judged(self, model: str, row: TableRow, quantities: AbstractSet[str] | None = None) -> str:
        """Write the verdicts on claims about some quantities of a row, or all, and what was published of the row as a whole."""
        verdicts = self._verdicts(model, row, lambda name: quantities is None or name in quantities)
        entries = self.comparison.specs[model].published
        told = [entry for entry in entries if entry.row == row and entry.task is None and entry.value is not None]
        return _beside([verdicts, *(self.paper(_stated(entry), entry.source) for entry in told[:1])])

    def _verdicts(self, model: str, row: TableRow, is_about: Callable[[str], bool]) -> str:
        judged = [each for each in self.comparison.claims.get((model, row), ()) if is_about(each.claim.quantity)]
        self.marks |= {each.verdict for each in judged}
        return "\n".join(f"{MARKS[each.verdict]} {each.claim.title}" for each in judged)

    def _published_score(self, model: str, task: str, score: Row) -> str:
        """Write what was published of the evaluated checkpoint on a task, else of the model."""
        spec = self.comparison.specs[model]
        told = [
            (each.metric, shown(each.metric, each.value), each.source)
            for each in spec.scores_of(score.checkpoint, task)
        ]
        told = told or [
            (entry.quantity or "score", _stated(entry), entry.source)
            for entry in spec.published
            if entry.task == task and entry.row == "accuracy" and entry.value is not None
        ]
        if not told:
            return ""
        metrics = tuple(self.comparison.metrics.get(task, ()))
        metric, text, source = next((each for each in told if metrics == (each[0],) or each[0] == "score"), told[0])
        is_the_score = metric == "score" or metrics in {(), (metric,)}
        return self.paper(text if is_the_score else f"{metric.replace('_', ' ')} {text}", source)


def _stated(entry: Published) -> str:
    """Write a published figure as short as it was published."""
    value = entry.value or 0.0
    return f"{significant(value / 1e6)}M" if entry.quantity == "parameters" else shown(entry.quantity or "score", value)


def _short(row: Row) -> str:
    """Write a shape in a word or two."""
    if row.sequence_length is not None:
        return shape_label(row)
    if row.scenario == "offline":
        return f"{row.batch_size} split"
    return "natural" if row.batch_size == 1 else f"{row.batch_size} natural"


def _label(section: str, number: int, name: str) -> str:
    """Write the first column: the section with the first of its names, the others below it."""
    return f"{section} {name}".rstrip() if number == 0 else f"  {name}"


def _beside(parts: Iterable[str]) -> str:
    return " ".join(filter(None, parts))


def glance_table(comparison: Comparison, title: str, notes: Sequence[str] = ()) -> Table:
    """Build the table: method, size, speed, accuracy and best use; `notes` stand after those that explain its marks."""
    writer = _Writer(comparison)
    sections = [writer.method(), writer.size(), writer.speed(), writer.accuracy(), writer.use()]
    lines = [line for section in sections for line in section]
    explained = [*_legend(writer), *_missing(writer), *_untold(writer), *_caveats(comparison), *_sources(writer)]
    return Table(
        title=title,
        columns=("", *(_head(comparison, model) for model in comparison.models)),
        rows=tuple((label, *(cells[model] for model in comparison.models)) for label, cells in lines),
        notes=(*explained, *notes),
        kinds=("text",) * (len(comparison.models) + 1),
        accents={**STYLES, **dict.fromkeys(writer.published, "dim")},
        sections=tuple(len(section) for section in sections),
        repeated=1 + (comparison.models[0] == comparison.reference),
        models=tuple(comparison.models),
    )


def _head(comparison: Comparison, model: str) -> str:
    reference = " (reference)" if model == comparison.reference and len(comparison.models) > 1 else ""
    return f"{titles(comparison)[model]}{'*' if on_random_weights(comparison, model) else ''}{reference}"


def _legend(writer: _Writer) -> Iterator[str]:
    """Explain the marks that are in the table, in one line."""
    comparison = writer.comparison
    parts = [f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in writer.marks]
    if writer.has_ratios:
        parts.append(f"x and %: against {titles(comparison)[comparison.reference]}")
    if any(row.low is not None or row.ratio_low is not None for row in comparison.figures.rows):
        parts.append("[95% interval]")
    if writer.published:
        parts.append("(published)")
    if any(on_random_weights(comparison, model) for model in comparison.models):
        parts.append("* random weights: right for size, speed and memory")
    # What the scores are; of a task that nobody has a score of it would only be read in vain.
    scored = {row.task for row in comparison.figures.rows if row.quantity == "score" and row.value is not None}
    metrics = [f"{task} {words}" for task, words in comparison.scores.items() if task in scored]
    if metrics:
        parts.append(f"scores: {', '.join(metrics)}")
    if parts:
        yield "; ".join(parts)


def _missing(writer: _Writer) -> Iterator[str]:
    """Tell once why figures are missing, and what to do about it; other reasons are counted."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    hints: dict[tuple[str, str], str] = {}
    for row in writer.comparison.figures.rows:
        is_missing = row.status not in {None, "ok"} and row.quantity in SHOWN
        if is_missing and row.model in writer.comparison.models:
            reason = (str(row.status), row.note or "")
            reasons.setdefault(reason, {})[_lacking(writer.comparison, row)] = None
            hint = next((writer.comparison.hints[run] for run in row.run_ids if run in writer.comparison.hints), None)
            if hint:
                hints[reason] = hint
    if not reasons:
        if writer.has_gaps:
            yield f"{NOTHING} not measured"
        return
    told = [
        f"{', '.join(what)} {reason[0]}: {reason[1]}{f' ({hints[reason]})' if reason in hints else ''}"
        for reason, what in list(reasons.items())[:MOST_REASONS]
    ]
    more = len(reasons) - len(told)
    rest = f"; and {more} other reason{'s' if more > 1 else ''}: --details" if more else ""
    yield f"{NOTHING} {'; '.join(told)}{rest}"


def _lacking(comparison: Comparison, row: Row) -> str:
    """Name what a run did not give; whose it is shows the dot, unless other runs, of other seeds, gave a figure."""
    what = row.task or str(row.quantity).replace("_", " ")
    where = {name: getattr(row, name) for name in ("task", *OF_SHAPE)}
    has_figure = comparison.figures.first(str(row.model), str(row.quantity), **where) is not None
    if not has_figure:
        return what
    title = titles(comparison)[str(row.model)]
    return f"a run of {title} on {what}" if row.task else f"one {what} of {title}"


def _untold(writer: _Writer) -> Iterator[str]:
    """Name what was timed and has no room in the table, and say what the best back-end is."""
    if len(ways_timed(writer.comparison)) > 1:
        yield "best back-end: the lowest latency at the first shape, and how many times as fast as the model in PyTorch fp32"
    if writer.untold:
        yield f"also timed: {listed(writer.untold)} (in the details)"


SAID = (SampleOnly, TrainingCapped, TrainingResampled, TasksLeftOut, OtherRecipe, StartedFrom, BestOfTrials, NoInterval)


def _caveats(comparison: Comparison) -> Iterator[str]:
    """Tell in one line of which figures the scores are not what they seem: samples, cut training, other recipes."""
    about: dict[tuple[str | None, str], dict[str | None, None]] = {}
    for row in comparison.figures.rows:
        if row.quantity in {"score", "retention"} and row.statistic in {"mean", "macro"} and row.model is not None:
            for caveat in _said(row.caveats):
                task = None if isinstance(caveat, OtherRecipe | TasksLeftOut) or row.statistic == "macro" else row.task
                about.setdefault((task, caveat.text), {})[titles(comparison).get(row.model, row.model)] = None
    told = []
    for (task, text), models in about.items():
        who = "" if len(models) == len(comparison.models) else f" ({listed([str(model) for model in models])})"
        told.append(f"{f'{task}: ' if task else ''}{text}{who}")
    if told:
        yield "; ".join(told)


def _said(caveats: Iterable[Caveat]) -> Iterator[Caveat]:
    """Leave out, of several tasks, what the tasks' own figures say."""
    return (each for each in caveats if isinstance(each, SAID) and not (isinstance(each, SampleOnly) and each.task))


def _sources(writer: _Writer) -> Iterator[str]:
    """List the sources of published figures by their numbers; what several begin with stands once."""
    groups: dict[str, list[str]] = {}
    for source, number in writer.sources.items():
        # 'arXiv:1910.01108 (DistilBERT) Table 1' is one of a paper's places.
        paper, bracket, where = source.partition(") ")
        numbered = str(number).translate(SUPERSCRIPTS)
        if where and ": " not in paper:
            groups.setdefault(f"{paper}{bracket}", []).append(f"{numbered} {where}")
        else:
            groups[f"{numbered} "] = [source]
    if groups:
        yield f"published: {'; '.join(start + ', '.join(parts) for start, parts in groups.items())}"
