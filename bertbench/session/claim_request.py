"""What `verify --measure` measures for claims: a command for people, and the request that this command makes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bertbench.records.record import Kind
from bertbench.session import speed_request
from bertbench.session.options import SpeedOptions, StudyOptions
from bertbench.session.request import Request
from bertbench.session.study import Study
from bertbench.specs.name_lists import joined

FLOPS_SHAPE = "128"


@dataclass(frozen=True)
class ClaimJob:
    """Measuring that claims ask for: the subcommand, its options, and the kinds of which the claims need figures.

    `trains`: memory of a training step too, which on large inputs takes many times that of inference.
    """

    command: str
    options: tuple[tuple[str, str], ...]
    kinds: tuple[Kind, ...]
    trains: bool = True

    def line(self, claims: Sequence[str], models: Sequence[str], reference: str, common: Sequence[str]) -> str:
        """The command line. Of memory alone only `verify` measures it: `speed` would time passes too."""
        if "memory" in self.kinds:
            return shlex.join(["bertbench", "verify", "--measure", "--claims", ",".join(claims), *common])
        words = ["bertbench", self.command, "--models", joined(models), "--reference", reference]
        for name, value in self.options:
            words += [f"--{name}", value] if value else [f"--{name}"]
        return shlex.join([*words, *common])


def request_of(job: ClaimJob, models: Sequence[str], reference: str, study: Study) -> Request:
    """The request that the job's command makes, cut down to the kinds that are needed.

    Raises:
        BertBenchError: something cannot be used; the message says what.
    """
    words = dict(job.options)
    minutes = words.get("max-train-minutes")
    chosen = replace(
        study.options,
        models=joined(models),
        reference=reference,
        device=words.get("device", study.options.device),
        only=words.get("only"),
        seeds=words.get("seeds"),
        recipes=words.get("recipe", study.options.recipes),
        finetune="finetune" in words,
        fresh="fresh" in words,
        max_train_minutes=None if minutes is None else float(minutes),
        from_store=False,
        yes=True,
    )
    study = replace(study, options=chosen)
    if job.command == "speed":
        request = replace(speed_request.build(study, _timed(words)), kinds=job.kinds)
        return _of_memory(request, trains=job.trains) if "memory" in job.kinds else request
    tasks = words["task"].split(",") if "task" in words else ()
    request = study.request(study.catalog.suite("base"), tasks, models=chosen.models, reference=reference, run=False)
    return replace(request, kinds=job.kinds)


def _timed(words: dict[str, str]) -> SpeedOptions:
    """What `bertbench speed` is asked to time."""
    usual = SpeedOptions()
    rounds = words.get("rounds")
    return SpeedOptions(
        scenario=words.get("scenario"),
        backends=words.get("backends", usual.backends),
        batch_sizes=words.get("batch-sizes", usual.batch_sizes),
        sequence_lengths=words.get("sequence-lengths", FLOPS_SHAPE),
        dtypes=words.get("dtypes", usual.dtypes),
        rounds=None if rounds is None else int(rounds),
        task=words.get("task"),
    )


def _of_memory(request: Request, *, trains: bool) -> Request:
    """The request for memory; commands other than `speed` measure no training step.

    Measured anew: a stored session without the training step would answer it too.
    """
    command = request.command if trains else "verify"
    return replace(request, command=command, options=replace(request.options, fresh=True))


def common_options(chosen: StudyOptions) -> list[str]:
    """Options that say where configs, data and results lie, as they were given."""
    words = []
    for folder in chosen.config_dir or ():
        words += ["--config-dir", str(folder)]
    usual = StudyOptions()
    for name in ("data_dir", "results_dir", "threads"):
        value = getattr(chosen, name)
        if value != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def minutes_left(limit: float | None, started: float) -> float | None:
    """What is left of --max-minutes since `started`."""
    return None if limit is None else limit - (time.monotonic() - started) / 60
