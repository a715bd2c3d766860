"""From the options of `bertbench speed`, or from a claim, to a Request: all is checked before anything is loaded or timed."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertbench.errors import UnknownNameError, UsageError
from bertbench.records import environment
from bertbench.records.record import Kind
from bertbench.session.options import SpeedOptions, StudyOptions, check_store_options
from bertbench.session.request import Options, Request, check_positive
from bertbench.session.selection import resolve
from bertbench.session.study import Study
from bertbench.specs.catalog import Catalog
from bertbench.specs.claims import TIMES_OF_TRAINING, ClaimSpec
from bertbench.specs.name_lists import joined
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.speed.backend import combinations, parse, parse_dtypes, parse_numbers

SCENARIOS = ("fixed", "natural", "single-stream", "offline", "server")
OF_TEXTS = ("natural", "single-stream", "offline", "server")
ROUNDS = 10  # of few turns each: processes differ more from each other than turns do
TURNS, PASSES = 3, 1  # why no session chooses them by its own noise: bertbench.stats.repetitions
ROUNDS_ON_MANY = 5  # where several back-ends share the time
MOST_ROUNDS = 64  # with --precision
FEWEST_ROUNDS = 8  # with --precision, but for a very quiet machine
TURNS_FOR_P90 = 64
ONE_INPUT = "1"  # a pass, unless batch sizes are named
BATCHES = {"cpu": "1,2,4,8,16,32", "cuda": "1,2,4,8,16,32,64,128,256"}  # that --best-batch tries
WARM = 8  # samples a pass from which a worker that has done smaller passes is warm after one
LARGEST_BATCH, LONGEST = 4096, 1_000_000
FINEST, COARSEST = 0.001, 0.5  # precision


def build(study: Study, timed: SpeedOptions) -> Request:
    """Build the request of `speed`.

    Raises:
        UsageError, ConfigError, DeviceError: an option cannot be used; the message names it.
    """
    chosen, timed = with_paper(study.catalog, study.options, timed)
    study = replace(study, options=chosen)
    scenarios = _scenarios(timed)
    options = _options(study, timed, scenarios)
    suite = study.suite()
    task = _task(timed, scenarios)
    if not chosen.from_store:
        study.store.check_writable()
    models = resolve(chosen.models, study.catalog, suite, study.store)
    specs, reference = study.with_reference(models, suite, chosen.reference, add_suites=False)
    # Memory of every batch size would take as long as all else, and is asked for without --best-batch.
    kinds: tuple[Kind, ...] = ("size", "speed") if timed.best_batch else ("size", "speed", "memory")
    return Request(
        command="speed",
        argv=study.recorded_argv,
        suite=suite,
        models=tuple(specs),
        reference=reference,
        tasks=() if task is None else (study.catalog.task(task),),
        options=options,
        may_be_random=True,
        timing=_timing(timed, scenarios, options),
        kinds=kinds,
    )


def with_paper(catalog: Catalog, chosen: StudyOptions, timed: SpeedOptions) -> tuple[StudyOptions, SpeedOptions]:
    """Set the options that a published measurement decides.

    Raises:
        UsageError: one of those was given beside it, or it is not about time; ConfigError: there is no such paper.
    """
    if timed.paper is None:
        return chosen, timed
    paper = catalog.paper(timed.paper)
    if not paper.has_times:
        raise UsageError(f"--paper {paper.name}: publishes no times", f"use `bertbench anatomy --paper {paper.name}`")
    usual = SpeedOptions()
    for name in ("scenario", "task", "batch_sizes", "precision"):
        if getattr(timed, name) != getattr(usual, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--paper {paper.name} decides {option}", f"leave {option} out")
    selected = replace(
        chosen,
        models=joined(paper.models) if chosen.models == "all" else chosen.models,
        reference=chosen.reference or paper.reference,
        device=paper.device if chosen.device == "auto" else chosen.device,
    )
    protocol = replace(
        timed,
        rounds=timed.rounds or ROUNDS_ON_MANY,
        scenario="offline",
        task=paper.task,
        batch_sizes=str(paper.batch_size),
    )
    return selected, protocol


def _scenarios(timed: SpeedOptions) -> tuple[str, ...]:
    if timed.scenario is None:
        return ("fixed", "natural") if timed.task else ("fixed",)
    names = tuple(part.strip() for part in timed.scenario.split(",") if part.strip())
    for name in names:
        if name not in SCENARIOS:
            raise UnknownNameError("scenario", name, SCENARIOS)
    if not names:
        raise UsageError("--scenario: no name given", f"scenarios: {', '.join(SCENARIOS)}")
    return tuple(dict.fromkeys(names))


def _task(timed: SpeedOptions, scenarios: Sequence[str]) -> str | None:
    """Choose the task that texts come from; None if none are needed."""
    needs_texts = [name for name in scenarios if name in OF_TEXTS]
    if timed.task is None and needs_texts:
        raise UsageError(
            f"--scenario {needs_texts[0]} takes real texts", "name a task: --task sst2, or demo-sentiment without a hub"
        )
    return timed.task


def _options(study: Study, timed: SpeedOptions, scenarios: Sequence[str]) -> Options:
    chosen = study.options
    check_store_options(chosen)
    check_positive(
        threads=chosen.threads,
        max_minutes=chosen.max_minutes,
        rounds=timed.rounds,
        max_length=chosen.max_length,
        latency_bound=timed.latency_bound,
    )
    device = environment.resolve_device(chosen.device, runs=not chosen.from_store)
    dtypes = parse_dtypes(timed.dtypes, device)
    backends, notes = parse(timed.backends, device, runs=not chosen.from_store)
    notes += combinations(backends, dtypes)[1]  # finds out now what does not go together
    for note in [*notes, *thread_notes(chosen.threads, device)]:
        study.say(note)
    if timed.latency_bound is not None and "server" not in scenarios:
        raise UsageError("--latency-bound belongs to --scenario server", "add the scenario, or leave the bound out")
    return Options(
        device=device,
        dtype=dtypes[0],
        dtypes=dtypes,
        backends=backends,
        threads=chosen.threads or environment.default_threads(),
        max_minutes=chosen.max_minutes,
        max_length=chosen.max_length,
        data_dir=chosen.data_dir,
        fresh=chosen.fresh,
        server_bound_s=_bound(scenarios, timed.latency_bound),
        paper=timed.paper,
    )


def thread_notes(threads: int | None, device: str) -> list[str]:
    """Write a note where more threads are asked for than cores can be used."""
    usable = environment.usable_cores()
    if not threads or threads <= usable or device != "cpu":
        return []
    return [f"--threads {threads}: only {usable} cores can be used; threads will wait for each other"]


def _bound(scenarios: Sequence[str], bound_ms: float | None) -> float | None:
    """Convert the bound on a server's p90 to seconds; 0 leaves the choice to what the reference needs."""
    if "server" not in scenarios:
        return None
    return bound_ms / 1e3 if bound_ms is not None else 0.0


def _timing(timed: SpeedOptions, scenarios: Sequence[str], options: Options) -> TimingSpec:
    precision = None if timed.precision is None else parse_precision(timed.precision)
    if precision is not None and timed.rounds is not None:
        raise UsageError("--precision decides the number of rounds", "leave --rounds out")
    if precision is not None and "offline" in scenarios:
        raise UsageError(
            "--precision may end before a whole split was taken", "leave --precision out, or the scenario offline"
        )
    if timed.rounds is not None and timed.rounds < 2:
        raise UsageError(f"--rounds {timed.rounds}: one round says nothing about the spread", "take 2 or more")
    many = len(options.backends) > 1 or timed.best_batch
    rounds = timed.rounds or (ROUNDS_ON_MANY if many else ROUNDS)
    if precision is not None:
        rounds = MOST_ROUNDS
    if timed.best_batch:
        shapes = _batches(timed, scenarios, options.device)
    else:
        shapes = _shapes(timed, scenarios, rounds if precision is None else FEWEST_ROUNDS)
    return TimingSpec(rounds=rounds, precision=precision, turns=TURNS, passes=PASSES, shapes=tuple(shapes))


def parse_precision(text: str) -> float:
    """Read the relative half-width that '2%' or '0.02' stands for.

    Raises:
        UsageError: it is no number, or outside 0.1 % to 50 %.
    """
    words = text.strip()
    try:
        value = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not FINEST <= value <= COARSEST:
        raise UsageError(f"--precision {text}: must lie between 0.1% and 50%", "for example --precision 2%")
    return value


def _batch_sizes(timed: SpeedOptions, usual: str = ONE_INPUT) -> str:
    """Return what is asked for, an empty text included, which is refused; the usual ones only where nothing is."""
    return usual if timed.batch_sizes is None else timed.batch_sizes


def _shapes(timed: SpeedOptions, scenarios: Sequence[str], rounds: int) -> list[ShapeSpec]:
    batches = parse_numbers("--batch-sizes", _batch_sizes(timed), LARGEST_BATCH)
    lengths = parse_numbers("--sequence-lengths", timed.sequence_lengths, LONGEST)
    enough = -(-TURNS_FOR_P90 // rounds)  # turns a round, so that all rounds together give a p90
    shapes = []
    if "fixed" in scenarios:
        shapes += [ShapeSpec(batch_size=batch, sequence_length=length) for batch in batches for length in lengths]
    natural = dict.fromkeys(batches) if "natural" in scenarios else {}
    if {"single-stream", "server"} & set(scenarios):
        natural |= {1: None}
    shapes += [ShapeSpec(batch_size=batch, sequence_length=None, turns=enough) for batch in natural]
    if "offline" in scenarios:
        shapes += [ShapeSpec(batch_size=batch, sequence_length=None, whole_split=True) for batch in batches]
    return shapes


def _batches(timed: SpeedOptions, scenarios: Sequence[str], device: str) -> list[ShapeSpec]:
    """Return the shapes that --best-batch tries: a few passes of each batch size, small ones first.

    Raises:
        UsageError: there is nothing to choose from.
    """
    if tuple(scenarios) != ("fixed",):
        raise UsageError("--best-batch is about inputs of fixed length", "leave --scenario and --task out")
    text = _batch_sizes(timed, BATCHES.get(device.partition(":")[0], BATCHES["cpu"]))
    batches = parse_numbers("--batch-sizes", text, LARGEST_BATCH)
    if len(batches) < 2:
        raise UsageError(f"--best-batch: --batch-sizes {text} leaves no choice", "name two or more, or leave it out")
    lengths = parse_numbers("--sequence-lengths", timed.sequence_lengths, LONGEST)
    return [
        ShapeSpec(batch_size=batch, sequence_length=length, turns=None if batch < WARM else 1,
                  warmup_passes=None if batch < WARM else 1)
        for length in lengths for batch in sorted(batches)
    ]  # fmt: skip


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
    words = ["--batch-sizes", _batch_sizes(timed)]
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
    return ClaimJob("speed", kinds, options, timed=_claim_timing(claim), trains=claim.reading in TRAINING_READINGS)


def _claim_timing(claim: ClaimSpec) -> SpeedOptions:
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
        request = replace(build(study, job.timed), kinds=job.kinds)
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
