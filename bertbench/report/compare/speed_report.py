"""A stored session to the report of `bertbench speed`: times, answers, texts, padding, memory, and why.

Pure over records and their sidecars. What failed and why a model is as fast as it is stand below the times; when, where and
how it was measured, and warnings, stand below all tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bertbench.report.compare import notes
from bertbench.report.compare.build import all_rows, evidence_of
from bertbench.report.compare.evidence import Evidence
from bertbench.report.compare.memory import crossovers
from bertbench.report.row import Report, Row, Table
from bertbench.report.tables import speed as tables
from bertbench.report.tables.figures import Figures, shape_label
from bertbench.units import flop_rate, gigaflops, millions, percent, quantity_of, significant, times

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.papers import PaperSpec

# Why a model is as fast as it is: stored and executed parameters, operations, and the share of the machine's ceiling.
#
# Pure over long rows. The point of it: parameters that are stored once and used twelve times save memory, not arithmetic.

SHARED = 1.2  # executed over stored parameters from which layers count as shared


def why(figures: Figures, models: Sequence[str], reference: str) -> list[str]:
    """One line a model, the reference first; none for models whose work was not counted or timed."""
    ordered = [reference, *(model for model in models if model != reference)]
    return [line for model in ordered if (line := _line(figures, model, reference)) is not None]


def _line(figures: Figures, model: str, reference: str) -> str | None:
    share = _first_plain(figures, model)
    if share is None:
        return None
    where = {"batch_size": share.batch_size, "sequence_length": share.sequence_length}
    work = figures.first(model, "flops", **where)
    ceiling = figures.first(model, "ceiling", dtype=share.dtype)
    if work is None or work.value is None or ceiling is None or ceiling.value is None or share.value is None:
        return None
    base = figures.first(reference, "flops", **where)
    relative = (
        f", {significant(work.value / base.value)}x {reference}'s" if base and base.value and model != reference else ""
    )
    reached = f"done at {percent(share.value)} of this machine's ceiling of {flop_rate(ceiling.value)}"
    what = f"{model} at {shape_label(share)}: {gigaflops(work.value)} a pass{relative}, {reached}"
    return what + _sharing(figures, model, reference, work, base)


def _first_plain(figures: Figures, model: str) -> Row | None:
    """The share at the first shape, in PyTorch and fp32 where it was run so."""
    plain = figures.first(model, "ceiling_share", backend="eager", dtype="fp32")
    return plain or figures.first(model, "ceiling_share")


def _sharing(figures: Figures, model: str, reference: str, work: Row, base: Row | None) -> str:
    """What shared layers save and what they do not."""
    unique = figures.first(model, "parameters", statistic="unique")
    executed = figures.first(model, "parameters", statistic="executed")
    if unique is None or executed is None or not unique.value or not executed.value:
        return ""
    reuse = executed.value / unique.value
    if reuse < SHARED:
        return ""
    text = f"; it stores {millions(unique.value)} parameters and executes {millions(executed.value)} ({times(reuse)}), "
    if model != reference and base is not None and base.value and work.value and work.value > 0.9 * base.value:
        return f"{text}so it does {reference}'s arithmetic with less to store: smaller, not faster"
    return f"{text}so what it saves is memory, not arithmetic"


LONGEST_NAME = 24
TEXTS = frozenset({"compression_method", "best_use_case"})


def build_speed(
    stored: StoredSession,
    catalog_models: Mapping[str, ModelSpec],
    models: Sequence[str],
    reference: str,
    now: datetime | None = None,
    *,
    paper: PaperSpec | None = None,
) -> Report:
    """What a pass of `models` costs, in one session.

    Args:
        stored: the session with its records.
        catalog_models: specs by name.
        models: what to show; the reference is shown too.
        reference: what ratios refer to.
        now: the present, for the session's age.
        paper: the published measurement that was repeated: a table of its own, first.

    Raises:
        StoreError: raw values are missing or damaged.
    """
    evidence = evidence_of(stored, catalog_models, models, reference)
    rows = [_published(row, paper) for row in all_rows(evidence) if row.quantity not in TEXTS]
    figures = Figures(rows)
    shown = evidence.models
    found: list[Table | None] = [
        tables.paper_table(figures, shown, paper) if paper else None,
        tables.speed_table(figures, shown, reference, [*_failures(figures), *why(figures, shown, reference)]),
        tables.audit_table(figures, shown),
        tables.text_table(figures, shown),
        tables.offline_table(figures, shown, reference),
        tables.padding_table(figures, shown),
        tables.server_table(figures, shown),
        tables.memory_table(figures, shown, _memory_notes(evidence, figures)),
    ]
    below = [*_caveats(evidence, figures), *notes.notes(evidence, rows, now or datetime.now(UTC))]
    kept = [table for table in found if table is not None and table.rows]
    short = _short_names(evidence)
    below += [f"{name}: {model}" for model, name in short.items()]
    title = f"Speed of {', '.join(short.get(model, model) for model in shown)}"
    return Report(title, tuple(table.renamed(short) for table in kept), tuple(rows), tuple(below))


def _short_names(evidence: Evidence) -> dict[str, str]:
    """Titles in place of names that would not fit into a table (hub ids, folders, runs), as far as they are distinct."""
    titles = [evidence.specs[model].title for model in evidence.models]
    return {
        model: title
        for model, title in zip(evidence.models, titles, strict=True)
        if len(model) > LONGEST_NAME and len(title) < len(model) and titles.count(title) == 1
    }


def _published(row: Row, paper: PaperSpec | None) -> Row:
    """A row of the quantity that the paper states, with what it states."""
    if paper is None or row.quantity != paper.quantity or row.statistic != "model" or row.model not in paper.published:
        return row
    stated = quantity_of(paper.quantity).format(paper.published[row.model])
    return replace(row, published=f"{stated} ({paper.source})")


def _failures(figures: Figures) -> list[str]:
    """Why a cell is empty."""
    found = [row.note for row in figures.rows if row.quantity == "latency" and row.status != "ok" and row.note]
    return notes.merged(dict.fromkeys(found))


def _caveats(evidence: Evidence, figures: Figures) -> list[str]:
    """Which released models were measured without their weights."""
    random = {row.model for row in figures.rows if row.weights == "random"}
    named = [model for model in evidence.models if model in random and evidence.specs[model].checkpoint is not None]
    return [f"on random weights, which cost what trained ones do: {', '.join(named)}"] if named else []


def _memory_notes(evidence: Evidence, figures: Figures) -> list[str]:
    """Where a model of smaller weights needs more memory all the same; the rest is as expected."""
    records = {model: record for model in evidence.models if (record := evidence.one("memory", model)) is not None}
    return [
        crossing.sentence
        for crossing in crossovers(records)
        if crossing.more and _is_lighter(figures, crossing.lighter, crossing.heavier)
    ]


def _is_lighter(figures: Figures, model: str, other: str) -> bool:
    """False if its parameters take more bytes after all: of small models, loading tells little."""
    ours, theirs = (figures.first(name, "parameter_bytes") for name in (model, other))
    return ours is None or theirs is None or (ours.value or 0) < (theirs.value or 0)
