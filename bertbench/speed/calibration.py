"""How fast this machine multiplies matrices: for forecasts of time, and as the ceiling that models reach for.

The sizes are those of an encoder's products (a few thousand rows, width 768 and 3072), so
the figure is what a model can hope for, not the processor's peak.

bf16 counts as faster where its products are measured to be: processors without such instructions run it hundreds of times
slower than fp32. What models are trained in is not decided here, since noise may turn it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, Literal

from bertbench.processes import Child, ChildDiedError, behave_as_child
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.eager import DTYPES

Size = tuple[int, int, int]  # rows, inner, columns

# Growing; the first takes below a tenth of a second even without hardware for the format.
SIZES: tuple[Size, ...] = ((64, 128, 256), (256, 768, 768), (512, 768, 3072), (2048, 768, 3072))
BUDGET_S = 0.3  # per number format
LONGEST_PRODUCT_S = 0.1  # a longer one is exact enough at the first try, and the next size is not worth its wait
ADVANTAGE = 1.15  # smaller ones are lost in the operators that are no matrix products

# Share of the product rate that whole passes reach, the rest being normalization, activations, attention and overhead.
# BERT-base, 128 tokens, two cores: 0.3 to 0.9 in inference (batches of 1 and 8), 0.5 to 0.6 in training (8). They are for
# forecasts within a factor of two.
INFERENCE_EFFICIENCY = 0.6
TRAINING_EFFICIENCY = 0.5
TRAINING_PASSES = 3.0  # forward, gradients of inputs, gradients of weights


@dataclass(frozen=True)
class Calibration:
    """Rates in 1e9 floating-point operations a second, a multiply-add counting as two; `seconds` it took to find out.

    `gflops_bf16` is the rate at the largest size that was tried in that format; `bf16_is_faster` is a first impression, which
    noise may turn: nothing that is stored may depend on it alone.
    """

    gflops_fp32: float
    gflops_bf16: float
    bf16_is_faster: bool
    seconds: float


def judge(fp32: list[float], bf16: list[float], seconds: float) -> Calibration:
    """Make a Calibration from the rates (operations a second) at growing sizes; formats are compared at equal size."""
    last = min(len(bf16), len(fp32)) - 1  # either may have ended early
    return Calibration(fp32[-1] / 1e9, bf16[-1] / 1e9, last > 0 and bf16[last] > ADVANTAGE * fp32[last], seconds)


def product_rates(
    product_at: Callable[[Size], Callable[[], object]],
    at_least: list[float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Measure operations a second at growing sizes, the best of several tries each.

    Stops early when products get long, or when the rate is below a fifth of `at_least` at the same size: that format
    has no hardware.
    """
    rates: list[float] = []
    began = clock()
    for position, size in enumerate(SIZES):
        seconds = _shortest(product_at(size), clock, until=began + BUDGET_S * (position + 1) / len(SIZES))
        rates.append(2.0 * size[0] * size[1] * size[2] / seconds)
        hopeless = at_least is not None and rates[-1] < at_least[min(position, len(at_least) - 1)] / 5
        if hopeless or seconds > LONGEST_PRODUCT_S:
            break
    return rates


def _shortest(product: Callable[[], object], clock: Callable[[], float], until: float) -> float:
    """Measure the seconds of the shortest of at least two calls, the first of which may set things up."""
    shortest = float("inf")
    for attempt in range(20):
        start = clock()
        product()
        end = clock()
        shortest = min(shortest, max(end - start, 1e-9))  # a coarse clock may show no time at all
        if (end > until and attempt) or end - start > LONGEST_PRODUCT_S:
            break
    return shortest


def product(size: Size, dtype: str, device: str) -> Callable[[], Any]:
    """Make a call that multiplies as a linear layer does, (rows, inner) by (columns, inner), and awaits the device.

    Not torch.mm: without hardware for bf16 it is 20 times slower than the layer, which has its own way.
    """
    import torch

    rows, inner, columns = size
    left = torch.randn(rows, inner, device=device).to(getattr(torch, dtype))
    right = torch.randn(columns, inner, device=device).to(getattr(torch, dtype))

    def run() -> None:
        torch.nn.functional.linear(left, right)
        _wait(device)

    return run


def _wait(device: str) -> None:
    import torch

    # A device returns before it has finished.
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()


@lru_cache(maxsize=8)
def calibrate(threads: int, device: str = "cpu") -> Calibration:
    """Measure, in about a second; the answer is kept for the life of the process."""
    return measure_products(threads, device)


def measure_products(
    threads: int,
    device: str,
    product: Callable[[Size, str, str], Callable[[], object]] = product,
    product_rates: Callable[..., list[float]] = product_rates,
) -> Calibration:
    """Measure the rates of products in both number formats."""
    import torch

    start = time.perf_counter()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        product(SIZES[0], "float32", device)()  # sets the device up: on CUDA seconds, which are no part of a product
        fp32 = product_rates(lambda size: product(size, "float32", device))
        bf16 = product_rates(lambda size: product(size, "bfloat16", device), at_least=fp32)
    finally:
        torch.set_num_threads(before)
    return judge(fp32, bf16, time.perf_counter() - start)


def expected_seconds(
    flops: float, calibration: Calibration, kind: Literal["inference", "training"] = "inference", dtype: str = "fp32"
) -> float:
    """Predict how long forward passes of `flops` operations take, or training steps with such forward passes."""
    rate = (calibration.gflops_bf16 if dtype == "bf16" else calibration.gflops_fp32) * 1e9
    if kind == "training":
        return TRAINING_PASSES * flops / (rate * TRAINING_EFFICIENCY)
    return flops / (rate * INFERENCE_EFFICIENCY)


# The most floating-point operations a second that this machine reaches: what a model's own rate is held against. The best of
# square products of 1024 to 4096 and of the model's own products, in a process of its own with the same threads.

SQUARES: tuple[Size, ...] = tuple((side, side, side) for side in (1024, 2048, 4096))
TRIES_S = 0.25  # per size
FEWEST_TRIES = 2  # the first sets things up
ENOUGH_S = 0.5  # a product that takes longer is tried once: a pause in it weighs little
LONGEST_S = 1.5  # no larger one follows one that takes longer
LIMIT_S = 120.0  # for the whole process, its imports included: a ceiling is not worth a session that hangs


def ceiling(settings: ExecutionSettings, sizes: Sequence[Size]) -> tuple[float, Size] | None:
    """Measure the FLOP/s of the fastest product and its size; None if it could not be measured.

    The fork server must have been told what workers need (`workers.preload`), if it is not running yet.
    """
    with Child.start(_send_fastest, settings, tuple(sizes), name="bertbench ceiling") as child:
        try:
            fastest_product: tuple[float, Size] | None = child.receive(LIMIT_S)
        except (ChildDiedError, TimeoutError):
            return None
    return fastest_product


def model_sizes(tokens: int, hidden: int, inner: int) -> list[Size]:
    """List the products of a layer over `tokens` tokens: projections and feed-forward."""
    return [(tokens, hidden, hidden), (tokens, hidden, inner), (tokens, inner, hidden)]


def _send_fastest(connection: Connection, settings: ExecutionSettings, sizes: Sequence[Size]) -> None:
    """Send the fastest product, or None where none can be computed."""
    behave_as_child()

    def of(size: Size) -> Callable[[], object]:
        return product(size, DTYPES[settings.dtype], settings.device)

    with suppress(OSError):
        try:
            connection.send(fastest(of, sizes, settings.threads))
        except Exception:  # noqa: BLE001 (a ceiling is not worth a failure)
            connection.send(None)


def fastest(
    product_of: Callable[[Size], Callable[[], object]],
    sizes: Sequence[Size],
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, Size] | None:
    """Find the best rate in FLOP/s over `sizes` and where it was reached; sizes that are too slow end the search."""
    import torch

    torch.set_num_threads(threads)
    best: tuple[float, Size] | None = None
    # From small to large, so that the search ends before what takes too long.
    for size in sorted(set(sizes), key=lambda size: size[0] * size[1] * size[2]):
        seconds = _shortest_time(product_of(size), clock)
        rate = 2.0 * size[0] * size[1] * size[2] / seconds
        if best is None or rate > best[0]:
            best = (rate, size)
        if seconds > LONGEST_S:
            break
    return best


def _shortest_time(product: Callable[[], object], clock: Callable[[], float]) -> float:
    times: list[float] = []
    while len(times) < FEWEST_TRIES or sum(times) < TRIES_S:
        start = clock()
        product()
        times.append(clock() - start)
        if times[0] > ENOUGH_S:
            break
    return max(min(times), 1e-9)
