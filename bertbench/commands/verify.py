"""`bertbench verify`: judges claims from what is stored, and measures what is missing where that is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertbench.commands._measuring_options import takes_measuring_options
from bertbench.errors import BertBenchError, UsageError

if TYPE_CHECKING:
    from bertbench.commands._claim_measuring import Job
    from bertbench.commands._measuring import Measuring
    from bertbench.report.claims.proofs import Proof
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec

DEFAULT_MINUTES = 10.0

ClaimsOption = Annotated[str, typer.Option("--claims", "-c", help="Names of claims, separated by commas, or all.")]
MeasureOption = Annotated[
    bool, typer.Option("--measure", help="Measure what claims need and the store lacks (default: at most 10 minutes).")
]


@takes_measuring_options(
    "max_minutes", "from_store", "threads", "data_dir", "output_format", "output", "layout", "config_dir", "results_dir",
)  # fmt: skip
def verify(given: Mapping[str, Any], claims: ClaimsOption = "all", measure: MeasureOption = False) -> None:
    """Judge claims: supported, refuted, inconclusive, or not measured, with what would measure them.

    Exit code 1: a claim is refuted (one that names its expected verdict: gets another), or with --measure could not be measured;
    3: inconclusive; 4: nothing measured.
    """
    from bertbench.commands._measuring import Measuring
    from bertbench.report.output import emit
    from bertbench.session.request import check_positive
    from bertbench.specs.claim_checks import load

    started = time.monotonic()
    if measure and given["from_store"]:
        raise UsageError("--measure and --from-store contradict each other", "leave one out")
    if given["max_minutes"] is not None and not measure:
        raise UsageError("--max-minutes goes with --measure", "add --measure, or leave it out")
    check_positive(max_minutes=given["max_minutes"], threads=given["threads"])
    measuring = Measuring("verify", given)
    verification = Verification(measuring, load(claims, measuring.catalog))
    if measure:
        verification.measure(DEFAULT_MINUTES if given["max_minutes"] is None else given["max_minutes"], started)
    report = verification.report()
    emit(report, format=given["output_format"].value, output=given["output"], layout=given["layout"].value)
    missing = measure and any(proof.verdict == "not measured" for proof in verification.proofs)
    raise typer.Exit(exit_code(verification.proofs) or (1 if missing else 0))


def exit_code(proofs: Sequence[Proof]) -> int:
    """4 if nothing was measured; 1 on a surprise; 3 if a verdict is open; else 0."""
    if all(proof.verdict == "not measured" and not any(part.figure for part in proof.parts) for proof in proofs):
        return 4
    if any(proof.is_surprise for proof in proofs):
        return 1
    return 3 if any(proof.is_open for proof in proofs) else 0


class Verification:
    """Claims and their verdicts, from the store as it is now."""

    def __init__(self, measuring: Measuring, claims: Sequence[ClaimSpec]) -> None:
        """Judge all `claims` by what is stored."""
        from bertbench.specs.claim_checks import tasks_of

        self.measuring = measuring
        self.given = dict(measuring.given)
        self.claims = tuple(claims)
        self.tasks = {claim.name: tasks_of(claim, measuring.catalog) for claim in claims}
        self.failed: dict[str, str] = {}
        self.proofs = self._judged()

    def _judged(self) -> list[Proof]:
        from bertbench.commands._measuring import show_warnings
        from bertbench.report.claims.proofs import Prover

        prover = Prover(tuple(self.measuring.store.sessions()), self._models(), self._tasks)
        found = [prover.prove(claim) for claim in self.claims]
        show_warnings(self.measuring.store)
        return found

    def _models(self) -> dict[str, ModelSpec]:
        """The models of the claims as they are configured now."""
        catalog, names = self.measuring.catalog, {name for claim in self.claims for name in claim.models}
        return {name: catalog.model(name) for name in names & set(catalog.entries("models"))}

    def _tasks(self, claim: ClaimSpec) -> tuple[str, ...]:
        return (claim.task,) if claim.task else self.tasks[claim.name]

    def jobs(self) -> dict[Job, list[ClaimSpec]]:
        """What would measure the claims that lack evidence: those that one command can measure together."""
        from bertbench.commands._claim_measuring import job_of

        found: dict[Job, list[ClaimSpec]] = {}
        for proof in self.proofs:
            if proof.verdict == "not measured":
                tasks = self.tasks[proof.claim.name]
                missing = [
                    part.claim.task for part in proof.parts if part.verdict == "not measured" and part.claim.task
                ]
                found.setdefault(job_of(proof.claim, missing or tasks), []).append(proof.claim)
        return found

    def measure(self, minutes: float, started: float) -> None:
        """Measure what is missing, the quickest kinds first, and judge again after each."""
        from bertbench.commands._claim_measuring import minutes_left
        from bertbench.commands._display import say

        order = ("size", "memory", "speed", "quality")
        jobs = sorted(self.jobs().items(), key=lambda item: order.index(item[0].kinds[-1]))
        for job, asking in jobs:
            left = minutes_left(minutes, started)
            lacking = {proof.claim.name for proof in self.proofs if proof.verdict == "not measured"}
            claims = [claim for claim in asking if claim.name in lacking]
            names = [claim.name for claim in claims]
            if not claims:
                continue
            if left is None or left <= 0:
                self.failed |= dict.fromkeys(names, "--max-minutes is used up")
                continue
            say(f"measuring for {', '.join(names)}")
            try:
                self._measure(job, claims, left)
            except BertBenchError as error:
                say(f"{', '.join(names)}: {error}")
                self.failed |= dict.fromkeys(names, error.message)
            self.proofs = self._judged()

    def _measure(self, job: Job, claims: Sequence[ClaimSpec], minutes: float) -> None:
        from bertbench.commands._claim_measuring import request_of
        from bertbench.commands._measuring import measure_or_read

        given = self.given | {"max_minutes": minutes}
        request = request_of(job, models_of(claims), reference_of(claims), self.measuring, given)
        measure_or_read(request, self.measuring.store, from_store=False, yes=True)

    def report(self) -> Any:
        """The verdicts, with commands for what was not measured."""
        from dataclasses import replace

        from bertbench.commands._claim_measuring import common_options
        from bertbench.report.claims.report import build_verdicts

        common = common_options(self.given)
        commands: dict[str, str] = {}
        for job, claims in self.jobs().items():
            names = [claim.name for claim in claims]
            line = job.line(names, models_of(claims), reference_of(claims), common)
            commands |= dict.fromkeys(names, line)
        proofs = [
            replace(proof, reason=self.failed.get(proof.claim.name, proof.reason))
            if proof.verdict == "not measured"
            else proof
            for proof in self.proofs
        ]
        return build_verdicts(proofs, commands)


def models_of(claims: Sequence[ClaimSpec]) -> list[str]:
    """The models of several claims, each once, references last."""
    names = dict.fromkeys(claim.model for claim in claims)
    return list(names | dict.fromkeys(claim.reference for claim in claims if claim.reference))


def reference_of(claims: Sequence[ClaimSpec]) -> str:
    """The model that most of several claims refer to; of claims without one the first's model."""
    named = [claim.reference for claim in claims if claim.reference]
    return max(named, key=named.count) if named else claims[0].model
