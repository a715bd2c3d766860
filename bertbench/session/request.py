"""What one command asks to have measured, checked and resolved; and the keys by which equal work is recognized."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from bertbench import processes
from bertbench.errors import CheckpointError, DatasetError, UsageError
from bertbench.records.record import MEASURE_VERSIONS, NOT_MEASURED, Kind, digest
from bertbench.session.parts import GridPart, Shard, Unit, units_of
from bertbench.session.starts import Start, digests_of
from bertbench.specs.models import ModelSpec
from bertbench.specs.suites import SuiteSpec, resolve
from bertbench.specs.tasks import TaskSpec, TrainingSpec
from bertbench.specs.timing import TimingSpec

DEFAULT_TRAIN_MINUTES = 10.0  # the cap on CPU without --finetune, for the slowest model
MANY_RUNS = 10
OUT_OF_TIME = "OutOfTime"  # the kind of failure of what did not fit into --max-minutes

APART = ("part", "without")  # what a request has that is not for a whole grid
EVERYTHING: tuple[Kind, ...] = ("size", "speed", "memory", "quality")


@dataclass(frozen=True)
class Options:
    """Resolved options of `run` and `compare`. None means: as the task's recipe, or the suite, says."""

    device: str = "cpu"
    dtype: str = "fp32"
    threads: int = 1
    seeds: tuple[int, ...] = (0,)  # of initialization, and of the data where `data_seeds` has none
    data_seeds: tuple[int, ...] = ()  # each goes with each of `seeds`
    train_samples: int | None = None
    eval_samples: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    max_length: int | None = None
    data_dir: Path | None = None
    finetune: bool = False
    max_train_minutes: float | None = None
    max_minutes: float | None = None
    may_use_bf16: bool = False  # evaluation, where it is faster and gives the same answers
    samples: bool = False  # evaluate as many examples as --max-minutes leaves time for; it bounds training, too
    keep_checkpoints: Literal["all", "best", "none"] = "all"
    recipes: str = (
        "published"  # what models are fine-tuned with: their own where there is one; task; or a recipe's name
    )
    fresh: bool = False
    attention: str = "sdpa"
    backends: tuple[str, ...] = ("eager",)
    dtypes: tuple[str, ...] = ()  # of timing; none: `dtype`
    server_bound_s: float | None = (
        None  # simulate a server with this bound on latency; 0: one that follows from the models
    )
    paper: str | None = None  # the published measurement that is repeated
    start_from: str | None = None  # the task whose checkpoint training starts from
    resample_training: bool = False  # each data seed draws its training examples anew, with replacement

    @property
    def seed_pairs(self) -> tuple[tuple[int, int | None], ...]:
        """The seeds of each run: of initialization, and of the data where that has its own."""
        return tuple((seed, data_seed) for seed in self.seeds for data_seed in self.data_seeds or (None,))

    @property
    def train_cap_s(self) -> float | None:
        """Seconds that fine-tuning one model may take, or None: what was asked for, else the default on CPU."""
        if self.max_train_minutes is not None:
            return self.max_train_minutes * 60
        return None if self.finetune or self.samples or self.device != "cpu" else DEFAULT_TRAIN_MINUTES * 60

    def recipe(
        self, task: TaskSpec, model: ModelSpec, published: Mapping[str, Any] = MappingProxyType({})
    ) -> TrainingSpec:
        """Apply the model's changes to the task's recipe, then what is `published`, then the options.

        Raises:
            UsageError: an option's value is outside the recipe's bounds.
        """
        names = ("epochs", "batch_size", "learning_rate", "max_length", "train_samples")
        return resolve(task, model, published, {name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Request:
    """What to measure. `may_be_random`: where no weights can be had, size and speed come from random ones.

    `recipes` holds published hyperparameters by model and task. `enough` is asked at looks whether timing may end.
    `without` are models on tasks whose scores are left out.
    """

    command: str
    argv: tuple[str, ...]
    suite: SuiteSpec
    models: tuple[ModelSpec, ...]
    reference: str
    tasks: tuple[TaskSpec, ...]
    options: Options
    may_be_random: bool
    timing: TimingSpec = field(default_factory=TimingSpec)
    kinds: tuple[Kind, ...] = EVERYTHING
    recipes: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    enough: Callable[[Mapping[str, Sequence[float]]], bool] | None = None
    starts: Mapping[str, Start] = field(default_factory=dict)  # by model, with --start-from
    part: GridPart | None = None  # of a larger grid, whose other parts other machines do
    without: frozenset[tuple[str, str]] = frozenset()

    @cached_property
    def units(self) -> list[Unit]:
        """What of the grid can be measured on machines of its own."""
        options = self.options
        return units_of(self.models, self.tasks, options.seed_pairs, self.kinds, finetune=options.finetune)

    def shard(self, shard: Shard) -> Request:
        """Return the request for one share: every n-th unit."""
        return self.only(range(shard.index - 1, len(self.units), shard.count), str(shard))

    def only(self, numbers: Sequence[int], label: str) -> Request:
        """Return the request for some units of the grid, with no more models, tasks and kinds than they need."""
        units = tuple(self.units[number] for number in numbers)
        models, tasks = names_of(self.models), names_of(self.tasks)
        part = GridPart(label, units, tuple(numbers), len(self.units), models, tasks, self.kinds, self.reference)
        needed = [spec for spec in self.models if part.needs_model(spec.name)]
        has_quality = any(not unit.is_cost for unit in units)
        return replace(
            self,
            models=tuple(needed),
            reference=self.reference if part.needs_model(self.reference) or not needed else needed[0].name,
            tasks=tuple(task for task in self.tasks if part.needs_task(task.name)),
            kinds=tuple(kind for kind in self.kinds if (has_quality if kind == "quality" else part.has_cost)),
            part=part,
        )

    def takes(self, model: str, task: str, seed: int, data_seed: int | None = None) -> bool:
        """Tell whether a cell is to be measured here."""
        is_here = self.part is None or self.part.takes(model, task, (seed, data_seed), self.options.seeds[0])
        return is_here and (model, task) not in self.without

    @property
    def time_limit_s(self) -> float | None:
        """Seconds of --max-minutes."""
        return None if self.options.max_minutes is None else self.options.max_minutes * 60

    @property
    def deadline(self) -> float | None:
        """time.monotonic() at which --max-minutes is used up."""
        minutes = self.options.max_minutes
        return None if minutes is None else self.started + minutes * 60

    def recipe(self, task: TaskSpec, model: ModelSpec) -> TrainingSpec:
        """Build the recipe that a model is fine-tuned with on a task.

        Raises:
            UsageError: an option's value is outside the recipe's bounds.
        """
        return self.options.recipe(task, model, self.recipes.get(model.name, {}).get(task.name, {}))

    def recipe_parts(self) -> dict[str, Any]:
        """Return the parts of `canonical` that need no look at weights, data and machine."""
        whole = self.canonical({spec.name: "" for spec in self.models}, {task.name: "" for task in self.tasks}, "")
        kept = {
            name: whole[name] for name in ("suite", "timing", "kinds", "versions", "teaching", *APART) if name in whole
        }
        return kept | {"tasks": list(whole["tasks"]), "options": _portable(whole["options"])}

    @property
    def needs_texts(self) -> bool:
        """True if nothing is measured but what takes a task's texts."""
        return "quality" not in self.kinds and all(shape.sequence_length is None for shape in self.timing.shapes)

    def check_recipes(self) -> None:
        """Find out before any work whether an option's value does not go with a recipe.

        Raises:
            UsageError: naming the option.
        """
        for task in self.tasks:
            for model in self.models:
                self.recipe(task, model)

    def canonical(self, digests: Mapping[str, str], data: Mapping[str, str], environment_class: str) -> dict[str, Any]:
        """Describe as JSON all that decides which figures come out; the store may answer equal requests.

        Args:
            digests: what identifies each model's weights.
            data: what identifies each task's data.
            environment_class: of this machine.
        """
        options = self.options
        return {
            "suite": self.suite.name,
            "reference": self.reference,
            "models": {spec.name: self._model_digest(spec, digests[spec.name]) for spec in self.models},
            "tasks": {task.name: digest([task.model_dump(mode="json", exclude={"test_sets", "useful_samples"}), data[task.name]]) for task in self.tasks},
            "timing": self.timing.model_dump(mode="json"),
            "options": {
                name: getattr(options, name)
                for name in (
                    "device", "dtype", "threads", "train_samples", "eval_samples", "epochs", "batch_size", "learning_rate",
                    "max_length", "finetune", "attention", "server_bound_s", "paper",
                )
            }
            | {"backends": list(options.backends), "dtypes": list(options.dtypes)}
            | {"seeds": list(options.seeds), "train_cap_s": options.train_cap_s}
            | ({"data_seeds": list(options.data_seeds)} if options.data_seeds else {})
            | ({"start_from": options.start_from} if options.start_from else {})
            | ({"resample_training": True} if options.resample_training else {})
            | ({"may_use_bf16": True} if options.may_use_bf16 else {})
            | ({"recipes": options.recipes} if "quality" in (self.part or self).kinds else {})
            | ({"processes": processes.world_size()} if processes.world_size() > 1 else {}),
            "kinds": list(self.kinds),
            "versions": MEASURE_VERSIONS,
            "teaching": {
                spec.name: digest([spec.distill.model_dump(mode="json"), spec.config]) for spec in self.models if spec.distill
            },
            "environment_class": environment_class,
        } | ({"part": self.part.as_json()} if self.part else {}) | ({"starts": digests_of(self.starts)} if self.starts else {}) | (
            {"without": [list(pair) for pair in sorted(self.without)]} if self.without else {}
        )  # fmt: skip

    def _model_digest(self, spec: ModelSpec, weights: str) -> str:
        """Identify a model by spec, weights and, where it has one of its own, recipe."""
        published = [
            {task: {key: value for key, value in values.items() if key != "source"} for task, values in recipes.items()}
            for name, recipes in self.recipes.items()
            if name == spec.name and recipes
        ]
        told = spec.model_dump(mode="json", exclude=NOT_MEASURED)
        told["finetuned"] = {task: entry.measured for task, entry in spec.finetuned.items()}
        return digest([told, weights, *published])


def same_recipe(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a stored request has the same suite, tasks, timing and recipe, on any machine and any weights.

    `wanted` may have None for the measure versions: any will do.
    """
    apart = {"options", "tasks", "teaching", *(["versions"] if wanted["versions"] is None else [])}
    rest = [key for key in wanted if key not in apart]
    taught = wanted["teaching"].items() <= stored.get("teaching", {}).items()
    tasks = set(wanted["tasks"]) <= set(stored.get("tasks", {}))
    had = _portable(stored.get("options", {}))
    options = had == _not_wider(wanted["options"], had)
    return (
        _is_as_whole(stored, wanted)
        and taught
        and tasks
        and options
        and all(stored.get(key) == wanted[key] for key in rest)
    )


def _portable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the machine's options; the cap on training is None where it is the device's default."""
    kept = {
        name: value for name, value in options.items() if name not in {"device", "threads", "attention", "processes"}
    }
    device, finetune, cap = options.get("device", "cpu"), options.get("finetune", False), options.get("train_cap_s")
    is_default = cap == Options(device=device, finetune=finetune).train_cap_s
    return kept | {"train_cap_s": None if is_default else cap}


def _not_wider(wanted: Mapping[str, Any], had: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what is merely allowed from what is wanted, if it was not allowed then: fp32 is right for both."""
    return {name: value for name, value in wanted.items() if name != "may_use_bf16" or name in had}


def answers(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a session that was asked for `stored` holds all that `wanted` asks; more models do no harm."""
    rest = [
        key for key in wanted if key not in {"models", "options", "teaching"}
    ]  # a model's digest has its teaching in it
    had = stored.get("options", {})
    return (
        all(stored.get(key) == wanted[key] for key in rest)
        and _is_as_whole(stored, wanted)
        and had == _not_wider(wanted["options"], had)
        and wanted["models"].items() <= stored.get("models", {}).items()
    )


def _is_as_whole(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether the same of a grid is left out of both."""
    return all(stored.get(key) == wanted.get(key) for key in APART)


TEXTS_HINT = "read the task with --data-dir, or take what needs no hub: --task demo-sentiment --models bert-mini"


def no_texts(task: str, reason: str | None) -> DatasetError:
    """Return the error where nothing but texts is timed and a task has none."""
    return DatasetError(f"task {task}: no texts to time: {reason}", TEXTS_HINT)


def no_tokenizer(model: str, reason: str | None) -> CheckpointError:
    """Return the error where nothing but texts is timed and a model cannot read them."""
    return CheckpointError(f"model {model}: no tokenizer for texts to time: {reason}", TEXTS_HINT)


def parse_kinds(text: str | None) -> tuple[Kind, ...]:
    """Read from `--only` what is measured, in the usual order; everything if None.

    Raises:
        UsageError: it names something else.
    """
    if text is None:
        return EVERYTHING
    asked = [part.strip() for part in text.split(",")]
    unknown = [name for name in asked if name not in EVERYTHING]
    if unknown:
        raise UsageError(f"--only {text}: '{unknown[0]}' is not one of {', '.join(EVERYTHING)}")
    return tuple(kind for kind in EVERYTHING if kind in asked)


def check_positive(**options: float | None) -> None:
    """Refuse options (by their long name, '_' for '-') that are not finite numbers above 0.

    Raises:
        UsageError: naming the option and the value.
    """
    for name, value in options.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be a number above 0")


def check_many(runs: int, *, yes: bool) -> None:
    """Require `--yes` for more than ten fine-tuning or evaluation runs.

    Raises:
        UsageError: there are more and `yes` is not given.
    """
    if runs > MANY_RUNS and not yes:
        raise UsageError(
            f"this makes {runs} runs", "add --yes if that is meant, or take fewer --seeds, --models or tasks"
        )


def names_of(specs: Sequence[ModelSpec | TaskSpec]) -> tuple[str, ...]:
    """Return the specs' names, in order."""
    return tuple(spec.name for spec in specs)


def check_processes(request: Request) -> None:
    """Find out before any work whether several processes can do what is asked.

    Raises:
        UsageError: more than quality is measured, or a batch cannot be shared out equally.
    """
    size = processes.world_size()
    if size == 1:
        return
    if request.kinds != ("quality",):
        raise UsageError(
            f"{size} processes were started together, and only training is shared among them", "add --only quality"
        )
    for task in request.tasks:
        for model in request.models:
            batch = request.recipe(task, model).batch_size
            if batch % size:
                raise UsageError(
                    f"{model.name} on {task.name}: a batch of {batch} cannot be shared among {size} processes",
                    f"--batch-size {-(-batch // size) * size}",
                )
