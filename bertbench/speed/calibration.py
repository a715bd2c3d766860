"""How fast this machine computes: the ceiling that models reach for, and passes of a model, to expect how long something takes.

Products have the sizes of an encoder's, so the ceiling is what a model can hope for, not the processor's peak.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bertbench.models.products import TOKENS_PER_BATCH, quickest_products, useful_threads
from bertbench.processes import Child, ChildDiedError, behave_as_child
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.eager import DTYPES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Size = tuple[int, int, int]  # rows, inner, columns


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


# Passes of a model with random weights: what forecasts rest on.

TRIES = 3  # of each shape; the least counts, as noise only adds
# Many passes on end also wait for programs beside them, as single ones may not: a few turns of the scheduler long.
WINDOW_S = 0.05
TRAINING_PASSES = 3.4  # forward, gradients of inputs and of weights, and the slower operators of a backward pass
SMALL_PASS_S = 0.05  # of a pass, up to which a training step is timed and not reckoned
SHORT_PASSES_S, MOST_TRIES = 0.15, 60  # of each shape
LONG_PASS_S = 0.5  # a longer pass is tried until two are alike
ALIKE = 1.25
LONGEST_PROBE_S = 6.0  # planning comes out of the time that is planned


class ProbedShape(NamedTuple):
    """Inputs of so many tokens in a pass, run as for this use: with its threads, and the products that scores are computed by."""

    inputs: int
    tokens: int
    use: Literal["timing", "training", "evaluating"] = "timing"


def pass_seconds(
    config: PretrainedConfig,
    shapes: Sequence[ProbedShape],
    settings: ExecutionSettings,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Measure the seconds of a pass of the encoder at each shape, the least of several; for training those of a whole step.

    Raises:
        ConfigError, CheckpointError: the model cannot be built, or is too large for this machine.
    """
    import torch

    from bertbench.models.architecture import random_model

    before = torch.get_num_threads()
    try:
        model = random_model(config, attention=settings.attention).to(settings.device)
        prober = _Prober(model, settings, clock)
        return [prober.step(shape) if shape.use == "training" else prober.forward(shape) for shape in shapes]
    finally:
        torch.set_num_threads(before)


class _Prober:
    """Times passes of a model; one that is run as an earlier one is not timed again."""

    def __init__(self, model: Any, settings: ExecutionSettings, clock: Callable[[], float]) -> None:
        self.model = model
        self.settings = settings
        self.clock = clock
        self.known: dict[tuple[int, int, int, bool], float] = {}

    def forward(self, shape: ProbedShape) -> float:
        """Return the seconds of a pass without gradients."""
        import torch

        threads, evaluating = _threads(self.model, shape, self.settings.threads), shape.use == "evaluating"
        key = (shape.inputs, shape.tokens, threads, evaluating)
        if key not in self.known:
            torch.set_num_threads(threads)
            inputs = self._inputs(shape)

            def run() -> None:
                self.model(**inputs)
                _wait(self.settings.device)

            with torch.inference_mode(), quickest_products(self.model) if evaluating else nullcontext():
                self.known[key] = _least(run, self.clock, 0.0 if shape.use == "timing" else WINDOW_S)
        return self.known[key]

    def step(self, shape: ProbedShape) -> float:
        """Return the seconds of a training step: of a small model measured, as much of it is no product; else from a pass."""
        import torch

        forward = self.forward(shape)
        if forward > SMALL_PASS_S:
            return TRAINING_PASSES * forward
        torch.set_num_threads(_threads(self.model, shape, self.settings.threads))
        inputs = self._inputs(shape)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)
        self.model.train()

        def run() -> None:
            self.model(**inputs)[0].float().square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            _wait(self.settings.device)

        try:
            return _least(run, self.clock, WINDOW_S)
        finally:
            self.model.eval()

    def _inputs(self, shape: ProbedShape) -> dict[str, Any]:
        import torch

        ids = torch.ones(shape.inputs, shape.tokens, dtype=torch.long, device=self.settings.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _threads(model: Any, shape: ProbedShape, asked: int) -> int:
    """Return the threads of a use: what is timed has all that were asked for."""
    if shape.use == "timing":
        return asked
    return useful_threads(model, TOKENS_PER_BATCH if shape.use == "evaluating" else shape.inputs * shape.tokens, asked)


def _least(run: Callable[[], None], clock: Callable[[], float], window_s: float) -> float:
    """Time passes for `window_s` at least, again and again, and return the seconds of a pass of the quickest window."""
    times: list[float] = []
    while not _is_enough(times, window_s):
        start, passes = clock(), 1
        run()
        while (passed := clock() - start) < window_s:
            run()
            passes += 1
        times.append(passed / passes)
    return max(min(times), 1e-9)


def _is_enough(times: Sequence[float], window_s: float) -> bool:
    """Tell whether the quickest of the tries can be believed."""
    if len(times) < 2:
        return False
    if max(times[1:]) > LONG_PASS_S:
        # The first is slower for what it sets up; a pause of the machine hardly takes two tries for as long.
        least, second = sorted(times)[:2]
        return second <= ALIKE * least or sum(times) > LONGEST_PROBE_S
    # Short passes are tried more often: beside busy programs most of them wait for a thread that does not run.
    is_short = not window_s and sum(times) < SHORT_PASSES_S and len(times) < MOST_TRIES
    return len(times) > TRIES and not is_short


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
