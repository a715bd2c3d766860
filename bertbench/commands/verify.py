"""`bertbench verify`: judges claims from what is stored, and measures what is missing where that is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from bertbench.commands._options import MeasuringOptions, spread
from bertbench.commands._study import open_study
from bertbench.errors import BertBenchError, UsageError
from bertbench.session.request import check_positive
from bertbench.session.speed_request import ClaimJob, common_options, job_of, minutes_left, request_of
from bertbench.specs.claim_checks import load, tasks_of

if TYPE_CHECKING:
    from bertbench.records.record import Kind
    from bertbench.report.claims.proofs import Proof
    from bertbench.report.row import Report
    from bertbench.session.study import Study
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec

DEFAULT_MINUTES = 10.0
QUICKEST_FIRST: tuple[Kind, ...] = ("size", "memory", "speed", "quality")

ClaimsOption = Annotated[str, Option("--claims", "-c", help="Names of claims, separated by commas, or all.")]
MeasureOption = Annotated[
    bool, Option("--measure", help="Measure what claims need and the store lacks (default: at most 10 minutes).")
]


@spread(
    options=(
        "max_minutes", "from_store", "threads", "data_dir", "output_format", "output", "layout", "quiet", "verbose", "config_dir", "results_dir",
    )
)  # fmt: skip
def verify(claims: ClaimsOption = "all", measure: MeasureOption = False, *, options: MeasuringOptions) -> None:
    """Judge claims: supported, refuted, inconclusive, not measured.

    Exit code 1: a claim is refuted or has another verdict than its file expects, or with --measure could not be measured;
    3: inconclusive; 4: nothing measured.

    Example: bertbench verify --claims all --measure --max-minutes 10
    """
    started = time.monotonic()
    if measure and options.from_store:
        raise UsageError("--measure and --from-store contradict each other", "leave one out")
    if options.max_minutes is not None and not measure:
        raise UsageError("--max-minutes goes with --measure", "add --measure, or leave it out")
    check_positive(max_minutes=options.max_minutes, threads=options.threads)
    study = open_study("verify", options)
    verification = Verification(study, load(claims, study.catalog))
    if measure:
        verification.measure(DEFAULT_MINUTES if options.max_minutes is None else options.max_minutes, started)
    options.emit(verification.report())
    missing = measure and any(proof.verdict == "not measured" for proof in verification.proofs)
    raise Exit(exit_code(verification.proofs) or (1 if missing else 0))


def exit_code(proofs: Sequence[Proof]) -> int:
    """Return 4 if nothing was measured, 1 on a surprise, 3 if a verdict is open, else 0."""
    if all(proof.verdict == "not measured" and not any(part.figure for part in proof.parts) for proof in proofs):
        return 4
    if any(proof.is_surprise for proof in proofs):
        return 1
    return 3 if any(proof.is_open for proof in proofs) else 0


class Verification:
    """Claims and their verdicts, from the store as it is now."""

    def __init__(self, study: Study, claims: Sequence[ClaimSpec], clock: Callable[[], float] = time.monotonic) -> None:
        """Judge all `claims` by what is stored; `clock` gives seconds."""
        self.study = study
        self.clock = clock
        self.claims = tuple(claims)
        self.tasks = {claim.name: tasks_of(claim, study.catalog) for claim in claims}
        self.failed: dict[str, str] = {}
        self.proofs = self._judged()

    def _judged(self) -> list[Proof]:
        from bertbench.report.claims.proofs import Prover  # scipy

        prover = Prover(tuple(self.study.store.sessions()), self._models(), self._tasks)
        proofs = [prover.prove(claim) for claim in self.claims]
        self.study.pass_on_warnings()
        return proofs

    def _models(self) -> dict[str, ModelSpec]:
        """Return the models of the claims as they are configured now."""
        catalog, names = self.study.catalog, {name for claim in self.claims for name in claim.models}
        # A model that is configured no more is judged by what its records say.
        return {name: catalog.model(name) for name in names & set(catalog.entries("models"))}

    def _tasks(self, claim: ClaimSpec) -> tuple[str, ...]:
        return (claim.task,) if claim.task else self.tasks[claim.name]

    def jobs(self) -> dict[ClaimJob, list[ClaimSpec]]:
        """Group the claims that lack evidence by the command that can measure them together."""
        jobs: dict[ClaimJob, list[ClaimSpec]] = {}
        for proof in self.proofs:
            if proof.verdict == "not measured":
                tasks = self.tasks[proof.claim.name]
                missing = [
                    part.claim.task for part in proof.parts if part.verdict == "not measured" and part.claim.task
                ]
                jobs.setdefault(job_of(proof.claim, missing or tasks), []).append(proof.claim)
        return jobs

    def measure(self, minutes: float, started: float) -> None:
        """Measure what is missing, the quickest kinds first, and judge again after each."""
        # The last kind of a job takes the longest.
        jobs = sorted(self.jobs().items(), key=lambda item: QUICKEST_FIRST.index(item[0].kinds[-1]))
        for job, asking in jobs:
            left = minutes_left(minutes, started, self.clock)
            lacking = {proof.claim.name for proof in self.proofs if proof.verdict == "not measured"}
            claims = [claim for claim in asking if claim.name in lacking]
            names = [claim.name for claim in claims]
            if not claims:
                continue
            # The time is used up: later jobs are skipped too, each for this reason.
            if left is None or left <= 0:
                self.failed |= dict.fromkeys(names, "--max-minutes is used up")
                continue
            self.study.say(f"measuring for {', '.join(names)}")
            try:
                self._measure(job, claims, left)
            except BertBenchError as error:
                self.study.say(f"{', '.join(names)}: {error}")
                self.failed |= dict.fromkeys(names, error.message)
            self.proofs = self._judged()

    def _measure(self, job: ClaimJob, claims: Sequence[ClaimSpec], minutes: float) -> None:
        chosen = replace(self.study.options, max_minutes=minutes, yes=True, from_store=False)
        study = replace(self.study, options=chosen)
        study.measure_or_read(request_of(job, models_of(claims), reference_of(claims), study))

    def report(self) -> Report:
        """Report the verdicts, with commands for what was not measured."""
        from bertbench.report.claims.report import build_verdicts  # scipy

        common = common_options(self.study.options)
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
    """List the models of several claims, each once, references last."""
    names = dict.fromkeys(claim.model for claim in claims)
    return list(names | dict.fromkeys(claim.reference for claim in claims if claim.reference))


def reference_of(claims: Sequence[ClaimSpec]) -> str:
    """Return the model that most of several claims refer to; of claims without one the first's model."""
    named = [claim.reference for claim in claims if claim.reference]
    return max(named, key=named.count) if named else claims[0].model
