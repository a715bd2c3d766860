"""What would measure a claim: as a command for people, and as a request for `verify --measure`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.records.record import Kind
from bertbench.specs.name_lists import joined

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.session.request import Request
    from bertbench.specs.claims import ClaimSpec

FLOPS_SHAPE = "128"
SPEED_ROUNDS = 5  # at least, of what is measured on demand
TRAINING_READINGS = ("training", "saved_activations", "gradients", "optimizer_state")
CUT_MINUTES = 2  # of training a model, where training may be cut


@dataclass(frozen=True)
class Job:
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


def job_of(claim: ClaimSpec, tasks: Sequence[str]) -> Job:
    """What measures a claim."""
    from bertbench.report.claims.figure import TRAINING, kind_of, seeds_needed

    kind = kind_of(claim)
    device = (("device", claim.needs.device),) if claim.needs.device else ()
    if kind == "size" and claim.quantity != "flops":
        return Job("compare", (("only", "size"),), ("size",))
    if kind == "quality":
        seeds = ("seeds", str(seeds_needed(claim)))
        cut = (("max-train-minutes", str(CUT_MINUTES)),) if claim.needs.capped_training else ()
        how = (("task", ",".join(tasks)), ("only", "size,quality"), ("finetune", ""), ("recipe", "task"), seeds, *cut)
        how += (("fresh", ""),) if claim.quantity in TRAINING else ()  # what is taken from the store has lost its times
        how += (("yes", ""),)
        return Job("run", (*how, *device), ("size", "quality"))
    kinds: tuple[Kind, ...] = ("size",) if kind == "size" else ("size", kind)
    trains = claim.reading in TRAINING_READINGS
    return Job("speed", (*_cell(claim), *_way(claim), *device), kinds, trains)


def _cell(claim: ClaimSpec) -> tuple[tuple[str, str], ...]:
    """The options of `bertbench speed` for the claim's shape and rounds."""
    found = [("batch-sizes", str(claim.batch_size or 1))]
    scenario = claim.scenario or ("natural" if claim.task else "fixed")
    if scenario == "fixed":
        found.append(("sequence-lengths", str(claim.sequence_length or FLOPS_SHAPE)))
    else:
        found += [("task", claim.task or "sst2"), ("scenario", scenario)]
    if claim.quantity != "peak_memory":
        found.append(("rounds", str(max(claim.needs.rounds, SPEED_ROUNDS))))
    return tuple(found)


def _way(claim: ClaimSpec) -> tuple[tuple[str, str], ...]:
    usual = {"backend": "eager", "dtype": "fp32"}
    return tuple((f"{name}s", getattr(claim, name)) for name, value in usual.items() if getattr(claim, name) != value)


def common_options(given: Mapping[str, Any]) -> list[str]:
    """Options that say where configs, data and results lie, as they were given."""
    words = []
    for folder in given["config_dir"] or ():
        words += ["--config-dir", str(folder)]
    for name, default in (("data_dir", None), ("results_dir", Path("results")), ("threads", None)):
        if given[name] != default:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    return words


def request_of(
    job: Job, models: Sequence[str], reference: str, measuring: Measuring, given: Mapping[str, Any]
) -> Request:
    """The request that the job's command makes, cut down to the kinds that are needed.

    Raises:
        BertBenchError: something cannot be used; the message says what.
    """
    from bertbench.commands._measuring_options import defaults

    options: dict[str, Any] = {name.replace("-", "_"): value or True for name, value in job.options}
    if "recipe" in options:
        options["recipes"] = options.pop("recipe")
    asked = {"models": joined(models), "reference": reference, "from_store": False, "yes": True}
    every = defaults() | dict(given) | asked | options
    if job.command == "speed":
        from bertbench.commands._speed_request import build

        own: dict[str, Any] = {
            "paper": None, "precision": None, "latency_bound": None, "task": None, "scenario": None, "dtypes": "fp32",
            "backends": "eager", "batch_sizes": "1", "sequence_lengths": FLOPS_SHAPE, "rounds": None, **options,
        }  # fmt: skip
        own["rounds"] = int(own["rounds"]) if own["rounds"] else None
        request = replace(build(measuring, every | own), kinds=job.kinds)
        return request if "memory" not in job.kinds else _of_memory(request, trains=job.trains)
    every["max_train_minutes"] = float(every["max_train_minutes"]) if every["max_train_minutes"] else None
    measuring.given = every
    suite = measuring.catalog.suite("base")
    tasks = every["task"].split(",") if "task" in every else ()
    request = measuring.request(suite, tasks, models=every["models"], reference=every["reference"], run=False)
    return replace(request, kinds=job.kinds)


def _of_memory(request: Request, *, trains: bool) -> Request:
    """The request for memory; commands other than `speed` measure no training step.

    Measured anew: a stored session without the training step would answer it too.
    """
    command = request.command if trains else "verify"
    return replace(request, command=command, options=replace(request.options, fresh=True))


def minutes_left(limit: float | None, started: float) -> float | None:
    """What is left of --max-minutes since `started`."""
    return None if limit is None else limit - (time.monotonic() - started) / 60
