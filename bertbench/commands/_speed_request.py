"""From the options of `bertbench speed` to a Request: everything checked before anything is loaded or timed."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertbench.errors import UnknownNameError, UsageError
from bertbench.specs.name_lists import joined
from bertbench.speed.backend_options import combinations, parse, parse_dtypes, parse_numbers

if TYPE_CHECKING:
    from bertbench.commands._measuring import Measuring
    from bertbench.session.request import Options, Request
    from bertbench.specs.timing import ShapeSpec, TimingSpec

SCENARIOS = ("fixed", "natural", "single-stream", "offline", "server")
OF_TEXTS = ("natural", "single-stream", "offline", "server")
ROUNDS = 10  # of few turns each: processes differ more from each other than turns do
ROUNDS_ON_MANY = 5  # where several back-ends share the time
MOST_ROUNDS = 64  # with --precision
FEWEST_ROUNDS = 8  # with --precision, but for a very quiet machine
TURNS_FOR_P90 = 64
LARGEST_BATCH, LONGEST = 4096, 1_000_000
FINEST, COARSEST = 0.001, 0.5  # precision


def build(measuring: Measuring, given: Mapping[str, Any]) -> Request:
    """The request.

    Raises:
        UsageError, ConfigError, DeviceError: an option cannot be used; the message names it.
    """
    from bertbench.commands._measuring import pick_reference
    from bertbench.session.request import Request
    from bertbench.session.selection import resolve

    given = with_paper(measuring, given)
    scenarios = _scenarios(given)
    options = _options(given, scenarios)
    suite = measuring.catalog.suite(given["suite"] or "base")
    task = _task(given, scenarios)
    if not given["from_store"]:
        measuring.store.check_writable()
    wanted = resolve(given["models"], measuring.catalog, suite, measuring.store)
    specs, reference = pick_reference(
        wanted, suite, given["reference"], measuring.catalog, measuring.store, add_suites=False
    )
    return Request(
        command="speed",
        argv=tuple(sys.argv[1:]),
        suite=suite,
        models=tuple(specs),
        reference=reference,
        tasks=() if task is None else (measuring.catalog.task(task),),
        options=options,
        may_be_random=True,
        timing=_timing(given, scenarios, options),
        kinds=("size", "speed", "memory"),
    )


def with_paper(measuring: Measuring, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with those that a published measurement decides.

    Raises:
        UsageError: one of those was given beside it, or it is not about time; ConfigError: there is no such paper.
    """
    if given["paper"] is None:
        return given
    paper = measuring.catalog.paper(given["paper"])
    if not paper.has_times:
        raise UsageError(f"--paper {paper.name}: publishes no times", f"use `bertbench anatomy --paper {paper.name}`")
    decided = {"scenario": None, "task": None, "batch_sizes": "1", "precision": None}
    for name, default in decided.items():
        if given[name] != default:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--paper {paper.name} decides {option}", f"leave {option} out")
    chosen = {
        "models": joined(paper.models) if given["models"] == "all" else given["models"],
        "reference": given["reference"] or paper.reference,
        "device": paper.device if given["device"] == "auto" else given["device"],
        "rounds": given["rounds"] or ROUNDS_ON_MANY,
        "scenario": "offline",
        "task": paper.task,
        "batch_sizes": str(paper.batch_size),
    }
    return {**given, **chosen}


def _scenarios(given: Mapping[str, Any]) -> tuple[str, ...]:
    value = given["scenario"]
    if value is None:
        return ("fixed", "natural") if given["task"] else ("fixed",)
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    for name in found:
        if name not in SCENARIOS:
            raise UnknownNameError("scenario", name, SCENARIOS)
    if not found:
        raise UsageError("--scenario: no name given", f"scenarios: {', '.join(SCENARIOS)}")
    return tuple(dict.fromkeys(found))


def _task(given: Mapping[str, Any], scenarios: Sequence[str]) -> str | None:
    """The task that texts come from, if they are needed."""
    needs_texts = [name for name in scenarios if name in OF_TEXTS]
    task: str | None = given["task"]
    if task is None and needs_texts:
        raise UsageError(
            f"--scenario {needs_texts[0]} takes real texts", "name a task: --task sst2, or demo-sentiment without a hub"
        )
    return task


def _options(given: Mapping[str, Any], scenarios: Sequence[str]) -> Options:
    from bertbench.commands._display import say
    from bertbench.records import environment
    from bertbench.session.request import Options, check_positive

    if given["from_store"] and given["fresh"]:
        raise UsageError("--fresh and --from-store contradict each other", "leave one out")
    numbers = ("threads", "max_minutes", "rounds", "max_length", "latency_bound")
    check_positive(**{name: given[name] for name in numbers})
    device = environment.resolve_device(given["device"])
    dtypes = parse_dtypes(given["dtypes"], device)
    backends, notes = parse(given["backends"], device)
    notes += combinations(backends, dtypes)[1]  # finds out now what does not go together
    usable = environment.usable_cores()
    if given["threads"] and given["threads"] > usable and device == "cpu":
        notes.append(f"--threads {given['threads']}: only {usable} cores can be used; threads will wait for each other")
    for note in notes:
        say(note)
    bound = given["latency_bound"]
    if bound is not None and "server" not in scenarios:
        raise UsageError("--latency-bound belongs to --scenario server", "add the scenario, or leave the bound out")
    return Options(
        device=device,
        dtype=dtypes[0],
        dtypes=dtypes,
        backends=backends,
        threads=given["threads"] or environment.default_threads(),
        max_minutes=given["max_minutes"],
        max_length=given["max_length"],
        data_dir=given["data_dir"],
        fresh=given["fresh"],
        server_bound_s=_bound(scenarios, bound),
        paper=given["paper"],
    )


def _bound(scenarios: Sequence[str], bound_ms: float | None) -> float | None:
    """Seconds that a server's p90 must hold; 0 leaves the choice to what the reference needs."""
    if "server" not in scenarios:
        return None
    return bound_ms / 1e3 if bound_ms is not None else 0.0


def _timing(given: Mapping[str, Any], scenarios: Sequence[str], options: Options) -> TimingSpec:
    from bertbench.specs.timing import TimingSpec

    precision = None if given["precision"] is None else parse_precision(given["precision"])
    if precision is not None and given["rounds"] is not None:
        raise UsageError("--precision decides the number of rounds", "leave --rounds out")
    if precision is not None and "offline" in scenarios:
        raise UsageError(
            "--precision may end before a whole split was taken", "leave --precision out, or the scenario offline"
        )
    if given["rounds"] is not None and given["rounds"] < 2:
        raise UsageError(f"--rounds {given['rounds']}: one round says nothing about the spread", "take 2 or more")
    rounds = given["rounds"] or (ROUNDS if len(options.backends) == 1 else ROUNDS_ON_MANY)
    if precision is not None:
        rounds = MOST_ROUNDS
    shapes = _shapes(given, scenarios, rounds if precision is None else FEWEST_ROUNDS)
    return TimingSpec(rounds=rounds, precision=precision, turns=3, passes=1, shapes=tuple(shapes))


def parse_precision(text: str) -> float:
    """The relative half-width that '2%' or '0.02' stands for.

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


def _shapes(given: Mapping[str, Any], scenarios: Sequence[str], rounds: int) -> list[ShapeSpec]:
    from bertbench.specs.timing import ShapeSpec

    batches = parse_numbers("--batch-sizes", given["batch_sizes"], LARGEST_BATCH)
    lengths = parse_numbers("--sequence-lengths", given["sequence_lengths"], LONGEST)
    enough = -(-TURNS_FOR_P90 // rounds)  # turns a round, so that all rounds together give a p90
    found = []
    if "fixed" in scenarios:
        found += [ShapeSpec(batch_size=batch, sequence_length=length) for batch in batches for length in lengths]
    natural = dict.fromkeys(batches) if "natural" in scenarios else {}
    if {"single-stream", "server"} & set(scenarios):
        natural |= {1: None}
    found += [ShapeSpec(batch_size=batch, sequence_length=None, turns=enough) for batch in natural]
    if "offline" in scenarios:
        found += [ShapeSpec(batch_size=batch, sequence_length=None, whole_split=True) for batch in batches]
    return found
