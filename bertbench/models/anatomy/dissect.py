"""Take a model apart on the meta device: parameters and FLOPs by component and layer, and what each technique saved.

Parameters are counted by `components.count_parts`, as they are for `params`; FLOPs add up to those of `size.count_flops`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.utils.flop_counter import FlopCounterMode

from bertbench.errors import BertBenchError, ConfigError, MeasurementError
from bertbench.models import components
from bertbench.models.anatomy.techniques import UNCHANGED, Techniques, build, check, merged, plain, state, traits
from bertbench.models.architecture import run_shapes
from bertbench.models.components import Naming
from bertbench.models.size import BERT_LIKE, outside_windows
from bertbench.records.anatomy import AFTER, BEFORE, Anatomy, Part, RebuiltCell, Step

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from bertbench.specs.papers import PaperSpec, PublishedParameters

# Follows a forward pass through a model's modules, reading a meter whenever one begins or ends.
#
# The same walk charges FLOPs (the meter is torch's counter on the meta device) and time (the meter is a clock).

Meter = Callable[[], float]
Where = tuple[str, str]  # a module's dotted name, '' for the model itself; the place in the pass


@dataclass
class Trace:
    """The events of one pass: (module's name, whether it begins, what the meter read)."""

    events: list[tuple[str, bool, float]] = field(default_factory=list)

    def calls(self) -> Counter[str]:
        """Count how often each module was called."""
        return Counter(name for name, begins, _ in self.events if begins)

    def walk(self, layers: frozenset[str]) -> Iterator[tuple[Where, bool, float]]:
        """Yield (where the pass is, whether it has just got there, what the meter gained there); skip the last event.

        Calls of the modules in `layers` are numbered as layers.
        """
        stack: list[Where] = []
        number, depth = 0, 0  # layers begun; how deep on the stack the present one lies, 0 outside of layers
        for index, (name, begins, reading) in enumerate(self.events[:-1]):
            if begins:
                if name in layers:
                    depth = len(stack)
                    number += 1
                stack.append((name, f"layer-{number}" if depth else AFTER if number else BEFORE))
            else:
                stack.pop()
                depth = 0 if len(stack) <= depth else depth
            yield stack[-1], begins, self.events[index + 1][2] - reading


@contextmanager
def follow(model: nn.Module, meter: Meter) -> Iterator[Trace]:
    """Record each begin and end of a module's call inside the `with` block, in the order in which they come."""
    trace = Trace()
    write = trace.events.append

    # A function, so that each pair of hooks keeps its own name.
    def hooks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        return (lambda *_: write((name, True, meter()))), (lambda *_: write((name, False, meter())))

    handles: list[Any] = []
    for name, module in model.named_modules():
        begin, end = hooks(name)
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def layers_of(model: nn.Module, calls: Counter[str]) -> frozenset[str]:
    """Find the names of the model's layers: the modules of the outermost list that is run as often as there are layers.

    Empty where no list fits.
    """
    config: Any = model.config
    wanted = getattr(config, "num_hidden_layers", None)
    for name, module in model.named_modules():
        if type(module).__name__ != "ModuleList":
            continue
        children = frozenset(f"{name}.{key}" for key, _ in module.named_children())
        if sum(calls[child] for child in children) == wanted:
            return children
    return frozenset()


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
    """Take the model called `name` apart, with `techniques` applied to its configuration.

    An architecture that cannot run without weights has unique parameters only, by component; the notes say why.

    Raises:
        UsageError, ConfigError: the techniques do not fit the model, or it cannot be built.
    """
    check(techniques, config, name)
    model = build(config, techniques)
    parts, notes = _parts(model, batch_size, sequence_length)
    is_counted = all(part.flops is not None for part in parts)
    changed = techniques != UNCHANGED
    full_name = f"{name}{techniques.label}"
    return Anatomy(
        name=full_name,
        base=name if changed else None,
        parts=parts,
        batch_size=batch_size,
        sequence_length=sequence_length,
        steps=_steps(config, techniques, parts, (batch_size, sequence_length)),
        traits=traits(model),
        hidden_flops=outside_windows(config, batch_size, sequence_length) if is_counted else None,
        notes=tuple(f"{full_name}: {note}" for note in notes),
    )


def _parts(model: nn.Module, batch_size: int, sequence_length: int) -> tuple[tuple[Part, ...], list[str]]:
    """Return the parts in the order of the pass, and what is to be said about them."""
    naming, notes = Naming(model), []
    if not naming.recognized:
        notes.append("its components cannot be told apart by name; parts are its top-level modules")
    try:
        trace = _dry_pass(model, batch_size, sequence_length)
    except MeasurementError as error:
        unique, _ = components.count_parts(model, naming.of_parameter, {})
        return tuple(Part(*key, count, None, None) for key, count in unique.items()), [*notes, str(error)]
    layers = layers_of(model, trace.calls())
    if not layers:
        notes.append("its layers cannot be told apart; everything counts as before them")
    calls, flops = _charged(model, naming, trace, layers)
    unique, executed = components.count_parts(model, naming.of_parameter, calls)
    keys = sorted(dict.fromkeys((*unique, *executed, *flops)), key=lambda key: components.pass_order(key[1]))
    return tuple(Part(*key, unique[key], executed[key], flops[key]) for key in keys), notes


def _dry_pass(model: nn.Module, batch_size: int, sequence_length: int) -> Trace:
    with FlopCounterMode(display=False) as counter, follow(model, counter.get_total_flops) as trace:
        run_shapes(model, batch_size, sequence_length)
    return trace


def _charged(model: nn.Module, naming: Naming, trace: Trace, layers: frozenset[str]) -> tuple[Calls, Counter[Key]]:
    """Count how often each module was called at each place, and the FLOPs of each component there."""
    modules = dict(model.named_modules())
    calls: Calls = {}
    flops: Counter[Key] = Counter()
    for (name, position), begins, gained in trace.walk(layers):
        if begins:
            calls.setdefault(name, Counter())[position] += 1
        if gained:
            flops[naming.of_work(name, modules[name]), position] += int(gained)
    return calls, flops


def _steps(
    config: PretrainedConfig, techniques: Techniques, parts: tuple[Part, ...], shape: tuple[int, int]
) -> tuple[Step, ...]:
    """Count each step from the plain counterpart to the model, a technique at a time; empty if there is none."""
    if config.model_type not in BERT_LIKE:
        return ()
    start, target = plain(config), merged(state(config), techniques)
    way = [("plain", start)]
    for technique, change in (
        ("layers", Techniques(layers=target.layers)),
        ("factorizing", Techniques(embedding_size=target.embedding_size)),
        ("tying", Techniques(share=target.share)),
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


# Rebuilds a paper's published numbers of parameters from the architectures it describes.
#
# No single way of counting gives every published figure: some tables count the pooler and some do not. A cell agrees if either
# count rounds to it, and says which.


def rebuild(paper: PaperSpec, config_of: Callable[[str], PretrainedConfig]) -> Iterator[RebuiltCell]:
    """Yield each cell of the paper, counted; `config_of` gives the configuration of a model by name.

    Raises:
        ConfigError: the paper's YAML describes a model that cannot be built.
    """
    for row in paper.parameters:
        try:
            yield _cell(row, config_of(row.model))
        except BertBenchError as error:
            raise ConfigError(f"paper '{paper.name}', '{row.label}': {error.message}", error.hint) from None


def _cell(row: PublishedParameters, config: Any) -> RebuiltCell:
    if row.vocabulary is not None:
        config.vocab_size = row.vocabulary
    techniques = Techniques(row.embedding_size, row.share, row.layers)
    check(techniques, config, row.model)
    counts = components.count(build(config, techniques))
    unique, pooler = counts.unique_total, counts.unique.get("pooler")
    ways = {"no pooler": unique} if pooler is None else {"with pooler": unique, "without pooler": unique - pooler}
    matches = tuple(way for way, count in ways.items() if rounds_to(count, row.parameters, row.rounded_to))
    return RebuiltCell(
        label=row.label,
        model=f"{row.model}{techniques.label}",
        published=row.parameters,
        rounded_to=row.rounded_to,
        unique=unique,
        without_pooler=None if pooler is None else unique - pooler,
        matches=matches,
        as_expected=bool(matches) == (row.expected == "equal"),
        note=row.note.strip(),
    )


def rounds_to(count: int, published: float, step: float) -> bool:
    """Tell whether `count`, rounded to a multiple of `step`, is the published figure."""
    return abs(count - published) <= step / 2
