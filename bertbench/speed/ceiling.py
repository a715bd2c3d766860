"""The most floating-point operations a second that this machine reaches: what a model's own rate is held against.

The best of square products of 1024 to 4096 and of the model's own products, in a process of its own with the same threads.
Not aware of models: it is given the sizes of their products.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from bertbench import processes
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.calibration import product

Size = tuple[int, int, int]  # rows, inner, columns

SQUARES: tuple[Size, ...] = tuple((side, side, side) for side in (1024, 2048, 4096))
TRIES_S = 0.25  # per size
FEWEST_TRIES = 2
ENOUGH_S = 0.5  # a product that takes longer is tried once: a pause in it weighs little
LONGEST_S = 1.5  # no larger one follows one that takes longer
LIMIT_S = 120.0


def ceiling(settings: ExecutionSettings, sizes: Sequence[Size]) -> tuple[float, Size] | None:
    """FLOP/s of the fastest product and its size; None if it could not be measured.

    The fork server must have been told what workers need (`workers.preload`), if it is not running yet.
    """
    context = processes.context()
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(theirs, settings, tuple(sizes)), name="bertbench ceiling", daemon=True)
    processes.start(child)
    theirs.close()
    try:
        if not ours.poll(LIMIT_S):
            return None
        found: tuple[float, Size] | None = ours.recv()
    except (EOFError, OSError):
        return None
    finally:
        ours.close()
        child.kill()
        child.join()
    return found


def model_sizes(tokens: int, hidden: int, inner: int) -> list[Size]:
    """The products of a layer over `tokens` tokens: projections and feed-forward."""
    return [(tokens, hidden, hidden), (tokens, hidden, inner), (tokens, inner, hidden)]


def _child(connection: Connection, settings: ExecutionSettings, sizes: Sequence[Size]) -> None:
    from bertbench.speed.backends.eager import DTYPES

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
    """The best rate in FLOP/s over `sizes` and where it was reached; sizes that are too slow end the search."""
    import torch

    torch.set_num_threads(threads)
    best: tuple[float, Size] | None = None
    for size in sorted(set(sizes), key=lambda size: size[0] * size[1] * size[2]):
        seconds = _shortest(product_of(size), clock)
        rate = 2.0 * size[0] * size[1] * size[2] / seconds
        if best is None or rate > best[0]:
            best = (rate, size)
        if seconds > LONGEST_S:
            break
    return best


def _shortest(product: Callable[[], object], clock: Callable[[], float]) -> float:
    times: list[float] = []
    while len(times) < FEWEST_TRIES or sum(times) < TRIES_S:
        start = clock()
        product()
        times.append(clock() - start)
        if times[0] > ENOUGH_S:
            break
    return max(min(times), 1e-9)
