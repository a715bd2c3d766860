"""Follows a forward pass through a model's modules, reading a meter whenever one begins or ends.

The same walk charges FLOPs (the meter is torch's counter on the meta device) and time (the meter is a clock). Not aware of
components: what is charged has a module's name and a place among the layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.records.anatomy import AFTER, BEFORE

if TYPE_CHECKING:
    from torch import nn

Meter = Callable[[], float]
Where = tuple[str, str]  # a module's dotted name, '' for the model itself; the place in the pass


@dataclass
class Trace:
    """The events of one pass: (module's name, whether it begins, what the meter read)."""

    events: list[tuple[str, bool, float]] = field(default_factory=list)

    def calls(self) -> Counter[str]:
        """How often each module was called."""
        return Counter(name for name, begins, _ in self.events if begins)

    def walk(self, layers: frozenset[str]) -> Iterator[tuple[Where, bool, float]]:
        """(where the pass is, whether it has just got there, what the meter gained there), for each event but the last.

        Calls of the modules in `layers` are numbered as layers.
        """
        stack: list[Where] = []
        number, depth = 0, 0
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
    """Write down each begin and end of a module's call inside the `with` block, in the order in which they come."""
    trace = Trace()
    write = trace.events.append

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
    """Names of the modules that are the model's layers: the outermost list that is run as often as there are layers.

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
