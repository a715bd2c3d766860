"""Which workers are alive together: blocks of at most four within memory, opened in turn, the reference in each."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bertbench import processes
from bertbench.errors import BertBenchError, MeasurementError
from bertbench.models.checkpoints import predicted_bytes, read_config
from bertbench.models.lengths import check_length, limit_of
from bertbench.models.token_ids import Inputs
from bertbench.processes import Padding
from bertbench.records.cautions import Caution, caution
from bertbench.records.environment import available_memory, system_settings
from bertbench.records.record import Failure, SystemSettings
from bertbench.specs.timing import ExecutionSettings, ShapeSpec, TimingSpec
from bertbench.speed.rounds import Cell, WorkerError, failure_of
from bertbench.speed.servant import USUAL_WARMUP, TextSource, WorkerPlan
from bertbench.speed.watch import Watch, busy_machine
from bertbench.speed.workers import Interpreter, WorkerProcess, open_workers

MOST_WORKERS = 4  # more would each wait longer between turns than a slow moment of the machine lasts
MEMORY_SHARE = 0.6  # of what is free: workers must not be the reason for swapping


@dataclass(frozen=True)
class Probes:
    """What measuring asks of the machine it runs on: its processes, its memory and what else it does."""

    open_workers: Callable[..., AbstractContextManager[list[WorkerProcess]]] = open_workers
    available_memory: Callable[[], int] = available_memory
    predicted_bytes: Callable[[Path, ExecutionSettings, Sequence[ShapeSpec]], int] = predicted_bytes
    busy_machine: Callable[[], list[Caution]] = busy_machine
    system_settings: Callable[[], SystemSettings] = system_settings
    watch: Callable[[], Watch] = Watch
    renew_processes: Callable[[], None] = processes.renew  # the next workers come from another server


THIS_MACHINE = Probes()


@dataclass(frozen=True)
class SpeedTarget:
    """What is timed: the name of its rows, the local folder it is loaded from, how it is run, and the model it is of.

    `interpreter` is the environment that runs it; None: this one.
    """

    name: str
    folder: Path
    settings: ExecutionSettings = field(default_factory=ExecutionSettings)
    model: str = ""
    interpreter: Interpreter | None = None

    @property
    def model_name(self) -> str:
        """The model; several targets may be of one, on other back-ends."""
        return self.model or self.name


@dataclass(frozen=True)
class TaskInputs:
    """A task's examples for one model: token ids, and the texts they come from where tokenizing is timed too.

    `batches` says by batch size which examples go together where a whole split is taken.
    """

    ids: Inputs
    text: TextSource | None = None
    batches: Mapping[int, Sequence[Sequence[int]]] = field(default_factory=dict)


Inspect = Callable[[int, Sequence[WorkerProcess]], None]  # a round's number and its workers, before they are closed


class Blocks:
    """Opens the workers of every round; keeps who cannot take part, and what is to be said."""

    def __init__(
        self,
        timing: TimingSpec,
        seed: int,
        natural: Mapping[str, TaskInputs],
        warmups: Mapping[str, int] | None,
        inspect: Sequence[Inspect] = (),
        probes: Probes = THIS_MACHINE,
    ) -> None:
        self.timing = timing
        self.seed = seed
        self.natural = natural
        self.warmups = warmups  # by target; None: nobody asks
        self.inspect = inspect
        self.probes = probes
        self.reference = ""
        self.blocks: list[list[SpeedTarget]] = []
        self.failures: dict[str, Failure] = {}
        self.cells: dict[Cell, Failure] = {}
        self.warnings: list[Caution] = []
        self.attentions: dict[str, str] = {}  # by target the attention in use, 'none' where that is no question
        self.paddings: dict[tuple[int, str], Padding] = {}  # of the environment, by round and target

    def plan(self, targets: Sequence[SpeedTarget], reference: str) -> None:
        """Fill `blocks` with what can take at least one shape; shapes that are too long or large go to `cells`."""
        self.reference = reference
        budget = int(self.probes.available_memory() * MEMORY_SHARE)
        needed: dict[str, int] = {}
        # The reference first: it lives in every block, so the others get what it leaves.
        for target in sorted(targets, key=lambda target: target.name != reference):
            of_reference = needed.get(reference, 0) if target.name != reference else 0
            try:
                needed[target.name] = self._fit(target, budget - of_reference)
            except BertBenchError as error:
                self.failures[target.name] = failure_of(error)
        fitting = [target for target in targets if target.name in needed]
        self.blocks = packed(fitting, reference, needed, budget)

    def _fit(self, target: SpeedTarget, budget: int) -> int:
        """Predict the bytes of a target with its largest feasible shape; note the shapes that are not.

        Raises:
            MeasurementError: no shape is feasible; CheckpointError: there is no model.
        """
        largest, problem = 0, None
        for shape in self.timing.shapes:
            try:
                _check_length(target, shape, self.natural.get(target.model_name))
                bytes_needed = self.probes.predicted_bytes(target.folder, target.settings, [shape])
                _check_memory(target.name, bytes_needed, budget)
                largest = max(largest, bytes_needed)
            except MeasurementError as error:
                problem = error
                self.cells[target.name, shape.label] = failure_of(error)
        if not largest:
            raise problem or MeasurementError(
                f"{target.name}: no shape is left to time", "give a fixed sequence length"
            )
        return largest

    @contextmanager
    def open(self, number: int, failed: Collection[str]) -> Iterator[Sequence[WorkerProcess]]:
        """Open a round's workers; none if only the reference is left of its block while others live elsewhere."""
        gone = {*failed, self.reference}
        blocks = [[target for target in block if target.name not in failed] for block in self.blocks]
        paired = [any(target.name not in gone for target in block) for block in blocks]
        turn = number % len(blocks)
        alive = blocks[turn] if paired[turn] or not any(paired) else []
        with self.probes.open_workers(
            [self._plan_of(target) for target in alive], [target.interpreter for target in alive]
        ) as workers:
            for worker, target in zip(workers, alive, strict=True):
                self._note_attention(worker, target)
                self.paddings[number, target.name] = worker.padding
            if self.timing.same_cores:
                keep_to(cores_of(number // len(blocks), alive), workers)
            yield workers
            for look in self.inspect:
                look(number, workers)

    def _plan_of(self, target: SpeedTarget) -> WorkerPlan:
        inputs = self.natural.get(target.model_name)
        return WorkerPlan(
            name=target.name,
            folder=target.folder,
            settings=target.settings,
            seed=self.seed,
            natural=inputs.ids if inputs else (),
            text=inputs.text if inputs else None,
            batches=inputs.batches if inputs else {},
            warmup_passes=USUAL_WARMUP if self.warmups is None else self.warmups.get(target.name),
            timeout_s=self.timing.timeout_s,
        )

    def _note_attention(self, worker: WorkerProcess, target: SpeedTarget) -> None:
        try:
            used = worker.loaded().attention
        except WorkerError:
            return  # its first use reports it
        self.attentions[target.name] = used
        if target.settings.backend.replace("_", "-") != "eager-attention" and used != "none":
            asked = target.settings.attention
            if used != asked:
                self.warnings.append(caution("other-attention", worker.name, asked=asked, used=used, verb="timed"))


AFFINITY: Callable[[int], set[int]] | None = getattr(
    os, "sched_getaffinity", None
)  # of a process; not on macOS, Windows


def cores_of(
    number: int,
    targets: Sequence[SpeedTarget],
    affinity: Callable[[int], set[int]] | None = AFFINITY,
) -> set[int]:
    """Choose the cores that a round's workers share, others in the next; none if they take all or run elsewhere.

    What runs alternately on two cores finds each of them idle for as long as the other worked, clocked down or taken by a
    neighbour: on a virtual machine of 2 cores ratios of rounds deviate by 8 %, on one and the same core by 1 to 3 %.
    """
    threads = max((target.settings.threads for target in targets), default=0)
    if affinity is None or any(target.settings.device != "cpu" for target in targets):
        return set()
    usable = sorted(affinity(0))
    if not 0 < threads < len(usable):
        return set()
    return {usable[(number * threads + thread) % len(usable)] for thread in range(threads)}


def keep_to(cores: set[int], workers: Sequence[WorkerProcess]) -> None:
    # Thread by thread: setting it for a process reaches its main thread only.
    """Have the threads of all workers run there; threads that they start later do as well."""
    for worker in workers if cores else ():
        with suppress(OSError):  # it has died, which its first use reports; or the system does not let us
            for thread in Path(f"/proc/{worker.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def _check_length(target: SpeedTarget, shape: ShapeSpec, inputs: TaskInputs | None) -> None:
    if shape.sequence_length is not None:
        longest = shape.sequence_length
    elif inputs and inputs.ids:
        longest = max(len(ids) for ids in inputs.ids)
    else:
        raise MeasurementError(f"{target.name}: there are no inputs of natural length for it")
    check_length(target.name, limit_of(read_config(target.folder)), longest)


def _check_memory(name: str, needed: int, budget: int) -> None:
    if needed > budget:
        raise MeasurementError(
            f"{name}: about {needed / 1e9:.1f} GB of memory are needed, and {max(budget, 0) / 1e9:.1f} GB may be used",
            "use a smaller batch size or shorter inputs, or close other programs",
        )


def packed(
    targets: Sequence[SpeedTarget], reference: str, needed: Mapping[str, int], budget: int
) -> list[list[SpeedTarget]]:
    """Pack targets into blocks of at most MOST_WORKERS within the budget, in order, the reference first in each.

    A back-end's targets begin a block of their own if they would else be torn apart: models are compared within one.
    """
    first = [target for target in targets if target.name == reference]
    others = [target for target in targets if target.name != reference]
    blocks: list[list[SpeedTarget]] = []
    room = MOST_WORKERS - len(first)
    for target in others:
        block = blocks[-1] if blocks else None
        total = sum(needed[member.name] for member in block or ()) + needed[target.name]
        kin = [other for other in others if other.settings == target.settings]
        begins = target is kin[0] and block is not None and len(block) - len(first) + len(kin) > room >= len(kin)
        if block is None or begins or len(block) == MOST_WORKERS or total > budget:
            blocks.append([*first, target])
        else:
            block.append(target)
    return blocks or ([first] if first else [])
