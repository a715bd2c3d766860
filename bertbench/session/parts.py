"""The grid of a session in units that can be measured on different machines, and the part of it that one machine does.

A unit is size, speed and memory of all models, whose ratios exist only side by side; or one model on one task, a seed at a
time where it is trained. A student's unit trains its teacher, too, where that is another unit's: nothing is passed on between
machines. Units follow from the specs alone, so that every machine cuts the grid alike, without weights or data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bertbench.errors import UsageError
from bertbench.records.record import Kind
from bertbench.specs.models import ModelSpec
from bertbench.specs.tasks import TaskSpec

SeedPair = tuple[int, int | None]  # of initialization, and of the data where it has its own

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a grid, `index` from 1: it does every count-th unit."""

    index: int
    count: int

    def __str__(self) -> str:
        """Write it as the option has it."""
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read 'i/n'.

        Raises:
            UsageError: it is something else.
        """
        numbers = text.strip().split("/")
        is_pair = len(numbers) == 2 and all(number.isascii() and number.isdecimal() for number in numbers)
        index, count = map(int, numbers) if is_pair and len(text) < 20 else (0, 0)
        if not 1 <= index <= count <= MOST_SHARDS:
            raise UsageError(
                f"--shard {text}: expected i/n, such as 2/4, with i from 1 to n and n up to {MOST_SHARDS:,}",
                "in a SLURM array of 1-4: --shard $SLURM_ARRAY_TASK_ID/4",
            )
        return cls(index, count)


@dataclass(frozen=True)
class Unit:
    """What is measured on one machine: a model on a task, with these seeds; or, without a task, the cost of all models.

    `teachers` are the models that must be trained before it, on the same task; `data_seeds` has one for each of `seeds`.
    """

    model: str | None = None
    task: str | None = None
    seeds: tuple[int, ...] = ()
    teachers: tuple[str, ...] = ()
    data_seeds: tuple[int | None, ...] = ()

    @property
    def is_cost(self) -> bool:
        """True of size, speed and memory."""
        return self.task is None

    @property
    def pairs(self) -> tuple[SeedPair, ...]:
        """The seeds of its runs."""
        return tuple(zip(self.seeds, self.data_seeds or (None,) * len(self.seeds), strict=True))

    @property
    def label(self) -> str:
        """Name it for people."""
        if self.task is None:
            return "size, speed and memory"
        of_data = f"/{self.data_seeds[0]}" if self.data_seeds and self.data_seeds[0] is not None else ""
        seed = f", seed {self.seeds[0]}{of_data}" if len(self.seeds) == 1 else ""
        return f"{self.model} on {self.task}{seed}"


@dataclass(frozen=True)
class GridPart:
    """The units that one machine does, under a label such as '2/4', and the whole grid that they are of.

    `numbers` are the units' places in the grid, which has `total`; names and kinds are those of the whole grid.
    """

    label: str
    units: tuple[Unit, ...]
    numbers: tuple[int, ...]
    total: int
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    kinds: tuple[Kind, ...]
    reference: str

    @property
    def has_cost(self) -> bool:
        """Tell whether size, speed and memory are in it."""
        return any(unit.is_cost for unit in self.units)

    @property
    def note(self) -> str:
        """Say to readers what of the grid a session has."""
        return f"shard {self.label}: {len(self.units)} of {self.total} cells of the grid; `bertbench merge` joins its shards"

    def needs_model(self, name: str) -> bool:
        """Tell whether a model is measured in it, or trained to teach another."""
        return self.has_cost or any(name == unit.model or name in unit.teachers for unit in self.units)

    def needs_task(self, name: str) -> bool:
        """Tell whether a task's data is used: timing chooses its texts among all tasks."""
        return self.has_cost or any(unit.task == name for unit in self.units)

    def takes(self, model: str, task: str, seeds: SeedPair, first_seed: int) -> bool:
        """Tell whether a cell belongs to it; what is evaluated as it is has the first seed alone, and none of the data."""
        for unit in self.units:
            is_in = seeds in unit.pairs or (seeds[1] is None and seeds[0] in unit.seeds)
            if unit.task == task and unit.model == model and is_in:
                return True
            if unit.task == task and model in unit.teachers and (is_in or seeds == (first_seed, None)):
                return True
        return False

    def as_json(self) -> dict[str, Any]:
        """Describe it for the session's record."""
        return {
            "label": self.label,
            "units": list(self.numbers),
            "total": self.total,
            "reference": self.reference,
            "models": list(self.models),
            "tasks": list(self.tasks),
            "kinds": list(self.kinds),
        }


def units_of(
    models: Sequence[ModelSpec],
    tasks: Sequence[TaskSpec],
    seeds: Sequence[SeedPair],
    kinds: Sequence[Kind],
    *,
    finetune: bool,
) -> list[Unit]:
    """List the units of a grid: the cost of all models first, then task by task and model by model."""
    units = [Unit()] if any(kind != "quality" for kind in kinds) else []
    if "quality" not in kinds:
        return units
    by_name = {spec.name: spec for spec in models}
    for task in tasks:
        for spec in models:
            teachers = _teachers(spec, by_name)
            # Published as fine-tuned, it is evaluated once for all seeds; and if it cannot be had, trained with all of them.
            is_published = task.name in spec.finetuned and not finetune and spec.distill is None
            pairs_apart = [seeds] if is_published else [(pair,) for pair in seeds]
            units += [_unit(spec.name, task.name, pairs, teachers) for pairs in pairs_apart]
    return units


def _unit(model: str, task: str, pairs: Sequence[SeedPair], teachers: tuple[str, ...]) -> Unit:
    """Make a unit of these runs; without seeds of the data where none has its own."""
    of_data = tuple(data_seed for _, data_seed in pairs)
    has_own = any(data_seed is not None for data_seed in of_data)
    return Unit(model, task, tuple(seed for seed, _ in pairs), teachers, of_data if has_own else ())


def _teachers(spec: ModelSpec, by_name: dict[str, ModelSpec]) -> tuple[str, ...]:
    """Name a model's teacher, its teacher's teacher and so on."""
    names: list[str] = []
    while spec.distill is not None and spec.distill.teacher in by_name and spec.distill.teacher not in names:
        names.append(spec.distill.teacher)
        spec = by_name[names[-1]]
    return tuple(names)
