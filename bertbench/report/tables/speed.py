"""Tables of `bertbench speed`: times by shape, back-end and model; answers; real texts; padding; a server; memory.

Each is made to fit into 120 columns with several back-ends; the CSV has every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bertbench.report.caveats import BatchesLeftOut, MeasurementNote, OtherBatches, PeakAtEdge, TriedLive, joined
from bertbench.report.row import Row, Table
from bertbench.report.tables.figures import (
    Figures,
    NeighbouringFigures,
    figure_text,
    latency_fields,
    ratio_text,
    shape_name,
    shown,
    way_name,
)
from bertbench.stats.padding import POLICIES
from bertbench.units import megabytes, percent, quantity_of, significant

if TYPE_CHECKING:
    from bertbench.specs.papers import PaperSpec

Columns = Sequence[tuple[str, Callable[[Row], str]]]
ALWAYS = frozenset(
    {"Shape", "Batch size", "Best batch", "Tokens", "Model", "Latency"}
)  # other columns go where they say nothing
TEXT = frozenset({"Shape", "Batch size", "Model", "Back-end"})
MEMORY = {
    "resident": "Resident after loading",
    "peak": "Peak at inference",
    "reserved": "Reserved on the device",
    "process": "Of the whole process",
    "host_peak": "Peak in main memory",
    "training": "Peak of a training step",
    "saved_activations": "of it kept for the backward pass",
    "gradients": "Gradients",
    "optimizer_state": "Optimizer state, besides",
}


def speed_table(figures: Figures, models: Sequence[str], reference: str, notes: Sequence[str] = ()) -> Table:
    """Build a row for each shape, way of running and model, in this order."""
    rows = [row for row in _latencies(figures, models) if row.scenario != "offline"]  # they have a table of their own
    neighbours, several = NeighbouringFigures(figures), _several_ways(figures)
    columns: Columns = (
        ("Shape", shape_name),
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name if several else _nothing),
        ("Latency", _latency_alone if several else _latency),
        # With several back-ends there is room for the latency and its ratios only.
        ("p90", _nothing if several else lambda row: neighbours.percentile(row, "p90")),
        ("Samples/s", _nothing if several else lambda row: neighbours.number(row, "throughput")),
        (f"Faster than {reference}", lambda row: neighbours.speedup(row, reference)),
        ("Than itself in eager fp32", lambda row: neighbours.speedup(row, f"{row.model} eager fp32")),
        ("Of ceiling", lambda row: neighbours.text(row, "ceiling_share")),
        ("J/sample", lambda row: neighbours.text(row, "energy", "value")),
    )
    return _table("Speed", rows, columns, notes)


def peak_table(figures: Figures, models: Sequence[str], reference: str) -> Table | None:
    """Compare throughputs, each way of running at its own best batch size; None where one size was measured."""
    rows = [row for model in models for row in figures.all(model, "throughput", statistic="peak")]
    if not rows:
        return None
    ways = list(dict.fromkeys((row.backend, row.dtype) for row in rows))
    rows.sort(key=lambda row: (row.sequence_length or 0, ways.index((row.backend, row.dtype))))
    several = len({(row.backend, row.dtype) for row in rows}) > 1

    def speedup(row: Row, other: str) -> str:
        where = {"statistic": "peak", "reference": other} | latency_fields(row)
        return ratio_text(figures.first(row.model or "", "speedup", **where))

    columns: Columns = (
        ("Tokens", lambda row: str(row.sequence_length)),
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name if several else _nothing),
        ("Best batch", lambda row: str(row.batch_size)),
        ("Samples/s", lambda row: quantity_of("throughput").format.parts(row.value or 0.0)[0]),
        (f"Faster than {reference}", lambda row: speedup(row, reference)),
        ("Than itself in eager fp32", lambda row: speedup(row, f"{row.model} eager fp32")),
    )
    notes = ["each round is read at the batch size that is best in the other rounds, which leaves its own luck out"]
    caveats: dict[str, list[str]] = {}
    lengths = len({row.sequence_length for row in rows})
    for row in rows:
        words = joined(
            caveat for caveat in row.caveats if isinstance(caveat, (OtherBatches, BatchesLeftOut, PeakAtEdge))
        )
        if words:
            at_length = f"at {row.sequence_length} tokens" if lengths > 1 else ""
            named = filter(None, (row.model, way_name(row) if several else "", at_length))
            caveats.setdefault(words, []).append(" ".join(named))
    notes += [f"{', '.join(of)}: {words}" for words, of in caveats.items()]
    return _table("Peak throughput: each at its own best batch size", rows, columns, notes)


def audit_table(figures: Figures, models: Sequence[str]) -> Table | None:
    """Compare the answers of each way of running with PyTorch in fp32; None if nothing else was run."""
    rows = _by_way(figures, models, ("output_error", "score"))
    if not any(row.quantity == "output_error" for row in rows):
        return None
    neighbours = NeighbouringFigures(figures)
    columns: Columns = (
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name),
        ("Error share", lambda row: neighbours.of_way(row, "output_error", "audited")),
        ("Of timed inputs", lambda row: neighbours.of_way(row, "output_error", "timed")),
        ("Largest difference", lambda row: neighbours.of_way(row, "output_difference", "largest")),
        ("Changed predictions", lambda row: neighbours.of_way(row, "changed_predictions")),
        ("Score", lambda row: neighbours.of_way(row, "score", "audited")),
    )
    every = [row for model in models for row in figures.all(model, "changed_predictions")]
    counted = next((f" ({row.n} examples)" for row in every if row.n), "")
    kinds = dict.fromkeys(_notes_of_measurement(row) for row in every)
    notes = ["error share: squared differences over the outputs' own spread; 0 is equal, 1 no better than a constant"]
    return _table(
        f"Answers against PyTorch in fp32 on the same inputs{counted}", rows, columns, [*notes, *filter(None, kinds)]
    )


def text_table(figures: Figures, models: Sequence[str]) -> Table | None:
    """Build the table of tokenizer, model and both for inputs of natural length; None if there were none."""
    neighbours, several = NeighbouringFigures(figures), _several_ways(figures)
    natural = [row for row in _latencies(figures, models) if row.scenario == "natural" and row.value is not None]
    rows = [row for row in natural if neighbours.of(row, "latency", statistic="end-to-end") is not None]
    columns: Columns = (
        ("Shape", shape_name),
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name if several else _nothing),
        ("Tokenizer", lambda row: neighbours.text(row, "latency", "tokenization")),
        ("Model alone", _latency_alone),
        (
            "its p90",
            lambda row: neighbours.percentile(row, "p90") if several else "",
        ),  # else it stands in the table above
        ("From text to output", lambda row: neighbours.text(row, "latency", "end-to-end")),
    )
    return _table("Real texts", rows, columns, ()) if rows else None


def offline_table(figures: Figures, models: Sequence[str], reference: str) -> Table | None:
    """Build the table of times for a whole split and throughput, MLPerf's Offline scenario; None if there was none."""
    rows = [row for row in _latencies(figures, models) if row.scenario == "offline"]
    if not rows:
        return None
    neighbours = NeighbouringFigures(figures)
    columns: Columns = (
        ("Batch size", lambda row: str(row.batch_size)),
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name if _several_ways(figures) else _nothing),
        ("Whole split", lambda row: neighbours.seconds(row, "model") if row.value is not None else row.status or ""),
        ("Samples/s", lambda row: neighbours.number(row, "throughput", "model")),
        (f"Faster than {reference}", lambda row: neighbours.speedup(row, reference)),
        ("With tokenizer", lambda row: neighbours.seconds(row, "end-to-end")),
    )
    whole = (row for model in models for row in figures.all(model, "inference_time"))
    counted = next((f" of {row.n:,} examples" for row in whole if row.n), "")
    notes = ["every example once; batches of more than one are sorted by length"]
    if any(row.value is not None and neighbours.of(row, "inference_time") is None for row in rows):
        notes = ["time ran out before the whole split was taken: its batches give speed-ups, but no time for all"]
    return _table(f"Offline: a whole split{counted}", rows, columns, notes)


def paper_table(figures: Figures, models: Sequence[str], paper: PaperSpec) -> Table:
    """Build the table of what was published, and the same measured here."""
    write = quantity_of(paper.quantity).format
    base = paper.published.get(paper.reference)
    rows = []
    for model in models:
        stated = paper.published.get(model)
        alone = figures.first(model, paper.quantity, statistic="model")
        whole = figures.first(model, paper.quantity, statistic="end-to-end")
        rows.append(
            (
                model,
                "" if stated is None else write(stated),
                "" if alone is None else figure_text(alone),
                "" if whole is None else figure_text(whole),
                "" if stated is None or base is None else shown("speedup", stated / base),
                "" if alone is None or alone.ratio is None
                else shown("speedup", alone.ratio, alone.ratio_low, alone.ratio_high),
            )
        )  # fmt: skip
    columns = ("Model", "Published", "Measured, model alone", "with tokenizer", "Published ratio", "Measured ratio")
    notes = (f"source: {paper.source}", paper.note.strip()) if paper.note else (f"source: {paper.source}",)
    return Table(paper.title, columns, tuple(rows), notes, ("text", *("number" for _ in columns[1:])))


def padding_table(figures: Figures, models: Sequence[str]) -> Table | None:
    """Build the table of what padding costs by batch size; models with equal costs share a line. None without task."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        for row in figures.all(model, "padding_waste", statistic=POLICIES[0]):  # the first policy has all sizes
            size = row.batch_size
            wastes = (figures.first(model, "padding_waste", statistic=policy, batch_size=size) for policy in POLICIES)
            line = (str(size), *(_waste(waste.value) if waste and waste.value is not None else "" for waste in wastes))
            if model not in alike.setdefault(line, []):
                alike[line].append(model)
    if not alike:
        return None
    columns = ("Batch size", "Models", "Padded to the limit", "To the batch's longest", "Sorted by length first")
    rows = tuple(
        (size, "all" if len(of) == len(models) else ", ".join(of), *wastes) for (size, *wastes), of in alike.items()
    )
    title = "Padding: share of computed positions that hold no token, and computed over real positions"
    return Table(title, columns, rows, (), ("text", "text", "number", "number", "number"))


def server_table(figures: Figures, models: Sequence[str]) -> Table | None:
    """Build the table of rates that hold a bound on latency, simulated and run live; None without such a scenario."""
    rows = [row for model in models for row in figures.all(model, "server_rate", statistic="simulated")]
    if not rows:
        return None

    def live(row: Row) -> Row | None:
        where = {"statistic": "live", "backend": row.backend, "dtype": row.dtype}
        return figures.first(row.model or "", "server_rate", **where)

    def tried(row: Row) -> str:
        rate = live(row)
        if rate is None:
            return ""
        outcomes = [
            "held" if caveat.held_bound else "missed" for caveat in rate.caveats if isinstance(caveat, TriedLive)
        ]
        return ", ".join([figure_text(rate), *outcomes])  # of an older record the note below the table alone tells it

    columns: Columns = (
        ("Model", lambda row: row.model or ""),
        ("Back-end", way_name if _several_ways(figures) else _nothing),
        ("Highest rate, simulated", figure_text),
        ("Tried live", tried),
    )
    named = {row: f"{row.model} {way_name(row) if _several_ways(figures) else ''}".strip() for row in rows}
    notes = [f"{name}: {_notes_of_measurement(live(row) or row)}" for row, name in named.items()]
    return _table("Server: Poisson arrivals, one query after another", rows, columns, notes)


def memory_table(figures: Figures, models: Sequence[str], notes: Sequence[str] = ()) -> Table | None:
    """List bytes, a line each: on disk, parameters, resident, peaks by shape; None if memory was not measured.

    Random weights have no checkpoint file.
    """
    memory = [row for row in figures.rows if row.quantity == "peak_memory" and row.model in models]
    if not memory:
        return None
    lines: list[tuple[str, str, dict[str, object]]] = [
        ("Checkpoint file", "checkpoint_bytes", {}),
        ("Parameters in fp32", "parameter_bytes", {}),
    ]
    readings = [row for row in memory if row.value is not None and row.statistic in MEMORY]
    # Keyed by what a line shows, so that all models share it.
    places = {(row.statistic, row.batch_size, row.sequence_length): row for row in readings}
    for row in sorted(places.values(), key=_memory_order):
        title = MEMORY[row.statistic or ""] + (f" {shape_name(row)}" if row.batch_size else "")
        names = ("statistic", "batch_size", "sequence_length")
        lines.append((title, "peak_memory", {name: getattr(row, name) for name in names}))

    def cell(model: str, quantity: str, where: Mapping[str, object]) -> str:
        row = figures.first(model, quantity, **where)
        made_up = row is not None and quantity == "checkpoint_bytes" and row.weights == "random"
        return "" if row is None or row.value is None or made_up else megabytes(row.value)

    cells = [(title, *(cell(model, quantity, where) for model in models)) for title, quantity, where in lines]
    failed = [f"{row.model}: memory {row.status}: {row.note}" for row in memory if row.status != "ok"]
    way = next((f" ({way_name(row)})" for row in readings), "")
    rows = tuple(line for line in cells if any(line[1:]))
    return Table(f"Memory{way}", ("", *models), rows, (*notes, *failed), ("text", *("number" for _ in models)))


def _memory_order(row: Row) -> tuple[int, int, int]:
    """Order memory by statistic and size; what a training step keeps stands below the step's peak."""
    names = list(MEMORY)
    position = names.index(row.statistic or "")
    group = names.index("training") if row.statistic == "saved_activations" else position
    return group, (row.batch_size or 0) * (row.sequence_length or 0), position


def _nothing(_: Row) -> str:
    return ""


def _latency(row: Row) -> str:
    """Write a latency with its interval; of a lost shape its status."""
    return figure_text(row) if row.value is not None else row.status or ""


def _latency_alone(row: Row) -> str:
    return shown("latency", row.value) if row.value is not None else row.status or ""


def _waste(share: float) -> str:
    """Write the share, and computed positions over real ones: '31.8% (1.47x)'."""
    return f"{percent(share)} ({significant(1 / (1 - share))}x)"


def _notes_of_measurement(row: Row) -> str:
    """Write what the record says of this measurement, without what holds of the whole run."""
    return joined(caveat for caveat in row.caveats if isinstance(caveat, MeasurementNote))


def _several_ways(figures: Figures) -> bool:
    return len({(row.backend, row.dtype) for row in figures.rows if row.quantity == "latency"}) > 1


def _by_way(figures: Figures, models: Sequence[str], quantities: Sequence[str]) -> list[Row]:
    """Return a row for each model and way of running that has one of the quantities, back-end by back-end."""
    first_rows: dict[tuple[str | None, str | None, str | None], Row] = {}
    for model in models:
        for quantity in quantities:
            for row in figures.all(model, quantity):
                first_rows.setdefault((row.backend, row.dtype, row.model), row)
    ways = list(dict.fromkeys((row.backend, row.dtype) for row in figures.rows if row.quantity == "latency"))
    return sorted(first_rows.values(), key=lambda row: ways.index((row.backend, row.dtype)))


def _latencies(figures: Figures, models: Sequence[str]) -> list[Row]:
    """Return median latencies and lost shapes, by shape, way of running and model."""
    rows = [
        row
        for row in figures.rows
        if row.quantity == "latency" and row.model in models and (row.statistic == "median" or row.status != "ok")
    ]
    ways = {way: position for position, way in enumerate(dict.fromkeys((row.backend, row.dtype) for row in rows))}
    shapes = {shape: position for position, shape in enumerate(dict.fromkeys(map(shape_name, rows)))}
    order: Mapping[str, int] = {model: position for position, model in enumerate(models)}
    return sorted(rows, key=lambda row: (shapes[shape_name(row)], ways[row.backend, row.dtype], order[row.model or ""]))


def _table(title: str, rows: Sequence[Row], columns: Columns, notes: Iterable[str]) -> Table:
    """Build the table without columns that say nothing: all empty, or all 'reference'."""
    cells = {name: [cell(row) for row in rows] for name, cell in columns}
    kept = [name for name, values in cells.items() if name in ALWAYS or set(values) - {"", "reference"}]
    kinds = tuple("text" if name in TEXT else "number" for name in kept)
    return Table(title, tuple(kept), tuple(zip(*(cells[name] for name in kept), strict=True)), tuple(notes), kinds)
