"""Takes a model apart on the meta device: parameters and FLOPs by component and layer, and what each technique saved.

Totals are those of `parameters.count` and `flops.count`. Not aware of time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from torch.utils.flop_counter import FlopCounterMode

from bertbench.errors import BertBenchError, MeasurementError
from bertbench.models.anatomy.techniques import UNCHANGED, Techniques, build, check, merged, plain, state
from bertbench.models.anatomy.trace import Trace, follow, layers_of
from bertbench.models.architecture import run_shapes
from bertbench.models.components import Naming
from bertbench.models.size import BERT_LIKE
from bertbench.records.anatomy import AFTER, BEFORE, Anatomy, Part, Step

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

Key = tuple[str, str]  # component, place
Calls = dict[str, Counter[str]]  # how often a module was called, by its name and the place


def dissect(
    name: str,
    config: PretrainedConfig,
    techniques: Techniques = UNCHANGED,
    *,
    batch_size: int = 1,
    sequence_length: int = 128,
) -> Anatomy:
    """The anatomy of the model called `name`, with `techniques` applied to its configuration.

    An architecture that cannot run without weights has unique parameters only, by component; the notes say why.

    Raises:
        UsageError, ConfigError: the techniques do not fit the model, or it cannot be built.
    """
    check(techniques, config, name)
    parts, notes = _parts(build(config, techniques), batch_size, sequence_length)
    changed = techniques != UNCHANGED
    full_name = f"{name}{techniques.label}"
    return Anatomy(
        name=full_name,
        base=name if changed else None,
        parts=parts,
        batch_size=batch_size,
        sequence_length=sequence_length,
        steps=_steps(config, techniques, parts, (batch_size, sequence_length)),
        notes=tuple(f"{full_name}: {note}" for note in notes),
    )


def _parts(model: nn.Module, batch_size: int, sequence_length: int) -> tuple[tuple[Part, ...], list[str]]:
    """The parts in the order of the pass, and what is to be said about them."""
    naming, notes = Naming(model), []
    if not naming.recognized:
        notes.append("its components cannot be told apart by name; parts are its top-level modules")
    try:
        trace = _dry_pass(model, batch_size, sequence_length)
    except MeasurementError as error:
        unique = _unique(model, naming, {})
        return tuple(Part(*key, count, None, None) for key, count in unique.items()), [*notes, str(error)]
    layers = layers_of(model, trace.calls())
    if not layers:
        notes.append("its layers cannot be told apart; everything counts as before them")
    calls, flops = _charged(model, naming, trace, layers)
    unique, executed = _unique(model, naming, calls), _executed(model, naming, calls)
    keys = sorted(dict.fromkeys((*unique, *executed, *flops)), key=lambda key: _order(key[1]))
    return tuple(Part(*key, unique[key], executed[key], flops[key]) for key in keys), notes


def _dry_pass(model: nn.Module, batch_size: int, sequence_length: int) -> Trace:
    with FlopCounterMode(display=False) as counter, follow(model, counter.get_total_flops) as trace:
        run_shapes(model, batch_size, sequence_length)
    return trace


def _charged(model: nn.Module, naming: Naming, trace: Trace, layers: frozenset[str]) -> tuple[Calls, Counter[Key]]:
    """How often each module was called at each place, and the FLOPs of each component there."""
    modules = dict(model.named_modules())
    calls: Calls = {}
    flops: Counter[Key] = Counter()
    for (name, place), begins, gained in trace.walk(layers):
        if begins:
            calls.setdefault(name, Counter())[place] += 1
        if gained:
            flops[naming.of_work(name, modules[name]), place] += int(gained)
    return calls, flops


def _executed(model: nn.Module, naming: Naming, calls: Calls) -> Counter[Key]:
    """Parameters as often as their module runs."""
    executed: Counter[Key] = Counter()
    for module_name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            component = naming.of_parameter(f"{module_name}.{key}".lstrip("."))
            for place, times in _places(module_name, calls).items():
                executed[component, place] += times * parameter.numel()
    return executed


def _unique(model: nn.Module, naming: Naming, calls: Calls) -> Counter[Key]:
    """Parameters once each, under the module that comes first, at the place that uses them first."""
    unique: Counter[Key] = Counter()
    for name, parameter in model.named_parameters():
        places = _places(name.rpartition(".")[0], calls)
        unique[naming.of_parameter(name), min(places, key=_order, default=BEFORE)] += parameter.numel()
    return unique


def _places(module_name: str, calls: Calls) -> Counter[str]:
    """Where a module is called; of one that is not called itself, where the nearest around it is."""
    while module_name and module_name not in calls:
        module_name = module_name.rpartition(".")[0]
    return calls.get(module_name, Counter())


def _order(place: str) -> float:
    """The place's position in a pass."""
    ends = {BEFORE: 0.0, AFTER: float("inf")}
    return ends[place] if place in ends else float(place.removeprefix("layer-"))


def _steps(
    config: PretrainedConfig, techniques: Techniques, parts: tuple[Part, ...], shape: tuple[int, int]
) -> tuple[Step, ...]:
    """From the plain counterpart to the model, one technique at a time; empty where there is nothing between them."""
    if config.model_type not in BERT_LIKE:
        return ()
    start, own = plain(config), merged(state(config), techniques)
    way = [("plain", start)]
    for technique, change in (
        ("layers", Techniques(layers=own.layers)),
        ("factorizing", Techniques(embedding_size=own.embedding_size)),
        ("tying", Techniques(share=own.share)),
    ):
        reached = merged(way[-1][1], change)
        if reached != way[-1][1]:
            way.append((technique, reached))
    if len(way) == 1:
        return ()
    try:
        between = [_step(technique, _parts(build(config, reached), *shape)[0]) for technique, reached in way[:-1]]
    except BertBenchError:  # the model itself can be built, its plain counterpart cannot
        return ()
    return (*between, _step(way[-1][0], parts))


def _step(technique: str, parts: tuple[Part, ...]) -> Step:
    whole = Anatomy("", parts, 1, 1)
    unique, executed, flops = (whole.total(counter) for counter in ("unique", "executed", "flops"))
    return Step(
        technique,
        int(unique or 0),
        None if executed is None else int(executed),
        None if flops is None else int(flops),
    )
