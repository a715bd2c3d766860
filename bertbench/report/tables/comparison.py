"""The comparison table: what was published about each model, and beside it what was measured here.

Everything measured comes from long rows, everything published from model specs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bertbench.report.caveats import NoShare, joined, words_beside
from bertbench.report.row import Row, Table
from bertbench.report.tables.figures import (
    Figures,
    figure_text,
    latency_fields,
    scope_text,
    shape_label,
    shown,
    way_name,
)
from bertbench.units import megabytes, millions, quantity_of, significant, times

if TYPE_CHECKING:
    from bertbench.report.compare.use_case import Use
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec, TableRow

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what the measured figures say to it: 'supported', 'refuted' or 'inconclusive'."""

    claim: ClaimSpec
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """What the tables are made of.

    `scores` says in words what the score of each task is, e.g. 'accuracy', and `metrics` of which metrics it is the mean; `uses` holds what each model is best used for,
    `claims` by model and row of the table those that were judged, `hints` by run that gave nothing what to do about it.
    """

    figures: Figures
    models: tuple[str, ...]
    reference: str
    specs: Mapping[str, ModelSpec]
    scores: Mapping[str, str]
    uses: Mapping[str, Sequence[Use]]
    claims: Mapping[tuple[str, TableRow], Sequence[JudgedClaim]] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[str]] = field(default_factory=dict)


def comparison_table(comparison: Comparison, notes: Sequence[str] = ()) -> Table:
    """Build the main table: compression method, model size, speed, accuracy and best use case, a column a model."""
    rows: tuple[tuple[str, TableRow, Callable[[Comparison, str], list[str]]], ...] = (
        ("Compression method", "method", _method),
        ("Model size", "size", _size),
        ("Speed", "speed", _speed),
        ("Accuracy", "accuracy", _accuracy),
        ("Best use case", "use", _use),
    )
    heads = [_head(comparison, model) for model in comparison.models]
    cells = [
        (
            title,
            *(
                "\n".join(
                    [
                        *_published(comparison, model, row),
                        *lines(comparison, model),
                        *_judged(comparison, model, row),
                    ]
                )
                for model in comparison.models
            ),
        )
        for title, row, lines in rows
    ]
    return Table(
        title="Comparison: published and measured",
        columns=("", *heads),
        rows=tuple(cells),
        notes=tuple(notes),
        kinds=("text",) * (len(heads) + 1),
        models=tuple(comparison.models),
    )


def titles(comparison: Comparison) -> dict[str, str]:
    """Return what each model is called in tables: its title, or its name where titles are equal."""
    by_model = {model: comparison.specs[model].title for model in comparison.models}
    return {model: model if list(by_model.values()).count(title) > 1 else title for model, title in by_model.items()}


def on_random_weights(comparison: Comparison, model: str) -> bool:
    """Tell whether a model with published weights was measured without them."""
    rows = (row for row in comparison.figures.rows if row.model == model)
    return comparison.specs[model].checkpoint is not None and any(row.weights == "random" for row in rows)


def _head(comparison: Comparison, model: str) -> str:
    parts = [titles(comparison)[model], "(reference)" if model == comparison.reference else ""]
    mark = ", random weights" if on_random_weights(comparison, model) else ""
    return " ".join(filter(None, parts)) + mark


def _published(comparison: Comparison, model: str, row: TableRow) -> list[str]:
    """Write the published statements of a row; those about a task, or a checkpoint, only where that was tried here."""
    statements = [
        f"published: {entry.statement}; {entry.source}"
        for entry in comparison.specs[model].published
        if entry.row == row and (entry.task is None or entry.task in comparison.scores)
    ]
    return [*statements, *(_own_scores(comparison, model) if row == "accuracy" else ())]


def _own_scores(comparison: Comparison, model: str) -> Iterator[str]:
    """Write what was published of the fine-tuned checkpoints that were evaluated, a line a task."""
    for task in comparison.scores:
        score = comparison.figures.first(model, "score", statistic="mean", task=task)
        own = comparison.specs[model].scores_of(score.checkpoint, task) if score is not None else []
        if own:
            listed = ", ".join(f"{each.metric.replace('_', ' ')} {shown(each.metric, each.value)}" for each in own)
            yield f"published: {listed} on {task}; {own[0].source}"


def _judged(comparison: Comparison, model: str, row: TableRow) -> list[str]:
    return [f'claim "{each.claim.title}": {each.verdict}' for each in comparison.claims.get((model, row), ())]


def _measured(texts: Sequence[str], row: Row) -> str:
    """Write one line of measured figures with what to know about them, and what their intervals are about."""
    caveat = "; ".join(filter(None, (words_beside(row.caveats), scope_text(row))))
    return f"measured: {', '.join(texts)}{f' ({caveat})' if caveat else ''}"


def _failed(comparison: Comparison, model: str, *quantities: str) -> list[str]:
    rows = comparison.figures.failures(model, *quantities)
    return [f"{row.status}{f' on {row.task}' if row.task else ''}: {row.note}" for row in rows]


def _method(comparison: Comparison, model: str) -> list[str]:
    """Write the method as configured, and what sharing there is: parameters executed for those stored."""
    unique = comparison.figures.first(model, "parameters", statistic="unique")
    executed = comparison.figures.first(model, "parameters", statistic="executed")
    # Published words on the method make the configured ones superfluous.
    told = any(entry.row == "method" for entry in comparison.specs[model].published)
    lines = [] if told else [f"as configured: {comparison.specs[model].compression}"]
    if unique is None or executed is None or not unique.value or not executed.value:
        return [*lines, NOT_MEASURED]
    share = executed.value / unique.value
    used = "each once" if share == 1 else f"{significant(share)}x, as layers are shared"
    stored = f"{millions(unique.value)} stored"
    return [*lines, f"measured: a pass executes {millions(executed.value)} parameters of {stored}: {used}"]


def _size(comparison: Comparison, model: str) -> list[str]:
    parameters = comparison.figures.first(model, "parameters", statistic="unique")
    if parameters is None or parameters.value is None:
        return _failed(comparison, model, "parameters") or [NOT_MEASURED]
    texts = [f"{millions(parameters.value)} parameters"]
    if model != comparison.reference and parameters.ratio is not None:
        texts.append(times(parameters.ratio))
    size = comparison.figures.first(model, "parameter_bytes")
    if size is not None and size.value is not None:
        texts[-1] += f"; {megabytes(size.value)}"
    return [_measured(texts, parameters)]


def _speed(comparison: Comparison, model: str) -> list[str]:
    lines = []
    has_ways = len(ways_timed(comparison)) > 1
    for latency in comparison.figures.all(model, "latency", statistic="median"):
        way = f", {way_name(latency)}" if has_ways else ""
        texts = [f"{shown('latency', latency.value or 0.0)} at {shape_label(latency)}{way}"]
        speedup = speedup_of(comparison, latency)
        if speedup is not None:
            texts.append(_faster(speedup))
        lines.append(_measured(texts, latency))
    return [*lines, *_failed(comparison, model, "latency")] or [NOT_MEASURED]


def ways_timed(comparison: Comparison) -> list[str]:
    """Return the ways of running that were timed, the first of the first model foremost."""
    rows = comparison.figures.rows
    timed = (row for row in rows if row.quantity == "latency" and row.statistic == "median" and row.value is not None)
    return list(dict.fromkeys(map(way_name, timed)))


def speedup_of(comparison: Comparison, latency: Row) -> Row | None:
    """Return how many times as fast a model is as the reference where both were run alike; None of the reference itself."""
    if latency.model == comparison.reference:
        return None
    speedups = comparison.figures.all(str(latency.model), "speedup", statistic="median", **latency_fields(latency))
    # Where the reference was not run like this the ratio is to another way of running, which is no comparison of models.
    return next((row for row in speedups if row.reference in {None, comparison.reference}), None)


def fastest_way(comparison: Comparison, model: str, shape: Mapping[str, object]) -> str:
    """Write the way of running with the lowest median latency at a shape, beside PyTorch in fp32, and what it changes.

    Empty where a model was timed in one way only. A back-end whose answers are wrong has no latency.
    """
    latencies = comparison.figures.all(model, "latency", statistic="median", **shape)
    if len(latencies) < 2:
        return ""
    fastest = min(latencies, key=lambda row: row.value or 0.0)
    of_way = {"backend": fastest.backend, "dtype": fastest.dtype}
    speedup = comparison.figures.first(
        model, "speedup", statistic="median", reference=f"{model} eager fp32", **shape, **of_way
    )
    changed = comparison.figures.first(model, "changed_predictions", **of_way)
    is_changed = changed is not None and bool(changed.value)
    parts = [
        shown("latency", fastest.value or 0.0),
        way_name(fastest),
        figure_text(speedup) if speedup is not None else "",
        f"({shown('changed_predictions', changed.value or 0.0)} changed)" if changed is not None and is_changed else "",
    ]
    return " ".join(filter(None, parts))


def _faster(speedup: Row) -> str:
    """Write a speed-up: '1.97x [1.93, 2.01] faster'; where the interval includes 1 neither word would be true."""
    text = figure_text(speedup)
    if speedup.low is None or speedup.high is None:
        return f"{text} the speed"
    if speedup.low > 1:
        return f"{text} faster"
    return f"{text} the speed: slower" if speedup.high < 1 else f"{text} the speed: not told apart"


def _accuracy(comparison: Comparison, model: str) -> list[str]:
    lines = []
    for task, words in comparison.scores.items():
        score = comparison.figures.first(model, "score", statistic="mean", task=task)
        if score is None:
            continue
        texts = [f"{task} {words} {figure_text(score)}"]
        if model != comparison.reference:
            texts += _kept(comparison, model, score, "mean")
        lines.append(_measured(texts, score))
    lines += [_over_tasks(comparison, model, row) for row in comparison.figures.all(model, "score", statistic="macro")]
    return [*lines, *_failed(comparison, model, "score")] or [NOT_MEASURED]


def _over_tasks(comparison: Comparison, model: str, score: Row) -> str:
    """Write the mean score over several tasks, and what it keeps of the reference's."""
    name = f"mean of {score.n} tasks" if score.task == "all-tasks" else str(score.task)
    texts = [f"{name} {figure_text(score)}", *_kept(comparison, model, score, "macro")]
    return _measured(texts, score)


def _kept(comparison: Comparison, model: str, score: Row, statistic: str) -> list[str]:
    """Write what a score keeps of the reference's, or why there is no such share."""
    where = {"task": score.task, "split": score.split, "statistic": statistic}
    retention = comparison.figures.first(model, "retention", **where)
    if retention is not None:
        return [f"keeps {figure_text(retention)}"]
    empty = comparison.figures.empty(model, "retention", **where)
    return [] if empty is None else [joined(caveat for caveat in empty.caveats if isinstance(caveat, NoShare))]


def _use(comparison: Comparison, model: str) -> list[str]:
    return [f"derived: {use.text}" for use in comparison.uses[model]] or [NOT_MEASURED]


# The detail table: one row a model, one column a figure.

Find = Callable[[str], Row | None]


def detail_table(comparison: Comparison) -> Table:
    """Build the table of sizes, FLOPs, latency, throughput, memory and a single task's score; gaps stay empty."""
    figures = comparison.figures
    headline, widest = _headline(figures), _widest(figures)
    columns: list[tuple[str, Find]] = [
        ("Parameters unique", lambda model: figures.first(model, "parameters", statistic="unique")),
        ("Parameters executed", lambda model: figures.first(model, "parameters", statistic="executed")),
        ("Size on disk", lambda model: figures.first(model, "checkpoint_bytes")),
        (_titled("FLOPs", _first_of(figures, "flops")), lambda model: figures.first(model, "flops")),
        (_titled("Latency median", headline), _at(figures, "latency", "median", headline)),
        (_titled("Latency p90", headline), _at(figures, "latency", "p90", headline)),
        (_titled("Throughput", widest), _at(figures, "throughput", "median", widest)),
        (
            _titled("Peak memory", _first_of(figures, "peak_memory", "peak")),
            lambda model: figures.first(model, "peak_memory", statistic="peak"),
        ),
    ]
    if len(comparison.scores) == 1:
        columns += _score_columns(comparison)
    return _table(comparison, "Measured in detail", columns, _notes(comparison, headline))


def scores_table(comparison: Comparison) -> list[Table]:
    """Build a table of several tasks' scores and means, too wide beside all else; none without scores."""
    figures = comparison.figures
    scores = [row for row in figures.rows if row.quantity == "score" and row.value is not None]
    if len(comparison.scores) < 2 or not scores:
        return []
    means = dict.fromkeys(str(row.task) for row in scores if row.statistic == "macro")
    columns = [*_score_columns(comparison), *((f"Mean {task}", _score(figures, task, "macro")) for task in means)]
    return [_table(comparison, "Scores", columns, [])]


def _score_columns(comparison: Comparison) -> list[tuple[str, Find]]:
    return [(f"Score {task}", _score(comparison.figures, task)) for task in comparison.scores]


def _table(comparison: Comparison, title: str, columns: Sequence[tuple[str, Find]], notes: Sequence[str]) -> Table:
    rows = tuple(
        (_named(comparison, model), *(_cell(find(model)) for _, find in columns)) for model in comparison.models
    )
    heads, kinds = ("Model", *(head for head, _ in columns)), ("text", *("number" for _ in columns))
    return Table(title=title, columns=heads, rows=rows, notes=tuple(notes), kinds=kinds)


def _named(comparison: Comparison, model: str) -> str:
    return titles(comparison)[model] + ("\n(random weights)" if on_random_weights(comparison, model) else "")


def _cell(row: Row | None) -> str:
    if row is None or row.value is None or row.quantity is None:
        return ""
    caveat = words_beside(row.caveats)
    text = quantity_of(row.quantity).format(row.value)
    return f"{text}\n({caveat})" if caveat else text


def _score(figures: Figures, task: str, statistic: str = "mean") -> Find:
    return lambda model: figures.first(model, "score", statistic=statistic, task=task)


def _at(figures: Figures, quantity: str, statistic: str, shape: Row | None) -> Find:
    if shape is None:
        return lambda _: None
    where = latency_fields(shape)
    return lambda model: figures.first(model, quantity, statistic=statistic, **where)


def _titled(title: str, shape: Row | None) -> str:
    return title if shape is None or shape.batch_size is None else f"{title} {shape_label(shape)}"


def _first_of(figures: Figures, quantity: str, statistic: str | None = None) -> Row | None:
    rows = (row for row in figures.rows if row.quantity == quantity and row.value is not None)
    return next((row for row in rows if statistic in {None, row.statistic}), None)


def _headline(figures: Figures) -> Row | None:
    """Return a row of the shape that speed-ups are quoted for: the first one."""
    return _first_of(figures, "latency")


def _widest(figures: Figures) -> Row | None:
    """Return a row of the shape with the most inputs a pass, where throughput matters; of equals the first."""
    rows = [row for row in figures.rows if row.quantity == "throughput" and row.value is not None]
    return max(rows, key=lambda row: row.batch_size or 0, default=None)


def _notes(comparison: Comparison, headline: Row | None) -> Sequence[str]:
    """Tell why a p90 is empty, and what failed; models with the same note stand together."""
    figures, models_by_note = comparison.figures, dict[str, dict[str | None, None]]()
    for row in figures.rows:
        same_shape = headline is not None and shape_label(row) == shape_label(headline)
        if row.statistic == "p90" and row.value is None and same_shape:
            models_by_note.setdefault(row.note or "", {})[row.model] = None
        if row.status != "ok":
            models_by_note.setdefault(f"{row.quantity} {row.status}: {row.note}", {})[row.model] = None
    return [f"{', '.join(map(str, models))}: {text}" for text, models in models_by_note.items()]
