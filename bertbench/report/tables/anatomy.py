"""Anatomies as tables and long rows: models side by side, each figure with its share of the model's total."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bertbench.records.anatomy import (
    AFTER,
    BEFORE,
    BYTES_PER_PARAMETER,
    COMPONENTS,
    Anatomy,
    Axis,
    Counter,
    RebuiltCell,
    Step,
    Trait,
)
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.units import gigaflops, milliseconds, percent, quantity_of, significant, small_bytes, times

if TYPE_CHECKING:
    from bertbench.specs.papers import PaperSpec

# Anatomies as long rows.
#
# `statistic` is 'unique', 'executed', 'value' or 'median' for a whole model, and the same with
# '/<component>' or '/layer-<n>' for a part; 'plain' and 'saved/<technique>' tell what the techniques do.

# quantity, statistic, what is counted, how much of it a count is
FIGURES: tuple[tuple[str, str, Counter, int], ...] = (
    ("parameters", "unique", "unique", 1),
    ("parameter_bytes", "value", "unique", BYTES_PER_PARAMETER),
    ("parameters", "executed", "executed", 1),
    ("flops", "value", "flops", 1),
    ("latency", "median", "seconds", 1),
)


def rows_of(anatomies: Sequence[Anatomy], axis: Axis) -> tuple[Row, ...]:
    """Build the rows: totals with their ratio to the first model's, parts with their share as a note, and savings."""
    return tuple(row for each in anatomies for row in (*_figures(each, anatomies[0], axis), *_rows_of_savings(each)))


def _figures(anatomy: Anatomy, reference: Anatomy, axis: Axis) -> Iterator[Row]:
    for quantity, statistic, counter, factor in FIGURES:
        total, base = anatomy.total(counter), reference.total(counter)
        if total is None:
            continue
        row = _row(anatomy, quantity, statistic, total * factor)
        # Models were timed one after another, so a ratio of times would hold the machine's drift.
        comparable = base and len({anatomy.name, reference.name}) == 2 and counter != "seconds"
        yield replace(row, reference=reference.name, ratio=total / base) if comparable and base else row
        for key, value in anatomy.by(axis, counter).items():
            note = f"{value / total:.4%} of the model's"
            yield replace(_row(anatomy, quantity, f"{statistic}/{key}", value * factor), caveats=remarks(note))
    if anatomy.hidden_flops:
        note = "of the model's FLOPs: scores and contexts that local attention computes and a mask hides"
        yield replace(_row(anatomy, "flops", "outside-windows", anatomy.hidden_flops), caveats=remarks(note))
    if anatomy.timing:
        note = "a pass with the hooks that tell parts apart"
        yield replace(_row(anatomy, "latency", "hooked", anatomy.timing.hooked_s), caveats=remarks(note))


def _rows_of_savings(anatomy: Anatomy) -> Iterator[Row]:
    for index, step in enumerate(anatomy.steps):
        before = anatomy.steps[index - 1] if index else None
        statistic = f"saved/{step.technique}" if before else "plain"
        yield _row(anatomy, "parameters", statistic, before.unique - step.unique if before else step.unique)
        saved = (before.unique - step.unique if before else step.unique) * BYTES_PER_PARAMETER
        yield _row(anatomy, "parameter_bytes", statistic, saved)
        if step.flops is not None and (before is None or before.flops is not None):
            yield _row(anatomy, "flops", statistic, (before.flops or 0) - step.flops if before else step.flops)


def _row(anatomy: Anatomy, quantity: str, statistic: str, value: float) -> Row:
    shaped, timing = quantity in {"flops", "latency"}, anatomy.timing if quantity == "latency" else None
    return Row(
        model=anatomy.name,
        checkpoint=anatomy.checkpoint,
        weights="random" if timing else None,
        quantity=quantity,
        statistic=statistic,
        unit=quantity_of(quantity).unit,
        value=value,
        n=timing.passes if timing else None,
        n_unit="passes" if timing else None,
        device="cpu" if timing else None,
        backend="eager" if timing else None,
        dtype="fp32" if timing else None,
        threads=timing.threads if timing else None,
        batch_size=anatomy.batch_size if shaped else None,
        sequence_length=anatomy.sequence_length if shaped else None,
        status="ok",
    )


Write = Callable[[float], str]

HEADS: dict[Counter, tuple[str, str, Write]] = {
    "unique": ("Unique parameters", "held in memory, shared ones once", lambda value: f"{value:,.0f}"),
    "executed": ("Executed parameters", "as often as they run in one pass", lambda value: f"{value:,.0f}"),
    "flops": ("FLOPs", "two for each multiply-add of a matrix product", gigaflops),
    "seconds": ("Time", "of one pass", milliseconds),
}
ROUGH = 0.05  # what hooks add to a pass, from which on it is said
PLACES = {BEFORE: "Before the layers", AFTER: "After the layers"}
STEPS = {
    "plain": "none (E equals H)",
    "layers": "fewer layers",
    "factorizing": "factorized embeddings",
    "tying": "shared layers",
}


def build_anatomy(anatomies: Sequence[Anatomy], axis: Axis, notes: Sequence[str] = ()) -> Report:
    """Report one model with a column a quantity, or several with a table a quantity and ratios to the first model."""
    counters = [counter for counter in HEADS if any(each.total(counter) is not None for each in anatomies)]
    shown = (
        [_single(anatomies[0], axis, counters)]
        if len(anatomies) == 1
        else [_side_by_side(anatomies, axis, counter) for counter in counters]
    )
    saved = [_savings(each) for each in anatomies if each.steps]
    first = anatomies[0]
    return Report(
        title=f"Anatomy by {axis}, {first.batch_size} x {first.sequence_length} tokens",
        tables=(*shown, *saved),
        rows=rows_of(anatomies, axis),
        notes=(*_notes(anatomies, axis), *notes),
    )


def _single(anatomy: Anatomy, axis: Axis, counters: Sequence[Counter]) -> Table:
    columns: list[tuple[str, dict[str, str]]] = []
    for counter in counters:
        head, _, write = HEADS[counter]
        columns.append((head, _cells(anatomy, axis, counter, write)))
        if counter == "unique":
            held = {**anatomy.by(axis, counter), "total": anatomy.total(counter) or 0}
            columns.append(("Bytes (fp32)", {key: _as_bytes(value) for key, value in held.items()}))
    rows = [
        (label, *(cells.get(key, "") for _, cells in columns))
        for key, label in _lines([anatomy], axis)
        if any(key in cells for _, cells in columns)
    ]
    heads = (axis.capitalize(), *(head for head, _ in columns))
    return Table(anatomy.name, heads, tuple(rows), kinds=_kinds(heads))


def _side_by_side(anatomies: Sequence[Anatomy], axis: Axis, counter: Counter) -> Table:
    head, meaning, write = HEADS[counter]
    columns = [_cells(each, axis, counter, write) for each in anatomies]
    rows = [
        (label, *(cells.get(key, "") for cells in columns))
        for key, label in _lines(anatomies, axis)
        if any(key in cells for cells in columns)
    ]
    if counter == "unique":
        rows.append(("Bytes (fp32)", *(_as_bytes(each.total("unique") or 0) for each in anatomies)))
    if counter != "seconds":
        rows.append((f"Ratio to {anatomies[0].name}", *_ratios(anatomies, counter)))
    if counter == "executed":
        rows.append(("Executed / unique", *(_reuse(each) for each in anatomies)))
    heads = (axis.capitalize(), *(each.name.replace("+", " +") for each in anatomies))  # so that it can be wrapped
    return Table(f"{head} ({meaning})", heads, tuple(rows), kinds=_kinds(heads))


def _lines(anatomies: Sequence[Anatomy], axis: Axis) -> list[tuple[str, str]]:
    """List (key, label) of every line in the order of a pass, the total last."""
    measured = dict.fromkeys(
        part.component if axis == "component" else part.place for each in anatomies for part in each.parts
    )
    if axis == "component":
        late = ("pooler", "head", "other")  # after the top-level modules of models whose components are not known
        keys = [key for key in COMPONENTS if key in measured and key not in late]
        keys += [key for key in measured if key not in COMPONENTS]
        keys += [key for key in late if key in measured]
    else:
        numbers = sorted(int(key.removeprefix("layer-")) for key in measured if key not in PLACES)
        keys = [BEFORE, *(f"layer-{number}" for number in numbers), AFTER]
    return [*((key, _label(key)) for key in keys), ("total", "Total")]


def _label(key: str) -> str:
    return {**COMPONENTS, **PLACES}.get(key) or key.replace("-", " ").replace("_", " ").capitalize()


def _cells(anatomy: Anatomy, axis: Axis, counter: Counter, write: Write) -> dict[str, str]:
    """Write by key the figure and its share of the model's total."""
    total = anatomy.total(counter)
    if not total:
        return {}
    figures = {**anatomy.by(axis, counter), "total": total}
    return {key: f"{write(value)} {share(value, total):>6}" for key, value in figures.items()}


def share(value: float, total: float) -> str:
    """Write a part's share in per cent; what would round to nothing is said to be small."""
    return percent(value / total) if value / total >= 0.0005 else "<0.1%"  # less would round to 0.0%


def _as_bytes(parameters: float) -> str:
    return small_bytes(parameters * BYTES_PER_PARAMETER)


def _ratios(anatomies: Sequence[Anatomy], counter: Counter) -> list[str]:
    base = anatomies[0].total(counter)
    totals = [each.total(counter) for each in anatomies]
    return ["" if not base or total is None else significant(total / base) for total in totals]


def _reuse(anatomy: Anatomy) -> str:
    executed, unique = anatomy.total("executed"), anatomy.total("unique")
    return "" if executed is None or not unique else times(executed / unique)


def _savings(anatomy: Anatomy) -> Table:
    """Build the table from a model's plain counterpart to the model, a line a technique."""
    first, last = anatomy.steps[0], anatomy.steps[-1]
    rows = [(STEPS["plain"], *_state(first, first))]
    for before, after in zip(anatomy.steps, anatomy.steps[1:], strict=False):
        rows.append((STEPS[after.technique], *_change(before, after, first)))
    rows.append(("as it is", *_state(last, first)))
    heads = ("Technique", "Unique parameters", "Bytes (fp32)", "Executed", "FLOPs")
    return Table(f"What each technique saves: {anatomy.name}", heads, tuple(rows), kinds=_kinds(heads))


def _state(step: Step, plain: Step) -> tuple[str, ...]:
    return (
        f"{step.unique:,} {share(step.unique, plain.unique):>6}",
        _as_bytes(step.unique),
        "" if step.executed is None else f"{step.executed:,}",
        "" if step.flops is None else gigaflops(step.flops),
    )


def _change(before: Step, after: Step, plain: Step) -> tuple[str, ...]:
    unique = after.unique - before.unique
    return (
        f"{unique:+,} {share(abs(unique), plain.unique):>6}" if unique else "0",
        _difference(before.unique, after.unique, _as_bytes),
        _difference(before.executed, after.executed, lambda value: f"{value:,.0f}"),
        _difference(before.flops, after.flops, gigaflops),
    )


def _difference(before: int | None, after: int | None, write: Write) -> str:
    if before is None or after is None:
        return ""
    change = after - before
    return "0" if not change else f"{'-' if change < 0 else '+'}{write(abs(change))}"


def _notes(anatomies: Sequence[Anatomy], axis: Axis) -> list[str]:
    notes = [f"{each.name} differs from BERT: {_traits(each)}" for each in anatomies if each.traits]
    notes += [_hidden(each) for each in anatomies if each.hidden_flops]
    notes += [note for each in anatomies for note in each.notes]
    if axis == "layer" and any(each.total("executed") != each.total("unique") for each in anatomies):
        notes.append("a shared tensor is held by the first layer that uses it")
    timed = [each for each in anatomies if each.timing]
    notes += [_timing_note(each) for each in timed]
    if timed:
        notes.append(
            "time: a part's median share of the passes with hooks, of the median pass without them; eager fp32 on the CPU, "
            "random weights, one process. 'Other' is what lies between the parts: residual sums, masks, module calls. "
            "Models are timed one after another: `bertbench speed` compares them"
        )
    return notes


def _traits(anatomy: Anatomy) -> str:
    return "; ".join(_trait(trait) for trait in anatomy.traits)


def _trait(trait: Trait) -> str:
    texts = {
        "local-attention": "local attention in {0} of {1} layers, {2} tokens on either side",
        "gated-feed-forward": "gated feed-forward",
        "rotary-positions": "rotary positions",
        "relative-positions": "{0} relative positions",
        "factorized-embeddings": "embeddings of {0} projected to {1}",
        "bottleneck": "bottlenecks: layers {0} wide within, {1} between them",
    }
    first, windows = trait.figures[:2], trait.figures[2:]
    return texts[trait.kind].format(*first, " or ".join(map(str, windows)))


def _hidden(anatomy: Anatomy) -> str:
    hidden, total = anatomy.hidden_flops or 0, anatomy.total("flops") or 1
    return (
        f"{anatomy.name}: FLOPs count local attention in full, as PyTorch computes it; {gigaflops(hidden)} of them "
        f"({percent(hidden / total)}) lie outside of the windows, and only kernels made for windows leave them out"
    )


def _timing_note(anatomy: Anatomy) -> str:
    timing = anatomy.timing
    assert timing is not None  # noqa: S101 (the caller chose those with one)
    added = timing.hooked_s / timing.plain_s - 1
    rough = "" if added < ROUGH else "; the hooks' own time makes small parts' shares rough"
    return (
        f"{anatomy.name}: a pass took {milliseconds(timing.plain_s)}, with hooks {milliseconds(timing.hooked_s)} ({added:+.1%}); "
        f"{timing.passes} passes of each, threads {timing.threads}, attention {timing.attention}{rough}"
    )


def _kinds(heads: Sequence[str]) -> tuple[str, ...]:
    return ("text", *["number"] * (len(heads) - 1))


# A paper's published numbers of parameters beside the rebuilt ones.


def build_rebuilt(paper: PaperSpec, cells: Sequence[RebuiltCell]) -> Report:
    """Report a line a cell: what was published, both ways of counting, and which of them gives it."""
    rows = tuple(
        (
            cell.label,
            _published(cell),
            f"{cell.unique:,}",
            "" if cell.without_pooler is None else f"{cell.without_pooler:,}",
            verdict(cell),
        )
        for cell in cells
    )
    heads = ("Model", "Published", "Rebuilt", "Without pooler", "Verdict")
    title = paper.parameters_title or paper.title
    notes = [f"source: {paper.source}", *([paper.parameters_note.strip()] if paper.parameters_note else [])]
    notes += [f"{cell.label}: {cell.note}" for cell in cells if cell.note]
    table = Table(title, heads, rows, tuple(notes), ("text", "number", "number", "number", "text"))
    return Report(title, (table,), tuple(row for cell in cells for row in _rows(paper, cell)))


def verdict(cell: RebuiltCell) -> str:
    """Tell which way of counting gives the published figure, if any does, and whether that is as expected."""
    if len(cell.matches) > 1:
        equal = "equal with and without pooler"
    elif cell.matches:
        equal = "equal (it has no pooler)" if cell.matches == ("no pooler",) else f"equal {cell.matches[0]}"
    else:
        rounded = round(cell.unique / cell.rounded_to) * cell.rounded_to
        return f"{'known to differ' if cell.as_expected else 'DIFFERENT'}: {rounded / 1e6:,.0f}M"
    return equal if cell.as_expected else f"{equal}, BUT EXPECTED TO DIFFER"


def _published(cell: RebuiltCell) -> str:
    return f"{cell.published / 1e6:,.0f}M"


def _rows(paper: PaperSpec, cell: RebuiltCell) -> list[Row]:
    """Build a row for each way of counting, with that count's own verdict; `status` judges the cell."""
    counts = {"unique": (cell.unique, {"with pooler", "no pooler"})}
    if cell.without_pooler is not None:
        counts["unique/without-pooler"] = (cell.without_pooler, {"without pooler"})
    return [
        Row(
            model=cell.model,
            quantity="parameters",
            statistic=statistic,
            unit="1",
            value=value,
            published=f"{_published(cell)} ({paper.source})",
            verdict="equal" if ways & set(cell.matches) else "different",
            status="ok" if cell.as_expected else "failed",
            caveats=remarks(cell.label, verdict(cell), cell.note),
        )
        for statistic, (value, ways) in counts.items()
    ]
