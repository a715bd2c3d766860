"""Finds in stored sessions the evidence that a claim takes, and judges it.

Times come from the newest complete session that holds them for model and reference, never from two. Quality comes from all
seeds of one recipe, whichever sessions they were run in: predictions do not depend on the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bertbench.records.record import NOT_MEASURED, UNDEFINED, RunRecord, digest
from bertbench.records.stored import StoredSession
from bertbench.report.claims.figure import find_row, judged
from bertbench.report.compare.evidence import Evidence, recipes
from bertbench.report.compare.rows import all_rows, evidence_of
from bertbench.report.compare.seed_grids import SeedGrid
from bertbench.report.row import Row
from bertbench.stats.claim_tests import ClaimFigure, Judgement, Verdict, seeds_needed, together
from bertbench.stats.intervals import scope_of
from bertbench.units import millions

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec

# Whether the records of a session are the evidence that a claim takes: of its models, its device, with enough seeds.
#
# A demo model or random weights never settle what is claimed of the quality of a released model; of size, time and
# memory random weights of the released architecture tell the same. What one or two seeds of a fine-tuned model score
# settles nothing about the method, whatever a claim's file asks for; a checkpoint that is only evaluated is what its
# claim is about.

RECIPE = ("batch_size", "learning_rate", "epochs", "max_length", "training_dtype")
OTHER_ARCHITECTURE = 0.1  # counts as published are rounded, by less than this


def problem(
    claim: ClaimSpec, evidence: Evidence, tasks: Sequence[str], counts: Mapping[str, float] = MappingProxyType({})
) -> str | None:
    """Tell why a session does not hold the evidence that a claim takes; None if it does, '' if it holds nothing of it.

    `counts`: parameters by digest of the weights, from `parameter_counts`.
    """
    if claim.kind == "quality" and "sweep" in evidence.stored.session.decisions:
        return "the scores are of the best of several trials, chosen by them"
    if (unlike := _learnt_unlike(claim, evidence, tasks)) is not None:
        return unlike
    seen = False
    for model in claim.models:
        for records in _records(claim, evidence, model, tasks):
            done = [record for record in records if record.status == "ok"]
            if not done:
                # An empty reason lets the reason of another session speak.
                return _why_not(records) if records else ("" if not seen else f"{model} was not measured with it")
            seen = True
            spec = evidence.specs[model].model_dump(mode="json")
            reason = next((misfit for record in done if (misfit := _unfit(claim, record, spec, counts))), None)
            if reason is None and claim.kind == "quality":
                reason = _too_few_seeds(claim, done, model)
            if reason is not None:
                return reason
    return _partial(claim, evidence) or _two_recipes(claim, evidence, tasks)


def _too_few_seeds(claim: ClaimSpec, done: Sequence[RunRecord], model: str) -> str | None:
    """Report fewer seeds than the claim takes, or so few that their score is of checkpoints, not of the method."""
    independent = SeedGrid.of(done).independent if done else 0  # runs that share a seed count for less
    if independent < claim.needs.seeds:
        return f"{model} has {independent} of {claim.needs.seeds} seeds"
    is_trained = any(record.settings.get("mode") == "fine-tune" for record in done)
    needed = seeds_needed(claim)
    if is_trained and independent < needed:
        scope = scope_of([independent])
        return f"{model} has {independent} of {needed} seeds: its score tells of {scope}, a claim is about the method"
    return None


def _partial(claim: ClaimSpec, evidence: Evidence) -> str | None:
    """Say what was left out of quality runs by an option, or None."""
    if claim.kind != "quality" or claim.needs.capped_training:
        return None
    options = evidence.stored.session.request.get("options", {})
    if options.get("eval_samples"):
        return f"scores cover at most {options['eval_samples']:,} examples"
    asked = options.get("epochs")
    trained = [record for record in evidence.stored.records if record.settings.get("mode") == "fine-tune"]
    meant = max((((record.task or {}).get("training") or {}).get("epochs", 0) for record in trained), default=0)
    return f"trained for {asked:g} of {meant:g} epochs" if asked is not None and asked < meant else None


def _two_recipes(claim: ClaimSpec, evidence: Evidence, tasks: Sequence[str]) -> str | None:
    """Return a hyperparameter in which model and reference were trained differently, or None."""
    if claim.kind != "quality" or not claim.needs.one_recipe or claim.reference is None:
        return None
    for task in tasks:
        pair = [evidence.records("quality", model, task) for model in claim.models]
        trained = [
            records[0].settings for records in pair if records and records[0].settings.get("mode") == "fine-tune"
        ]
        for name in RECIPE if len(trained) == len(claim.models) else ():
            if len({settings.get(name) for settings in trained}) > 1:
                values = " and ".join(f"{settings.get(name)}" for settings in trained)
                return f"trained with different recipes on {task}: {name.replace('_', ' ')} {values}"
    return None


def _learnt_unlike(claim: ClaimSpec, evidence: Evidence, tasks: Sequence[str]) -> str | None:
    """Say that published checkpoints did not learn a task alike, or one and a model that was trained here; or None."""
    if claim.kind != "quality" or not claim.needs.one_recipe or claim.reference is None:
        return None
    for task in tasks:
        done = {
            model: [record for record in evidence.records("quality", model, task) if record.status == "ok"]
            for model in claim.models
        }
        learnt = recipes(done)
        if len(set(learnt.values())) > 1:
            each = ", ".join(f"{model} {recipe}" for model, recipe in learnt.items())
            return f"checkpoints that learnt {task} by different recipes: {each}"
    return None


def _records(claim: ClaimSpec, evidence: Evidence, model: str, tasks: Sequence[str]) -> list[list[RunRecord]]:
    kind = claim.kind
    if kind == "quality":
        return [evidence.records("quality", model, task) for task in tasks]
    if kind == "speed":
        speeds = evidence.speeds(model)
        way = {"backend": claim.backend, "dtype": claim.dtype}
        return [[record for record in speeds if all(record.settings.get(key, to) == to for key, to in way.items())]]
    record = evidence.one(kind, model)
    return [[record] if record is not None else []]


def _why_not(records: Sequence[RunRecord]) -> str:
    error = next((record.error for record in records if record.error is not None), None)
    return error.message if error else "it failed, and no reason was recorded"


def measured_part(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a stored model spec that shape figures; what is None or empty counts as absent.

    Not its published fine-tuned checkpoints: that of a run that evaluated one is its `checkpoint`.
    """
    left_out = {*NOT_MEASURED, "finetuned"}
    return {name: value for name, value in model.items() if name not in left_out and value not in (None, [], {}, ())}


def _unfit(claim: ClaimSpec, record: RunRecord, spec: Mapping[str, Any], counts: Mapping[str, float]) -> str | None:
    """Tell what makes a finished record no evidence for the claim."""
    model = record.model_name
    reason = _unbound(claim.checkpoints.get(model), record, model, counts)
    if reason is not None:
        return reason
    if measured_part(record.model) != measured_part(spec):
        return f"{model} was configured otherwise there"
    device = str(record.settings.get("device", "")).split(":")[0]
    if claim.needs.device is not None and device != claim.needs.device:
        return f"measured on {device}, the claim is about {claim.needs.device}"
    return _unfit_quality(claim, record, model) if claim.kind == "quality" else None


def _unbound(bound: str | None, record: RunRecord, model: str, counts: Mapping[str, float]) -> str | None:
    """Tell why a record is not of the released model that the claim is about; None if it is."""
    if bound is None:
        return None
    used = record.model.get("checkpoint")
    if used != bound:
        return f"{model} was {used or 'a model without a released checkpoint'} there, the claim is about {bound}"
    stated = (entry["value"] for entry in record.model.get("published", ()) if entry.get("quantity") == "parameters")
    # A model may bear the checkpoint's name and be of another architecture, which its count of parameters gives away.
    published, counted = next(stated, None), counts.get(record.weights_digest or "")
    if published and counted and abs(counted / published - 1) > OTHER_ARCHITECTURE:
        return f"{model} had {millions(counted)} parameters there, {millions(published)} are published: another architecture"
    return None


def parameter_counts(records: Iterable[RunRecord]) -> dict[str, float]:
    """Collect the counted parameters by digest of the weights: weights of one digest are of one architecture."""
    counts = {}
    for record in records:
        count = record.find("parameters", "unique") if record.kind == "size" else None
        if count is not None and record.weights_digest:
            counts[record.weights_digest] = count.values[0]
    return counts


def _unfit_quality(claim: ClaimSpec, record: RunRecord, model: str) -> str | None:
    if record.weights == "random":
        return f"{model} had random weights, which say nothing about quality"
    if record.capped and not claim.needs.capped_training:
        return f"training of {model} was cut to fit a time limit"
    if (start := record.settings.get("start")) is not None:
        return f"{model} was started from its checkpoint of {start.get('task')}"
    if record.distinct_samples is not None:
        return f"{model} was trained on resampled training sets"
    samples, available = (record.settings.get(name) for name in ("train_samples", "train_available"))
    meant = ((record.task or {}).get("training") or {}).get("train_samples")
    if (
        samples is not None
        and available
        and samples < min(available, meant or available)  # a task may mean to train on fewer than there are
        and not claim.needs.capped_training
    ):
        return f"{model} was trained on {samples:,} of {available:,} examples"
    return None


# Options of a session that do not change what a seed's run gives, or that differ by machine.
NOT_OF_THE_RECIPE = frozenset(
    {"seeds", "device", "threads", "attention", "processes", "backends", "dtypes", "server_bound_s", "paper", "train_cap_s"}
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """The verdict on a claim, or on one of its tasks, and what it rests on; `reason` says why there is no figure."""

    claim: ClaimSpec
    verdict: Verdict
    row: Row | None = None
    figure: ClaimFigure | None = None
    judgement: Judgement | None = None
    session: StoredSession | None = None
    reason: str = ""
    parts: tuple[Proof, ...] = ()

    @property
    def is_surprise(self) -> bool:
        """Whether the verdict is settled and not the expected one; a claim that expects none surprises if refuted."""
        if self.verdict not in {"supported", "refuted"}:
            return False
        return self.verdict != (self.claim.expect or "supported")

    @property
    def is_open(self) -> bool:
        """Whether the verdict is inconclusive and this was not expected."""
        return self.verdict == "inconclusive" and self.claim.expect != "inconclusive"


@dataclass
class Prover:
    """Judges claims from sessions, newest first; rows that several claims rest on are made once.

    `tasks_of` gives a claim's tasks with groups taken apart.
    """

    sessions: Sequence[StoredSession]
    models: Mapping[str, ModelSpec]
    tasks_of: Callable[[ClaimSpec], tuple[str, ...]]
    _rows: dict[tuple[Any, ...], list[Row]] = field(default_factory=dict)

    @cached_property
    def _counts(self) -> dict[str, float]:
        return parameter_counts(record for stored in self.sessions for record in stored.records)

    def prove(self, claim: ClaimSpec) -> Proof:
        """Judge a claim; a claim over each of several tasks comes with its parts."""
        tasks = self.tasks_of(claim)
        if claim.over == "mean" or len(tasks) < 2:
            return self._prove_over(claim, tasks)
        parts = tuple(self._prove_over(claim.on(task), (task,)) for task in tasks)
        session = next((part.session for part in parts if part.session is not None), None)
        reason = next((part.reason for part in parts if part.reason), "")
        return Proof(claim, together([part.verdict for part in parts]), session=session, reason=reason, parts=parts)

    def _prove_over(self, claim: ClaimSpec, tasks: tuple[str, ...]) -> Proof:
        reasons = []
        for stored in self._candidates(claim, tasks):
            evidence = evidence_of(stored, self.models, (claim.model,), claim.reference or claim.model)
            reason = problem(claim, evidence, tasks, self._counts)
            if reason is None:
                rows = self._rows_of(claim, evidence)
                row = find_row(claim, rows, tasks, texts(evidence, claim.model))
                figure_and_judgement = None if row is None else judged(claim, row)
                if row is not None and figure_and_judgement is not None:
                    return Proof(claim, figure_and_judgement[1].verdict, row, *figure_and_judgement, stored)
                reason = "too few rounds" if row is not None else _undefined(claim, rows, tasks)
            reasons.append(reason)
        return Proof(claim, "not measured", reason=next(filter(None, reasons), ""))

    def _candidates(self, claim: ClaimSpec, tasks: tuple[str, ...]) -> Iterator[StoredSession]:
        """Sessions cut down to the records that the claim is about, the newest first."""
        if claim.kind == "quality" and not claim.is_timed:
            yield from pooled(self.sessions, claim.models, tasks)
            return
        kinds = {claim.kind}
        for stored in self.sessions:
            records = tuple(
                record
                for record in stored.records
                if record.kind in kinds
                and record.model_name in claim.models
                and (record.task_name is None or record.task_name in tasks)
            )
            if records and stored.session.complete:
                yield replace(stored, records=records)

    def _rows_of(self, claim: ClaimSpec, evidence: Evidence) -> list[Row]:
        runs = tuple(record.run_id for record in evidence.stored.records)
        # A pool of one session's runs has lost their times.
        key = (evidence.stored.session.session_id, claim.kind, claim.is_timed, claim.models, runs)
        if key not in self._rows:
            self._rows[key] = all_rows(evidence)
        return self._rows[key]


def _undefined(claim: ClaimSpec, rows: Sequence[Row], tasks: Sequence[str]) -> str:
    """Tell why a score that a claim is about is undefined, in the metric's words; '' if it is not."""
    of_claim = (
        f"{row.model}: {row.quantity} is undefined: {row.note}"
        for row in rows
        if row.status == UNDEFINED and row.task in tasks and row.model in claim.models
    )
    return next(of_claim, "") if claim.kind == "quality" else ""


def texts(evidence: Evidence, model: str) -> str | None:
    """Return the task whose texts a model was timed on."""
    records = evidence.speeds(model)
    task = records[0].settings.get("natural_task") if records else None
    return str(task) if task else None


@dataclass(frozen=True)
class Pool(StoredSession):
    """Quality runs of several sessions; `folders` says by run where its predictions lie."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    def sidecar(self, record: RunRecord, name: str) -> pd.DataFrame | None:
        """Read a record's sidecar from the session it was run in."""
        entry = record.sidecars.get(name)
        return None if entry is None else self._read(self.folders[record.run_id], entry, name)


def pooled(sessions: Sequence[StoredSession], models: Sequence[str], tasks: Sequence[str]) -> Iterator[Pool]:
    """Yield, by recipe, finished runs of the models on the tasks, the newest of each seed; newest recipe first.

    Only seeds that all models have on all tasks: means over others could not be compared.
    """
    by_recipe: dict[str, dict[tuple[Any, ...], tuple[RunRecord, StoredSession]]] = {}
    newest: dict[tuple[str, str], Any] = {}
    for stored in sessions:
        if "sweep" in stored.session.decisions:  # the best of several trials flatters
            continue
        for record in stored.records:
            if record.kind == "quality" and record.model_name in models and record.task_name in tasks:
                weights = record.weights_digest, measured_part(record.model)
                if newest.setdefault((_recipe(stored), record.model_name), weights) != weights:
                    continue  # of a model that has since become another one
                runs = by_recipe.setdefault(_recipe(stored), {})
                cell = (record.model_name, record.task_name, record.seeds)
                # Sessions come newest first, so a run is only replaced if it failed and an older one finished.
                if cell not in runs or (runs[cell][0].status != "ok" and record.status == "ok"):
                    runs[cell] = record, stored
    for runs in by_recipe.values():
        yield _pool(list(_shared(runs, models, tasks).values()), tasks)


def _shared(runs: Mapping[Any, Any], models: Sequence[str], tasks: Sequence[str]) -> dict[Any, Any]:
    """Keep the runs of seeds that finished everywhere; if there is none, keep all, so that a reason can be given."""
    done = {cell for cell, (record, _) in runs.items() if record.status == "ok"}
    seeds = {seed for *_, seed in done if all((model, task, seed) in done for model in models for task in tasks)}
    return {cell: run for cell, run in runs.items() if not seeds or cell[2] in seeds}


def _pool(runs: Sequence[tuple[RunRecord, StoredSession]], tasks: Sequence[str]) -> Pool:
    newest = max((stored for _, stored in runs), key=lambda stored: stored.session.session_id)
    # Times belong to their session: of runs of several sessions they say nothing.
    records = tuple(
        replace(
            record, measurements=tuple(measurement for measurement in record.measurements if measurement.unit != "s")
        )
        for record, _ in runs
    )
    session = replace(newest.session, tasks=tuple(tasks))
    return Pool(
        session, records, newest.folder, newest.fetch, {record.run_id: stored.folder for record, stored in runs}
    )


def _recipe(stored: StoredSession) -> str:
    """Identify a recipe by the options that shape a run, and the version of how quality is measured.

    Models may differ, each having its own published recipe.
    """
    request = stored.session.request
    shaping = {name: value for name, value in request.get("options", {}).items() if name not in NOT_OF_THE_RECIPE}
    return digest([shaping, request.get("versions", {}).get("quality")])
