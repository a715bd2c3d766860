"""`bertbench params`: where a model's parameters are, held once and as often as they run. Needs only configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.commands._display import say
from bertbench.commands._options import OutputOptions, SuiteOfAllOption, spread
from bertbench.models.hub import fetch_config, quiet_libraries
from bertbench.models.lengths import vocabulary_size
from bertbench.records.record import Measurement
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.session.options import SelectionOptions, StoreOptions
from bertbench.session.selection import resolve, resolve_one
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec
from bertbench.units import percent, quantity_of, significant, times

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Figures = dict[tuple[str, str], float]  # (model, 'quantity' or 'parameters/statistic[/component]') to value


@spread(selection=("models", "reference"), folders=("config_dir",))
def params(
    selection: SelectionOptions, suite: SuiteOfAllOption = "base", *, folders: StoreOptions, output: OutputOptions
) -> None:
    """Count parameters by component: unique and executed.

    `bertbench anatomy` shows the same and more; this name goes with the next release.

    Example: bertbench params --models bert,albert
    """
    output.check()
    quiet_libraries()
    catalog = Catalog(folders.config_dir or ())
    chosen = catalog.suite(suite)
    specs = resolve(selection.models, catalog, chosen)
    reference = selection.reference
    if reference is not None:
        extra = resolve_one(reference, catalog)
        specs = [*specs, *([] if extra.name in {known.name for known in specs} else [extra])]
        reference = extra.name
    elif chosen.reference in {spec.name for spec in specs}:
        reference = chosen.reference
    say("`bertbench params` is now `bertbench anatomy`, which shows more; the old name goes with the next release")
    output.emit(build_report(specs, suite, reference))


def build_report(specs: Sequence[ModelSpec], suite: str, reference: str | None) -> Report:
    """Count parameters, bytes and FLOPs of `specs`; ratios refer to the model called `reference`, None: no ratios."""
    from bertbench.models.size import measure_size  # torch

    configs = {spec.name: config_for(spec) for spec in specs}
    measured = {name: measure_size(config, checkpoint_bytes=None) for name, config in configs.items()}
    figures: Figures = {
        (name, _key(measurement)): measurement.values[0]
        for name, measurements in measured.items()
        for measurement in measurements
    }
    names = list(configs)
    tables = (
        _components("unique", "Unique parameters (held in memory, shared ones once)", names, figures, reference),
        _components("executed", "Executed parameters (as often as they run in one pass)", names, figures, reference),
        _summary(names, figures),
    )
    rows = tuple(
        _row(spec, suite, measurement, figures, reference) for spec in specs for measurement in measured[spec.name]
    )
    notes = [_factorization(name, config, figures) for name, config in configs.items()]
    notes += [f"{name}: {item.note}" for name, measurements in measured.items() for item in measurements if item.note]
    return Report(title="Parameters by component", tables=tables, rows=rows, notes=tuple(notes))


def config_for(spec: ModelSpec) -> PretrainedConfig:
    """Return the configuration the spec states, else that of its checkpoint (of which only small files are read)."""
    from bertbench.models.architecture import config_of  # torch

    return config_of(spec) if spec.config is not None else config_of(spec, fetch_config(spec))


def _key(measurement: Measurement) -> str:
    if measurement.quantity == "parameters":
        return f"parameters/{measurement.statistic}"
    return measurement.quantity


def _components(kind: str, title: str, names: Sequence[str], figures: Figures, reference: str | None) -> Table:
    """Build a table with a line a component, each model's count and its share of the total; then totals and ratios."""
    from bertbench.models.components import COMPONENTS  # torch

    total = f"parameters/{kind}"
    lines = [*((label, f"{total}/{component}") for component, label in COMPONENTS.items()), ("Total", total)]
    rows = [
        (label, *(cell for name in names for cell in _count_and_share(figures, name, key, total)))
        for label, key in lines
        if any((name, key) in figures for name in names)
    ]
    if reference is not None:
        rows.append((f"Ratio to {reference}", *_ratio_cells(names, figures, total, reference)))
    if kind == "executed":
        rows.append(("Executed / unique", *_reuse_cells(names, figures)))
    columns = ("Component", *(column for name in names for column in (name, f"{name} share")))
    return Table(title, columns, tuple(rows), kinds=("text", *["number"] * (len(columns) - 1)))


def _count_and_share(figures: Figures, name: str, key: str, total: str) -> tuple[str, str]:
    value = figures.get((name, key))
    if value is None:
        return "", ""
    share = value / figures[name, total]
    return f"{value:,.0f}", percent(share) if share >= 0.0005 else "<0.1%"  # less would round to 0.0%


def _ratio_cells(names: Sequence[str], figures: Figures, key: str, reference: str) -> list[str]:
    """Write each model's value over the reference's, and an empty cell below the share."""
    ratios = [_ratio(figures, name, key, reference) for name in names]
    return [cell for ratio in ratios for cell in ("" if ratio is None else significant(ratio), "")]


def _reuse_cells(names: Sequence[str], figures: Figures) -> list[str]:
    """Write how often a parameter is used on average."""
    cells = []
    for name in names:
        executed = figures.get((name, "parameters/executed"))
        cells += ["" if executed is None else times(executed / figures[name, "parameters/unique"]), ""]
    return cells


def _summary(names: Sequence[str], figures: Figures) -> Table:
    lines = (("Parameter bytes (fp32)", "parameter_bytes"), ("FLOPs (1 x 128 tokens)", "flops"))
    rows = tuple(
        (
            label,
            *(quantity_of(key).format(figures[name, key]) if (name, key) in figures else "" for name in names),
        )
        for label, key in lines
    )
    return Table("Bytes and work", ("Quantity", *names), rows, kinds=("text", *["number"] * len(names)))


def _ratio(figures: Figures, name: str, key: str, reference: str | None) -> float | None:
    """Compute the value over the reference's; None if either is absent."""
    value, base = figures.get((name, key)), figures.get((reference or "", key))
    return None if value is None or not base else value / base


def _row(spec: ModelSpec, suite: str, measurement: Measurement, figures: Figures, reference: str | None) -> Row:
    ratio = _ratio(figures, spec.name, _key(measurement), reference)
    return Row(
        suite=suite,
        model=spec.name,
        checkpoint=spec.checkpoint,
        revision=spec.revision if spec.config is None else None,  # a config of the spec's own has none
        quantity=measurement.quantity,
        statistic=measurement.statistic,
        unit=measurement.unit,
        value=measurement.values[0],
        reference=None if ratio is None else reference,
        ratio=ratio,
        batch_size=measurement.batch_size,
        sequence_length=measurement.sequence_length,
        status="ok",
        caveats=remarks(measurement.note),
    )


def _factorization(name: str, config: PretrainedConfig, figures: Figures) -> str:
    """Write one line on the word embeddings: V x H, or V x E with a projection from E to H."""
    if not getattr(config.get_text_config(), "vocab_size", None):
        return f"{name}: has no table of word embeddings"
    vocabulary, hidden = vocabulary_size(config), int(config.get_text_config().hidden_size)
    width = getattr(config, "embedding_size", hidden)
    if width == hidden:
        return f"{name}: word embeddings are V x H = {vocabulary:,} x {hidden:,}, not factorized"
    parts = ("word_embeddings", "embedding_projection")
    held = sum(figures.get((name, f"parameters/unique/{part}"), 0) for part in parts)
    return (
        f"{name}: word embeddings are factorized, V x E = {vocabulary:,} x {width:,} projected to H = {hidden:,}: "
        f"{percent(1 - held / (vocabulary * hidden))} fewer parameters than V x H"
    )
