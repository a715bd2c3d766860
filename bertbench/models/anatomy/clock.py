"""Where the time of a forward pass goes: the eager model on random weights, one process, passes with and without hooks.

A pass with hooks reads a clock whenever a module begins or ends: that gives each part's share. Passes without hooks, taken
in turn, give the time that is shared out, so that what the hooks add is nobody's. Figures are of this machine and moment,
and of one model: speeds of several are compared by `bertbench speed`.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from bertbench.errors import MeasurementError
from bertbench.models import attention
from bertbench.models.anatomy.dissect import Trace, follow, layers_of
from bertbench.models.anatomy.techniques import Techniques, build, parameters_built
from bertbench.models.checkpoints import MEMORY_SHARE
from bertbench.models.components import Naming
from bertbench.models.lengths import vocabulary_size
from bertbench.models.size import inner_size
from bertbench.models.token_ids import random_ids
from bertbench.records.anatomy import BYTES_PER_PARAMETER, Anatomy, Part, Timing
from bertbench.records.environment import available_memory
from bertbench.specs.timing import ShapeSpec

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from bertbench.records.progress import Progress

WARMUP_PASSES, WARM_S = 3, 2.0  # whichever is over first
FEWEST, MOST = 3, 200  # pairs of passes
ENOUGH_S = 6.0  # for all passes of a model
ACTIVATIONS = 8  # blocks of tokens x hidden size that are held at once in a layer, about

Key = tuple[str, str]  # component, place


def timed(
    anatomy: Anatomy,
    config: PretrainedConfig,
    techniques: Techniques,
    *,
    threads: int,
    progress: Progress,
    most_passes: int = MOST,
    free_memory: Callable[[], int] = available_memory,
) -> Anatomy:
    """Add the seconds of each part: its median share of passes with hooks, of the median pass without.

    Raises:
        MeasurementError: the model cannot be run.
    """
    _check_memory(anatomy, config, techniques, free_memory())
    torch.set_num_threads(threads)
    progress(f"{anatomy.name}: time by component", 0, 1)
    model, used = _model(config, techniques)
    batch = _batch(config, anatomy.batch_size, anatomy.sequence_length)
    try:
        with torch.inference_mode():
            plain, traces = _passes(model, batch, anatomy.name, progress, most_passes)
    except Exception as error:  # noqa: BLE001 (transformers raises almost any class here)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MeasurementError(f"{anatomy.name}: cannot be timed ({reason})") from None
    hooked = statistics.median(map(_whole, traces))
    timing = Timing(statistics.median(plain), hooked, len(traces), threads, used)
    seconds = {key: share * timing.plain_s for key, share in _shares(model, traces).items()}
    return replace(anatomy, parts=_with_seconds(anatomy.parts, seconds), timing=timing)


def _check_memory(anatomy: Anatomy, config: PretrainedConfig, techniques: Techniques, free: int) -> None:
    """Refuse what would leave the system short of memory: weights, and about a layer's activations."""
    tokens = anatomy.batch_size * anatomy.sequence_length
    hidden = int(getattr(config, "hidden_size", 0))
    scores = tokens * anatomy.sequence_length * int(getattr(config, "num_attention_heads", 0))
    activations = tokens * (ACTIVATIONS * hidden + 2 * (inner_size(config) or 4 * hidden)) + 2 * scores
    needed = BYTES_PER_PARAMETER * (parameters_built(config, techniques) + activations)
    if needed > MEMORY_SHARE * free:
        raise MeasurementError(
            f"{anatomy.name}: not timed; it would take about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            "leave --time out, or take smaller shapes",
        )


def _model(config: PretrainedConfig, techniques: Techniques) -> tuple[nn.Module, str]:
    """Build the model with random weights, with fused attention where the architecture has it, as it is usually run."""
    model = build(config, techniques, real=True, attention=attention.USUAL)
    return model, attention.attention_used(model)


def _batch(config: PretrainedConfig, batch_size: int, sequence_length: int) -> dict[str, torch.Tensor]:
    shape = ShapeSpec(batch_size=batch_size, sequence_length=sequence_length)
    ids = torch.tensor(random_ids(shape, vocabulary_size(config), seed=0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _passes(
    model: nn.Module, batch: dict[str, torch.Tensor], label: str, progress: Progress, most: int
) -> tuple[list[float], list[Trace]]:
    """Time passes without hooks and trace as many with hooks, in turn, after warming up."""
    begun = time.perf_counter()
    for _ in range(WARMUP_PASSES):
        model(**batch)
        if time.perf_counter() - begun > WARM_S:
            break
    plain: list[float] = []
    traces: list[Trace] = []
    begun = time.perf_counter()
    while len(traces) < FEWEST or (len(traces) < most and time.perf_counter() - begun < ENOUGH_S):
        progress(f"{label}: time by component", min((time.perf_counter() - begun) / ENOUGH_S, 0.99), 1)
        # In turn, so that a slow moment of the machine falls on both kinds.
        start = time.perf_counter()
        model(**batch)
        plain.append(time.perf_counter() - start)
        with follow(model, time.perf_counter) as trace:
            model(**batch)
        traces.append(trace)
    progress(f"{label}: time by component", 1, 1)
    return plain, traces


def _whole(trace: Trace) -> float:
    return trace.events[-1][2] - trace.events[0][2]


def _shares(model: nn.Module, traces: list[Trace]) -> dict[Key, float]:
    """Compute the share of each component at each place: the median over passes, scaled so that all add up to 1."""
    naming, modules = Naming(model), dict(model.named_modules())
    layers = layers_of(model, traces[0].calls())
    shares: dict[Key, list[float]] = defaultdict(list)
    for trace in traces:
        sums: dict[Key, float] = defaultdict(float)
        for (name, position), _, gained in trace.walk(layers):
            sums[naming.of_work(name, modules[name]), position] += gained / _whole(trace)
        for key, value in sums.items():
            shares[key].append(value)
    medians = {key: statistics.median(values) for key, values in shares.items()}
    return {key: value / sum(medians.values()) for key, value in medians.items()}


def _with_seconds(parts: tuple[Part, ...], seconds: dict[Key, float]) -> tuple[Part, ...]:
    """Add their seconds to the parts; what takes time and holds nothing comes last."""
    known = {(part.component, part.place): part for part in parts}
    more = tuple(Part(*key, 0, 0, 0) for key in seconds if key not in known)
    return tuple(replace(part, seconds=seconds.get((part.component, part.place), 0.0)) for part in (*parts, *more))
