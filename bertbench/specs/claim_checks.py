"""Claims by name, checked against what else there is: models, tasks, groups and quantities."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from bertbench.errors import ConfigError, UnknownNameError, UsageError
from bertbench.specs import plugins
from bertbench.specs.claims import TIMES_OF_TRAINING
from bertbench.units import QUANTITIES

if TYPE_CHECKING:
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.claims import ClaimSpec

Parts = tuple[str, str, str]
"""Key, what was found, what was expected."""

SHAPED = ("latency", "speedup", "throughput", "inference_time", "peak_memory", "flops")
COSTS = ("parameters", "parameter_bytes", "checkpoint_bytes", "energy", *SHAPED)
READINGS: dict[str, tuple[str, ...]] = {
    "parameters": ("unique", "executed"),
    "latency": ("median", "p90", "p95", "p99", "tokenization", "end-to-end"),
    "inference_time": ("model", "tokenization", "end-to-end"),
    "peak_memory": ("resident", "peak", "training", "saved_activations", "gradients", "optimizer_state"),
    "retention": ("mean", "chance-corrected"),
    "score": ("mean", "median"),
}
USUAL_ONLY = ("mean", "value", "median")  # of quantities with a single reading


def quantities() -> set[str]:
    """Return every quantity that can be named: those that are measured, and the metrics."""
    return {*QUANTITIES, *(name.replace("-", "_") for name in plugins.names("bertbench.stats.metrics"))}


def faults(spec: ClaimSpec, known: Mapping[str, Collection[str]]) -> Iterator[Parts]:
    """Yield what keeps a claim from being judged; `known` holds the names there are by kind."""
    yield from _models(spec, known)
    if spec.task is not None:
        yield from _unknown("task", "task", spec.task, known["tasks"])
    for name in spec.tasks:
        yield from _unknown("tasks", "task", name, (*known["tasks"], *known["groups"]))
    yield from _unknown("quantity", "quantity", spec.quantity, quantities())
    if spec.quantity in quantities():
        yield from _misfits(spec)


def _models(spec: ClaimSpec, known: Mapping[str, Collection[str]]) -> Iterator[Parts]:
    for key, name in (("model", spec.model), ("reference", spec.reference)):
        # Folders, hub ids and stored runs have no list to be looked up in.
        if name is not None and "/" not in name and not name.startswith(("run:", ".", "~")):
            yield from _unknown(key, "model", name, known["models"])
    if spec.reference is None and spec.statistic != "value":
        yield "reference", "missing", f"a model, as the statistic is a {spec.statistic}"


def _misfits(spec: ClaimSpec) -> Iterator[Parts]:
    """Yield keys that do not go with the quantity."""
    readings = READINGS.get(spec.quantity, USUAL_ONLY)
    if spec.reading is not None and spec.reading not in readings:
        yield "reading", f"'{spec.reading}' of {spec.quantity}", f"one of {', '.join(readings)}"
    is_cost = spec.quantity in COSTS
    yield from _without_interval(spec)
    if spec.statistic == "difference" and spec.quantity != "score":
        yield "statistic", f"a difference of {spec.quantity}", "a ratio or a value: only scores are subtracted"
    if not is_cost and spec.task is None and not spec.tasks:
        yield "task", "missing", f"'task' or 'tasks', as {spec.quantity} is measured on one"
    if is_cost and spec.tasks:
        yield "tasks", f"several, of {spec.quantity}", "one 'task' whose texts are timed, or none"
    if spec.quantity in TIMES_OF_TRAINING and spec.tasks and spec.over == "mean":
        yield "over", f"a mean of {spec.quantity}", "over: each, or one 'task'"
    if spec.tasks and spec.over == "mean" and spec.quantity not in {"score", "retention", *TIMES_OF_TRAINING, *COSTS}:
        yield "quantity", f"a mean of {spec.quantity} over tasks", "score or retention"
    if spec.quantity not in SHAPED and (spec.batch_size or spec.sequence_length or spec.scenario):
        yield "scenario", f"a shape, of {spec.quantity}", "none: it does not depend on one"
    if spec.task is not None and is_cost and spec.scenario == "fixed":
        yield "scenario", "fixed, with 'task'", "natural or offline: only those take a task's texts"


def _without_interval(spec: ClaimSpec) -> Iterator[Parts]:
    """Yield figures that no row holds in this form."""
    if spec.quantity == "retention" and spec.statistic != "value":
        yield "statistic", f"a {spec.statistic} of retention", "value: it is a share of the reference's score already"
    if spec.quantity == "score" and spec.reading == "median" and spec.statistic != "value":
        yield "reading", f"the median, of a {spec.statistic}", "none: ratios and differences are of means"


def _unknown(key: str, kind: str, name: str, known: Collection[str]) -> Iterator[Parts]:
    if name not in known:
        error = UnknownNameError(kind, name, known)
        yield key, error.message, error.hint or ""


def load(names: str, catalog: Catalog) -> list[ClaimSpec]:
    """Load the claims that `--claims` names, each once; 'all': every one.

    Raises:
        UsageError: nothing is named.
        ConfigError: one of them is unknown, broken, or names what does not exist.
    """
    entries = catalog.entries("claims")
    by_name: dict[str, ClaimSpec] = {}
    for part in filter(None, (part.strip() for part in names.split(","))):
        for name in entries if part == "all" else (part,):
            by_name.setdefault(name, _checked(catalog, name))
    if not by_name:
        raise UsageError("--claims: no claim is named", "`bertbench list claims` shows them; all takes every one")
    return list(by_name.values())


def usable(catalog: Catalog) -> list[tuple[ClaimSpec, tuple[str, ...]]]:
    """Load every claim that is right, with its tasks; a broken one, or a broken group's, matters only if asked for."""
    claims = []
    for name in catalog.entries("claims"):
        try:
            spec = _checked(catalog, name)
            claims.append((spec, tasks_of(spec, catalog)))
        except ConfigError:
            continue
    return claims


def _checked(catalog: Catalog, name: str) -> ClaimSpec:
    spec = catalog.claim(name)
    known = {kind: catalog.entries(kind) for kind in ("models", "tasks", "groups")}
    # The first one ends it here; `bertbench validate` lists them all.
    for key, fault, expected in faults(spec, known):
        path = catalog.entry("claims", name).path
        raise ConfigError(f"{path}: key '{key}': {fault}", f"expected: {expected}" if expected else None)
    return spec


def tasks_of(claim: ClaimSpec, catalog: Catalog) -> tuple[str, ...]:
    """List the tasks that a claim is about, groups taken apart."""
    groups = catalog.entries("groups")
    task_names: dict[str, None] = {}
    for name in (claim.task,) if claim.task else claim.tasks:
        task_names |= dict.fromkeys(catalog.group(name).tasks if name in groups else (name,))
    return tuple(task_names)
