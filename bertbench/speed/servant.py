"""The child's side of a worker: it holds one model and answers requests over a pipe until the pipe closes.

Everything that is not the pass itself (ids, tensors, the
tokenizer) is made before a clock is read. Whatever happens inside is answered as a Failure.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bertbench.errors import BertBenchError, first_line
from bertbench.models.checkpoints import modeling_module
from bertbench.models.loading import open_tokenizer
from bertbench.models.token_ids import Encoded, Inputs, natural_ids, padded, random_ids
from bertbench.processes import behave_as_child
from bertbench.records.record import Failure
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed import process_memory
from bertbench.speed.backend import DeviceMemory, LoadedModel
from bertbench.speed.process_memory import TrainingMemory, measure_training_memory
from bertbench.speed.rounds import TurnSeconds, failure_of
from bertbench.stats import queueing

if TYPE_CHECKING:
    from bertbench.speed.backend import Floats

OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|bad allocation|bad_alloc", re.IGNORECASE
)
Row = TypeVar("Row")

USUAL_WARMUP = 3  # passes, where nothing is known of the model
# A first warm-up that is noted: so many passes and seconds, fewer where passes are long.
COLD_PASSES, COLD_S = 10, 0.3
FEWEST_COLD, LONGEST_COLD_S = 6, 1.0


@dataclass(frozen=True)
class TextSource:
    """Texts that natural inputs were made of, a tuple of one or two an example, with the tokenizer and its limit."""

    texts: Sequence[tuple[str, ...]]
    tokenizer: str | Path
    max_length: int


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is to load.

    `natural` holds the token ids of examples for shapes of natural length, `text` what they were made of, `batches` by size
    which of them go together where a whole split is taken; `seed` picks the ids of other shapes. `warmup_passes` is what
    the model needs where the protocol does not say; None: nobody knows, and the first warm-up is long and noted by pass. A
    request that takes longer than `timeout_s` (loading and warming up: ten times as long) ends the worker.
    """

    name: str
    folder: Path
    settings: ExecutionSettings
    seed: int = 0
    natural: Inputs = ()
    text: TextSource | None = None
    batches: Mapping[int, Sequence[Sequence[int]]] = field(default_factory=dict)
    warmup_passes: int | None = USUAL_WARMUP
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Loaded:
    """What a worker says of itself: the attention in use, resident bytes before and after loading (None: not known)."""

    attention: str
    baseline_bytes: int | None
    resident_bytes: int | None


@dataclass(frozen=True)
class MemoryReading:
    """Most resident bytes while passes ran, whether that peak began at these passes, and the device's own peaks."""

    peak_bytes: int | None
    was_reset: bool
    device: DeviceMemory | None


def serve(connection: Connection, plan: WorkerPlan) -> None:
    """Load the model, then answer requests until the pipe closes."""
    behave_as_child()
    with suppress(EOFError, OSError):  # the parent has gone
        try:
            servant = Servant(plan)
        except Exception as error:  # noqa: BLE001 - the parent reports it
            connection.send(_failure(plan.name, error))
            return
        connection.send(servant.loaded)
        while True:
            request, arguments = connection.recv()
            try:
                reply = getattr(servant, request)(*arguments)
            except Exception as error:  # noqa: BLE001 - the parent reports it
                reply = _failure(plan.name, error)
            connection.send(reply)


class _Pass(NamedTuple):
    """Seconds of one pass: the model alone, and, from text, the tokenizer and everything."""

    model: float
    tokenization: float | None
    end_to_end: float | None


class Servant:
    """A loaded model and its inputs; its public methods are the requests."""

    def __init__(self, plan: WorkerPlan) -> None:
        gc.disable()  # a collection would lengthen the pass it falls into
        gc.freeze()  # what was inherited is not looked through again
        os.environ["RAYON_NUM_THREADS"] = str(plan.settings.threads)  # the tokenizer's threads, for batches
        backend = plugins.load("bertbench.speed.backends", "back-end", plan.settings.backend)
        backend.start(plan.settings)
        if "transformers" in sys.modules:  # the model's code is no model's memory; a forked worker has it already
            with suppress(ImportError):
                importlib.import_module(modeling_module(plan.folder) or "transformers")
        baseline = process_memory.resident_bytes()
        self.plan = plan
        self.model: LoadedModel = backend.load(plan.folder, plan.settings)
        self.loaded = Loaded(self.model.attention, baseline, process_memory.resident_bytes())
        self.batches: dict[tuple[ShapeSpec, int], Any] = {}
        self.last: Any = None  # what the newest timed pass gave
        self.last_input = ("", 0)
        self.cold: list[float] = []
        self.tokenizer: Any = None
        # What loading left is collected now, and not looked through again.
        gc.collect()
        gc.freeze()

    def warm_up(self, shape: ShapeSpec, passes: int | None) -> None:
        """Run passes that nobody times; of a model that nobody knows enough to see when it became steady."""
        batch = self._batch(shape, 0)
        wanted = self.plan.warmup_passes if passes is None else passes
        if wanted is None and not self.cold:
            while not self._is_warm():
                self.cold.append(self.model.seconds(batch)[0])
            return
        for _ in range(USUAL_WARMUP if wanted is None else wanted):
            self.model.run(batch)

    def _is_warm(self) -> bool:
        """Tell whether enough passes were noted, fewer of long ones."""
        enough = len(self.cold) >= COLD_PASSES and sum(self.cold) >= COLD_S
        return enough or (len(self.cold) >= FEWEST_COLD and sum(self.cold) > LONGEST_COLD_S)

    def cold_seconds(self) -> list[float]:
        """Return the seconds of a cold worker's first passes, where they were noted."""
        return self.cold

    def turn(self, shape: ShapeSpec, index: int, passes: int, min_s: float) -> TurnSeconds:
        """Run one untimed pass, then timed ones over the same input, or over the next ones of a whole split.

        A turn of a whole split ends with the split, so that its last turns may hold no timed pass.
        """
        indices = [index]
        if shape.whole_split:
            count = len(self.plan.batches[shape.batch_size])
            indices = list(range(index * passes, min((index + 1) * passes, count))) or [0]
            passes, min_s = (len(indices), 0.0) if index * passes < count else (0, 0.0)
        self.last_input = (shape.label, 0 if shape.sequence_length else index)
        run = self._from_text if shape.sequence_length is None and self.plan.text is not None else self._from_ids
        untimed = run(shape, indices[0]).model
        timed: list[_Pass] = []
        total = 0.0
        while len(timed) < passes or total < min_s:
            timed.append(run(shape, indices[len(timed) % len(indices)]))
            total += timed[-1].model
        parts = tuple(zip(*timed, strict=True)) or ((), (), ())
        if None in parts[1]:
            return TurnSeconds(untimed, parts[0])
        return TurnSeconds(untimed, *parts)

    def _from_ids(self, shape: ShapeSpec, index: int) -> _Pass:
        seconds, self.last = self.model.seconds(self._batch(shape, index))
        return _Pass(seconds, None, None)

    def _from_text(self, shape: ShapeSpec, index: int) -> _Pass:
        texts, limit = self._texts(shape, index)
        start = time.perf_counter()
        rows = self.tokenizer(*texts, truncation=True, max_length=limit)
        tokenized = time.perf_counter()
        batch = self.model.prepare(*padded(rows["input_ids"], self.model.pad_id))
        seconds, self.last = self.model.seconds(batch)
        return _Pass(seconds, tokenized - start, time.perf_counter() - start)

    def _texts(self, shape: ShapeSpec, index: int) -> tuple[list[list[str]], int]:
        """Pick a batch of texts by column, as a tokenizer takes them, and the most tokens."""
        text = self.plan.text
        assert text is not None  # noqa: S101 (callers have looked)
        if self.tokenizer is None:
            self.tokenizer = open_tokenizer(text.tokenizer, self.plan.name)
        rows = self._natural(shape, text.texts, index)
        return [list(column) for column in zip(*rows, strict=True)], text.max_length

    def _natural(self, shape: ShapeSpec, examples: Sequence[Row], index: int) -> list[Row]:
        """Pick the examples of a batch: the next ones, or those that a whole split puts together."""
        if shape.whole_split:
            return [examples[number] for number in self.plan.batches[shape.batch_size][index]]
        return natural_ids(shape, examples, index)

    def output(self) -> tuple[str, int, Floats] | None:
        """Return what the newest timed pass gave: the shape's label, the input's index, values; None without one."""
        return None if self.last is None else (*self.last_input, self.model.array(self.last))

    def outputs(self, rows: Sequence[Encoded], batch_size: int) -> list[Floats]:
        """Compute what the model gives for rows in batches of `batch_size`: a row's own positions, or its logits.

        Where every new shape costs a compilation, in batches of a shape that was timed.
        """
        shape = self._compiled_shape(max((len(row.ids) for row in rows), default=0))
        length, size = (shape.sequence_length, shape.batch_size) if shape else (None, batch_size)
        outputs: list[Floats] = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            full = [*part, *[part[0]] * (size - len(part))] if shape else part
            ids, mask = padded([row.ids for row in full], self.model.pad_id, length)
            types = None if part[0].types is None else padded([row.types or () for row in full], 0, length)[0]
            array = self.model.array(self.model.run(self.model.prepare(ids, mask, types)))
            outputs += [
                values[: len(row.ids)] if array.ndim == 3 else values for values, row in zip(array, part, strict=False)
            ]
        return outputs

    def _compiled_shape(self, length: int) -> ShapeSpec | None:
        """Find a fixed shape that has run and holds `length` tokens, if this back-end compiles anew for others."""
        if not self.model.code_per_shape:
            return None
        return next((shape for shape, _ in self.batches if (shape.sequence_length or 0) >= length), None)

    def memory(self, shape: ShapeSpec, passes: int) -> MemoryReading:
        """Measure the peak memory of `passes` passes."""
        batch = self._batch(shape, 0)
        was_reset = process_memory.reset_peak()
        self.model.device_memory(reset=True)
        for _ in range(passes):
            self.model.run(batch)
        return MemoryReading(process_memory.peak_bytes(), was_reset, self.model.device_memory())

    def training_memory(self, shape: ShapeSpec) -> TrainingMemory:
        """Measure the memory of one training step."""
        return measure_training_memory(self.model, self._batch(shape, 0))

    def serve_arrivals(self, shape: ShapeSpec, arrivals_s: Sequence[float], start: int) -> list[float]:
        """Measure the latencies of inputs that arrive at these times, one by one, the first being number `start`."""
        batches = [self._batch(shape, start + number) for number in range(len(arrivals_s))]
        return queueing.serve(lambda number: self.model.run(batches[number]), arrivals_s)

    def repeat(self, shape: ShapeSpec, seconds: float) -> int:
        """Run passes for at least so long; return how many there were."""
        batch = self._batch(shape, 0)
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.model.run(batch)
            count += 1
        return count

    def _batch(self, shape: ShapeSpec, index: int) -> Any:
        """Return the prepared input, made before anything is timed. Fixed shapes take the same one in every turn."""
        key = (shape, 0 if shape.sequence_length else index)
        if key not in self.batches:
            if shape.sequence_length is None:
                ids: Inputs = self._natural(shape, self.plan.natural, index)
            else:
                ids = random_ids(shape, self.model.vocabulary, self.plan.seed)
            self.batches[key] = self.model.prepare(*padded(ids, self.model.pad_id))
        return self.batches[key]


def _failure(name: str, error: Exception) -> Failure:
    """Say what the parent is told of an error in a worker."""
    if isinstance(error, BertBenchError):
        return failure_of(error)
    text = first_line(error, 1000)
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return Failure("OutOfMemory", f"{name}: out of memory ({text})", "use a smaller batch size or shorter inputs")
    return Failure(type(error).__name__, f"{name}: {type(error).__name__}: {text}")
