"""What a comparison rests on: one session's records by model, and the part of a row that comes from its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertbench.records.record import Kind, Measurement, RunRecord
from bertbench.report.caveats import (
    Caveat,
    MeasurementNote,
    NoShare,
    RandomWeights,
    SampleOnly,
    StartedFrom,
    TrainingCapped,
    TrainingResampled,
    TriedLive,
    remarks,
)
from bertbench.report.row import Row
from bertbench.specs.tasks import QUESTIONS, TOKENS
from bertbench.stats.estimate import Estimate

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.specs.models import ModelSpec

UNITS = {QUESTIONS: "questions", TOKENS: "sentences"}  # what an example is, by kind of task


@dataclass(frozen=True)
class Evidence:
    """One session's records for the models that are compared."""

    stored: StoredSession
    models: tuple[str, ...]
    reference: str
    specs: Mapping[str, ModelSpec]

    def records(self, kind: Kind, model: str, task: str | None = None) -> list[RunRecord]:
        """Return a model's records of one kind (and task), the newest a seed, in the order of seeds."""
        latest: dict[tuple[int | None, int | None], RunRecord] = {}
        for record in sorted(self.stored.records, key=lambda record: record.started_at):
            if (record.kind, record.model_name, record.task_name) == (kind, model, task):
                latest[record.seeds] = record  # a later run replaces an earlier one
        return sorted(latest.values(), key=lambda record: [-1 if seed is None else seed for seed in record.seeds])

    def one(self, kind: Kind, model: str) -> RunRecord | None:
        """Return the newest record of a kind of which a model has one, whatever its seed."""
        records = self.records(kind, model)
        return max(records, key=lambda record: record.started_at) if records else None

    def speeds(self, model: str) -> list[RunRecord]:
        """Return a model's speed records, the newest of each way of running it, in the order asked for."""
        latest: dict[tuple[Any, Any], RunRecord] = {}
        for record in sorted(self.stored.records, key=lambda record: record.started_at):
            if record.kind == "speed" and record.model_name == model:
                latest[record.settings.get("backend"), record.settings.get("dtype")] = record
        options = self.stored.session.request.get("options", {})
        asked = [options.get(name) or [] for name in ("backends", "dtypes")]
        positions = {way: [_position(name, of) for name, of in zip(way, asked, strict=True)] for way in latest}
        return [latest[way] for way in sorted(latest, key=positions.__getitem__)]

    def tasks(self) -> list[str]:
        """Return the tasks with a record of one of the models, in the session's order."""
        seen = {
            record.task_name: None
            for record in self.stored.records
            if record.kind == "quality" and record.model_name in self.models and record.task_name
        }
        asked = [task for task in self.stored.session.tasks if task in seen]
        return list(dict.fromkeys([*asked, *seen]))

    def base(self, records: Sequence[RunRecord]) -> Row:
        """Fill the fields of a row that its records decide; `records` are equal but for their seeds."""
        first = records[0]
        seeds = [record.seed_label for record in records if record.seed_label is not None]
        averaged = f"mean of seeds {', '.join(seeds)}" if first.kind == "quality" and len(seeds) > 1 else None
        return Row(
            suite=first.suite,
            model=first.model_name,
            checkpoint=first.checkpoint,
            revision=first.revision,
            weights=first.weights,
            task=first.task_name,
            device=first.settings.get("device"),
            backend=first.settings.get("backend"),
            dtype=first.settings.get("dtype"),
            threads=first.settings.get("threads"),
            session_id=self.stored.session.session_id,
            status="ok",
            caveats=(*caveats_of(first), *remarks(averaged)),
            run_ids=tuple(record.run_id for record in records),
        )

    def failed(self, record: RunRecord, quantity: str) -> Row:
        """Build the visible row of a run that gave nothing: its status, and why."""
        message = (
            record.error.message if record.error else "; ".join(map(str, record.warnings)) or "no reason was recorded"
        )
        return replace(self.base([record]), quantity=quantity, status=record.status, caveats=remarks(message))


def _position(name: Any, names: Sequence[Any]) -> int:
    return names.index(name) if name in names else len(names)


def caveats_of(record: RunRecord) -> list[Caveat]:
    """List what to know beside a record's figures: random weights, capped training, data not taken as it stands."""
    caveats: list[Caveat] = [RandomWeights()] if record.weights == "random" else []
    if record.capped:
        samples = record.settings.get("train_samples")
        caveats.append(TrainingCapped(samples if isinstance(samples, int) else None))
    if record.distinct_samples is not None:
        caveats.append(TrainingResampled())
    start = record.settings.get("start")
    if isinstance(start, dict):
        caveats.append(StartedFrom(str(start.get("task"))))
    samples, available = record.settings.get("eval_samples"), record.settings.get("eval_available")
    if isinstance(samples, int) and isinstance(available, int) and samples < available:
        caveats.append(SampleOnly(samples, available, UNITS.get((record.task or {}).get("kind", ""), "examples")))
    for split, changes in record.data_changes.items():
        caveats += remarks(*(f"{split} data: {count:,} {name}" for name, count in changes.items() if count))
    return caveats


def recipes(records: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """By model how it learnt a task, 'fine-tuned' or 'distilled', where that is known.

    Empty where no published checkpoint was evaluated: how a model is taught here stands in its configuration.
    """
    by_model: dict[str, str] = {}
    is_published = False
    for model, runs in records.items():
        settings = runs[0].settings if runs else {}
        origin = settings.get("origin") or {}
        is_published |= bool(origin)
        if "recipe" in origin:
            by_model[model] = origin["recipe"]
        elif settings.get("mode") == "fine-tune":
            by_model[model] = "distilled" if "teaching" in settings else "fine-tuned"
    return by_model if is_published else {}


def figure(base: Row, quantity: str, statistic: str, unit: str, estimate: Estimate | float, **fields: Any) -> Row:
    """Add a figure to `base`; `fields` are those of Row (n, n_unit, split, shape, ratio …)."""
    if not isinstance(estimate, Estimate):
        estimate = Estimate(estimate)
    return replace(
        base,
        quantity=quantity,
        statistic=statistic,
        unit=unit,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        scope=None if estimate.low is None else estimate.scope,
        **fields,
    )


def noted(row: Row, *caveats: Caveat) -> Row:
    """Add caveats to `row`."""
    return replace(row, caveats=(*row.caveats, *caveats))


def share_rows(
    base: Row,
    statistic: str,
    ratio: Estimate | None,
    reference_score: float | None,
    reference: str,
    counted: Mapping[str, Any],
    chance: float | None = None,
) -> Iterator[Row]:
    """Yield the row of a share retained of the reference's score; where there is no such share, a row that says so.

    `reference_score` is None where the reference has none.
    """
    if ratio is not None:
        yield with_ratio(figure(base, "retention", statistic, "1", ratio, **counted), reference, ratio)
    elif reference_score is not None:
        bound = "zero" if chance is None else f"chance ({chance * 100:.1f})"
        reason = NoShare(f"the score of {reference} is {reference_score * 100:.1f}, not above {bound}")
        yield noted(replace(base, quantity="retention", statistic=statistic, unit="1", reference=reference), reason)


def with_ratio(row: Row, reference: str, ratio: Estimate | None) -> Row:
    """Add to `row` its ratio to the reference's value, and how the ratio's interval came about."""
    if ratio is None:
        return row
    return replace(
        row,
        reference=reference,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        ratio_method=ratio.method,
        ratio_scope=None if ratio.low is None else ratio.scope,
    )


def plain_rows(evidence: Evidence, record: RunRecord, failed_as: str) -> Iterator[Row]:
    """Yield rows of measurements that are one exact value each; of a failed record one row that says so."""
    if record.status != "ok":
        yield evidence.failed(record, failed_as)
        return
    base = evidence.base([record])
    for measurement in record.measurements:
        yield plain_row(base, measurement)


def plain_row(base: Row, measurement: Measurement) -> Row:
    """Build the row of a measurement of one value (of several: their mean)."""
    return figure(
        noted(base, *note_of(measurement)),
        measurement.quantity,
        measurement.statistic,
        measurement.unit,
        sum(measurement.values) / len(measurement.values),
        split=measurement.split,
        scenario=measurement.scenario,
        batch_size=measurement.batch_size,
        sequence_length=measurement.sequence_length,
        n=measurement.n,
        n_unit=measurement.n_unit,
    )


def note_of(measurement: Measurement) -> tuple[Caveat, ...]:
    """Return what the record says of this one measurement; none where it says nothing."""
    if not measurement.note:
        return ()
    if measurement.held_bound is not None:
        return (TriedLive(measurement.note, measurement.held_bound),)
    return (MeasurementNote(measurement.note),)
