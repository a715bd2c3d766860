"""What `verify --measure` measures for claims: a command for people, and the request that this command makes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertbench.records.record import Kind
from bertbench.session import speed_request
from bertbench.session.options import SpeedOptions, StudyOptions
from bertbench.session.request import Request
from bertbench.session.study import Study
from bertbench.specs.claims import TIMES_OF_TRAINING, ClaimSpec
from bertbench.specs.name_lists import joined

SPEED_ROUNDS = 5  # at least, of what is measured on demand
TRAINING_READINGS = ("training", "saved_activations", "gradients", "optimizer_state")
FLOPS_LENGTH = 128  # tokens of the shape that FLOPs are counted for
CUT_MINUTES = 2.0  # of training a model, where training may be cut

# What a job may choose, in the order of the command line.
CHOICES = {
    "only": "--only",
    "finetune": "--finetune",
    "recipes": "--recipe",
    "seeds": "--seeds",
    "max_train_minutes": "--max-train-minutes",
    "fresh": "--fresh",
    "yes": "--yes",
    "device": "--device",
}


@dataclass(frozen=True)
class ClaimJob:
    """Measuring that claims ask for: the subcommand with its options, and the kinds of which the claims need figures.

    `timed`: of `speed`. `trains`: memory of a training step too, which on large inputs takes many times that of inference.
    """

    command: str
    kinds: tuple[Kind, ...]
    options: StudyOptions = field(default_factory=StudyOptions)
    timed: SpeedOptions | None = None
    tasks: tuple[str, ...] = ()
    trains: bool = True

    def line(self, claims: Sequence[str], models: Sequence[str], reference: str, common: Sequence[str]) -> str:
        """Write the job's command line; memory alone is measured by `verify`, since `speed` would time passes too."""
        if "memory" in self.kinds:
            return shlex.join(["bertbench", "verify", "--measure", "--claims", ",".join(claims), *common])
        words = ["bertbench", self.command, "--models", joined(models), "--reference", reference]
        words += ["--task", ",".join(self.tasks)] if self.tasks else []
        words += _timed_words(self.timed) if self.timed else []
        return shlex.join([*words, *_words(self.options, CHOICES), *common])


def _timed_words(timed: SpeedOptions) -> list[str]:
    """Write the options of `speed`: the shape always, the others where they differ from the default."""
    words = ["--batch-sizes", timed.batch_sizes]
    words += [] if timed.task else ["--sequence-lengths", timed.sequence_lengths]
    names = ("task", "scenario", "rounds", "backends", "dtypes")
    return words + _words(timed, {name: f"--{name}" for name in names})


def _words(chosen: StudyOptions | SpeedOptions, flags: Mapping[str, str]) -> list[str]:
    """Write the options that differ from their defaults as words of a command line."""
    usual, words = type(chosen)(), []
    for name, flag in flags.items():
        value = getattr(chosen, name)
        if value != getattr(usual, name):
            words += [flag] if value is True else [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def job_of(claim: ClaimSpec, tasks: Sequence[str]) -> ClaimJob:
    """Choose what measures a claim."""
    from bertbench.stats.claim_tests import seeds_needed  # scipy

    kind = claim.kind
    options = StudyOptions(device=claim.needs.device or "auto")
    if kind == "size" and claim.quantity != "flops":
        return ClaimJob("compare", ("size",), StudyOptions(only="size"))
    if kind == "quality":
        options = replace(
            options,
            only="size,quality",
            finetune=True,
            recipes="task",
            seeds=str(seeds_needed(claim)),
            max_train_minutes=CUT_MINUTES if claim.needs.capped_training else None,
            fresh=claim.quantity in TIMES_OF_TRAINING,  # what is taken from the store has lost its times
            yes=True,
        )
        return ClaimJob("run", ("size", "quality"), options, tasks=tuple(tasks))
    kinds: tuple[Kind, ...] = ("size",) if kind == "size" else ("size", kind)
    return ClaimJob("speed", kinds, options, timed=_timing(claim), trains=claim.reading in TRAINING_READINGS)


def _timing(claim: ClaimSpec) -> SpeedOptions:
    """Return the claim's shape and rounds, back-end and number format."""
    scenario = claim.scenario or ("natural" if claim.task else "fixed")
    timed = SpeedOptions(
        batch_sizes=str(claim.batch_size or 1),
        rounds=None if claim.quantity == "peak_memory" else max(claim.needs.rounds, SPEED_ROUNDS),
        backends=claim.backend,
        dtypes=claim.dtype,
    )
    if scenario == "fixed":
        return replace(timed, sequence_lengths=str(claim.sequence_length or FLOPS_LENGTH))
    return replace(timed, task=claim.task or "sst2", scenario=scenario)


def request_of(job: ClaimJob, models: Sequence[str], reference: str, study: Study) -> Request:
    """Build the request that the job's command makes, cut down to the kinds that are needed.

    Raises:
        BertBenchError: something cannot be used; the message says what.
    """
    choices: dict[str, Any] = {name: getattr(job.options, name) for name in CHOICES}
    chosen = replace(
        study.options, **choices | {"yes": True}, models=joined(models), reference=reference, from_store=False
    )
    study = replace(study, options=chosen)
    if job.timed is not None:
        request = replace(speed_request.build(study, job.timed), kinds=job.kinds)
        return _of_memory(request, trains=job.trains) if "memory" in job.kinds else request
    suite = study.catalog.suite("base")
    request = study.request(suite, job.tasks, models=chosen.models, reference=reference, run=False)
    return replace(request, kinds=job.kinds)


def _of_memory(request: Request, *, trains: bool) -> Request:
    """Narrow a request down to memory; commands other than `speed` measure no training step.

    Measured anew: a stored session without the training step would answer it too.
    """
    command = request.command if trains else "verify"
    return replace(request, command=command, options=replace(request.options, fresh=True))


def common_options(chosen: StudyOptions) -> list[str]:
    """Write the options that say where configs, data and results lie, as they were given."""
    words = []
    for folder in chosen.config_dir or ():
        words += ["--config-dir", str(folder)]
    return words + _words(chosen, {"data_dir": "--data-dir", "results_dir": "--results-dir", "threads": "--threads"})


def minutes_left(limit: float | None, started: float, clock: Callable[[], float] = time.monotonic) -> float | None:
    """Say what is left of --max-minutes since `started`, as the clock tells it."""
    return None if limit is None else limit - (clock() - started) / 60
