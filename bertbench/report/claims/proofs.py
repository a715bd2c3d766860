"""Finds in stored sessions the evidence that a claim takes, and judges it.

Times come from the newest complete session that holds them for model and reference, never from two. Quality comes from all
seeds of one recipe, whichever sessions they were run in: predictions do not depend on the hour. Not aware of how to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.records.record import UNDEFINED, RunRecord, digest
from bertbench.records.sidecars import read_sidecar
from bertbench.records.store import StoredSession
from bertbench.report.claims.binding import measured_part, parameter_counts, problem
from bertbench.report.claims.figure import find_row, is_timed, judged, kind_of
from bertbench.report.compare.build import all_rows, evidence_of
from bertbench.report.compare.evidence import Evidence
from bertbench.report.row import Row
from bertbench.stats.claim_tests import Figure, Judgement, Verdict, together

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec

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
    figure: Figure | None = None
    judgement: Judgement | None = None
    session: StoredSession | None = None
    reason: str = ""
    parts: tuple[Proof, ...] = ()

    @property
    def is_surprise(self) -> bool:
        """True for a settled verdict that is not the expected one; of a claim that expects none, if it is refuted."""
        if self.verdict not in {"supported", "refuted"}:
            return False
        return self.verdict != (self.claim.expect or "supported")

    @property
    def is_open(self) -> bool:
        """True for an inconclusive verdict that was not expected."""
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
        """The verdict on a claim; of one over each of several tasks with its parts."""
        tasks = self.tasks_of(claim)
        if claim.over == "mean" or len(tasks) < 2:
            return self._one(claim, tasks)
        parts = tuple(self._one(claim.on(task), (task,)) for task in tasks)
        session = next((part.session for part in parts if part.session is not None), None)
        reason = next((part.reason for part in parts if part.reason), "")
        return Proof(claim, together([part.verdict for part in parts]), session=session, reason=reason, parts=parts)

    def _one(self, claim: ClaimSpec, tasks: tuple[str, ...]) -> Proof:
        reasons = []
        for stored in self._candidates(claim, tasks):
            evidence = evidence_of(stored, self.models, (claim.model,), claim.reference or claim.model)
            reason = problem(claim, evidence, tasks, self._counts)
            if reason is None:
                rows = self._rows_of(claim, evidence)
                row = find_row(claim, rows, tasks, texts(evidence, claim.model))
                found = None if row is None else judged(claim, row)
                if row is not None and found is not None:
                    return Proof(claim, found[1].verdict, row, *found, stored)
                reason = "too few rounds" if row is not None else _undefined(claim, rows, tasks)
            reasons.append(reason)
        return Proof(claim, "not measured", reason=next(filter(None, reasons), ""))

    def _candidates(self, claim: ClaimSpec, tasks: tuple[str, ...]) -> Iterator[StoredSession]:
        """Sessions cut down to the records that the claim is about, the newest first."""
        if kind_of(claim) == "quality" and not is_timed(claim):
            yield from pooled(self.sessions, claim.models, tasks)
            return
        kinds = {kind_of(claim)}
        for stored in self.sessions:
            records = tuple(
                one
                for one in stored.records
                if one.kind in kinds
                and one.model_name in claim.models
                and (one.task_name is None or one.task_name in tasks)
            )
            if records and stored.session.complete:
                yield replace(stored, records=records)

    def _rows_of(self, claim: ClaimSpec, evidence: Evidence) -> list[Row]:
        runs = tuple(record.run_id for record in evidence.stored.records)
        # A pool of one session's runs has lost their times.
        key = (evidence.stored.session.session_id, kind_of(claim), is_timed(claim), claim.models, runs)
        if key not in self._rows:
            self._rows[key] = all_rows(evidence)
        return self._rows[key]


def _undefined(claim: ClaimSpec, rows: Sequence[Row], tasks: Sequence[str]) -> str:
    """Why a score that a claim is about has no value, in the metric's words; '' if it is not that."""
    of_claim = (
        f"{row.model}: {row.quantity} is undefined: {row.note}"
        for row in rows
        if row.status == UNDEFINED and row.task in tasks and row.model in claim.models
    )
    return next(of_claim, "") if kind_of(claim) == "quality" else ""


def texts(evidence: Evidence, model: str) -> str | None:
    """The task whose texts a model was timed on."""
    records = evidence.speeds(model)
    found = records[0].settings.get("natural_task") if records else None
    return str(found) if found else None


@dataclass(frozen=True)
class Pool(StoredSession):
    """Quality runs of several sessions; `folders` says by run where its predictions lie."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    def sidecar(self, record: RunRecord, name: str) -> pd.DataFrame | None:
        """The rows of a record's sidecar, from the session it was run in."""
        entry = record.sidecars.get(name)
        return None if entry is None else read_sidecar(self.folders[record.run_id], entry, name)


def pooled(sessions: Sequence[StoredSession], models: Sequence[str], tasks: Sequence[str]) -> Iterator[Pool]:
    """By recipe, that of the newest session first: finished runs of the models on the tasks, the newest of each seed.

    Only seeds that all models have on all tasks: means over others could not be compared.
    """
    by_recipe: dict[str, dict[tuple[str, str | None, int | None], tuple[RunRecord, StoredSession]]] = {}
    newest: dict[tuple[str, str], Any] = {}
    for stored in sessions:
        for record in stored.records:
            if record.kind == "quality" and record.model_name in models and record.task_name in tasks:
                weights = record.weights_digest, measured_part(record.model)
                if newest.setdefault((_recipe(stored), record.model_name), weights) != weights:
                    continue  # of a model that has since become another one
                runs = by_recipe.setdefault(_recipe(stored), {})
                place = (record.model_name, record.task_name, record.seed)
                if place not in runs or (runs[place][0].status != "ok" and record.status == "ok"):
                    runs[place] = record, stored
    for runs in by_recipe.values():
        yield _pool(list(_shared(runs, models, tasks).values()), tasks)


def _shared(runs: Mapping[Any, Any], models: Sequence[str], tasks: Sequence[str]) -> dict[Any, Any]:
    """The runs of seeds that finished everywhere; where there is none, all of them, so that a reason can be given."""
    done = {place for place, (record, _) in runs.items() if record.status == "ok"}
    seeds = {seed for *_, seed in done if all((model, task, seed) in done for model in models for task in tasks)}
    return {place: run for place, run in runs.items() if not seeds or place[2] in seeds}


def _pool(runs: Sequence[tuple[RunRecord, StoredSession]], tasks: Sequence[str]) -> Pool:
    newest = max((stored for _, stored in runs), key=lambda stored: stored.session.session_id)
    # Times belong to their session: of runs of several sessions they say nothing.
    records = tuple(
        replace(record, measurements=tuple(one for one in record.measurements if one.unit != "s")) for record, _ in runs
    )
    session = replace(newest.session, tasks=tuple(tasks))
    return Pool(session, records, newest.folder, {record.run_id: stored.folder for record, stored in runs})


def _recipe(stored: StoredSession) -> str:
    """What tells recipes apart: the options that shape a run, and the version of how quality is measured.

    Models may differ, each having its own published recipe.
    """
    request = stored.session.request
    shaping = {name: value for name, value in request.get("options", {}).items() if name not in NOT_OF_THE_RECIPE}
    return digest([shaping, request.get("versions", {}).get("quality")])
