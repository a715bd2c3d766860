"""One command's measuring: from what was chosen to a request, and to the session that answers it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from bertbench.errors import DatasetError, NothingMeasuredError, UnavailableError, UsageError
from bertbench.records import environment
from bertbench.records.progress import Listener, Progress, SessionWatch, nobody
from bertbench.records.store import Store, newest
from bertbench.records.stored import StoredSession, covers, heard
from bertbench.session.options import ANYTIME, StudyOptions, check_store_options, minutes_of
from bertbench.session.own_metrics import check_allowed, check_distinct, with_code
from bertbench.session.parts import Shard
from bertbench.session.request import (
    Options,
    Request,
    check_positive,
    no_texts,
    no_tokenizer,
    parse_kinds,
    same_recipe,
)  # fmt: skip
from bertbench.session.seeds import seeds_of
from bertbench.session.selection import (
    RECIPES,
    beside_eager,
    check_recipe,
    is_named_recipe,
    named_recipe,
    published_recipes,
    resolve,
    resolve_one,
    with_teachers,
)
from bertbench.session.starts import starts_of, told
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TaskSpec
from bertbench.stats import metric

KEPT: tuple[Literal["all", "best", "none"], ...] = ("all", "best", "none")
Choice = TypeVar("Choice", bound=str)


class Screen(Progress, SessionWatch, Protocol):
    """Shows how far a step and the whole session are, and lines above that."""

    def say(self, line: str) -> None:
        """Print one line for people."""


@dataclass(frozen=True)
class Study:
    """What a command measures with: its name, its options, configs and results, and how people are told.

    `display` opens a screen for as long as something is being measured. `argv` is the command line that is recorded; None: as typed.
    `listen` is told of the records that answer without being measured; the screen tells of the others.
    """

    command: str
    options: StudyOptions
    catalog: Catalog
    store: Store
    say: Callable[[str], None]
    display: Callable[[], AbstractContextManager[Screen]]
    argv: tuple[str, ...] | None = None
    listen: Listener = nobody

    @property
    def recorded_argv(self) -> tuple[str, ...]:
        """The command line that a session's record has."""
        return tuple(sys.argv[1:]) if self.argv is None else self.argv

    def suite(self) -> SuiteSpec:
        """Return the suite that was chosen, else base.

        Raises:
            ConfigError: there is none of this name, or its file is wrong.
        """
        return self.catalog.suite(self.options.suite or "base")

    def request(
        self,
        suite: SuiteSpec,
        tasks: Sequence[str],
        *,
        models: str | Sequence[ModelSpec],
        reference: str | None,
        run: bool,
    ) -> Request:
        """Build the request that measures `models`, as the user wrote them or as specs, on `tasks`.

        `run`: what was asked for must be had, and the suite's reference is not added; otherwise random weights will do
        for size and speed.

        Raises:
            BertBenchError: an option, a model or a task cannot be used; the message says which.
        """
        start = self.options.start_from
        trains = start is not None or self.options.resample_training  # which only what is trained here can do
        chosen = replace(self.options, finetune=True) if trains else self.options
        check_recipe(chosen.recipes, self.catalog)
        named = chosen.recipes if is_named_recipe(chosen.recipes, self.catalog) else None
        checked = replace(chosen, recipes="task") if named else chosen
        options, kinds = resolve_options(checked, suite.seeds, self.command), parse_kinds(self.options.only)
        ways = beside_eager(self.options.backends, options.device, self.say, runs=not chosen.from_store)
        options = replace(options, recipes=named or options.recipes, backends=ways)
        if start is not None:
            self.catalog.task(start)
        if chosen.resample_training and "quality" not in kinds:
            raise UsageError("--resample-training trains, and no quality is measured", f"--only {chosen.only},quality")
        if len(ways) > 1 and "speed" not in kinds:  # memory is that of PyTorch
            raise UsageError("--backends: nothing is timed", f"--only {chosen.only},speed, or leave --backends out")
        specified = tuple(self.catalog.task(task) for task in tasks)
        if self.command in ANYTIME:  # others choose some of their tasks
            check_allowed(self.options.allowed_metrics, specified)
        check_distinct(self.options.allowed_metrics, specified)
        if "quality" in kinds:
            specified = tuple(with_code(task) for task in specified)
            for task in specified:  # the store is read without the code of anybody, which then gives no intervals
                is_allowed = all(own.allowed for own in task.own_metrics)
                metric.check_metrics(task, runs_code=is_allowed or not self.options.from_store)
        if not self.options.from_store:
            self.store.check_writable()
        wanted = resolve(models, self.catalog, suite, self.store) if isinstance(models, str) else list(models)
        if "quality" in kinds:
            wanted = with_teachers(wanted, self.catalog, suite, self.store)
        specs, name = self.with_reference(wanted, suite, reference, add_suites=not run)
        request = Request(
            command=self.command,
            argv=self.recorded_argv,
            suite=suite,
            models=tuple(specs),
            reference=name,
            tasks=specified,
            options=options,
            may_be_random=not run,
            timing=suite.timing,
            kinds=kinds,
            starts={} if self.options.from_store else starts_of(start, specs, tasks, self.store),
            recipes=self._recipes(options.recipes, specs, tasks),
        )
        return request if self.options.shard is None else request.shard(Shard.parse(self.options.shard))

    def _recipes(self, choice: str, specs: Sequence[ModelSpec], tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return by model and task what goes over the tasks' own recipes: what was published, or the recipe that is named."""
        if choice == "published":
            return published_recipes(specs, tasks, self.catalog)
        return {} if choice == "task" else named_recipe(choice, specs, tasks, self.catalog)

    def with_reference(
        self, models: list[ModelSpec], suite: SuiteSpec, reference: str | None, *, add_suites: bool
    ) -> tuple[list[ModelSpec], str]:
        """Add the reference to the models, first if it was missing, and return its name too.

        `add_suites` says that the suite's reference is added where none was asked for; otherwise the first model stands in.
        """
        names = [spec.name for spec in models]
        if reference is None:
            if suite.reference in names:
                return models, suite.reference
            if not add_suites:
                return models, names[0]
            reference = suite.reference
        named = next((spec for spec in models if spec.name == reference), None)
        spec = named or resolve_one(reference, self.catalog, self.store)
        return (models if spec.name in names else [spec, *models]), spec.name

    def measure_or_read(self, request: Request) -> StoredSession:
        """Return the session that answers a request: from the store if it holds one, else measured now.

        Raises:
            NothingMeasuredError: `--from-store`, and the store has nothing that fits; or a shard without a cell.
        """
        if request.part is not None and not request.part.units:
            raise NothingMeasuredError(
                f"shard {request.part.label} has no cell: the grid has {request.part.total}", "take fewer shards"
            )
        if self.options.from_store:
            return heard(self._read(request), self.listen, self.say)
        request.check_recipes()
        self.check_inputs(request)
        for line in told(request.starts):
            self.say(line)
        from bertbench.session import measure as session  # slow

        # Who leaves the work to others looks for weights only where the store may have the answer.
        is_sent = self.options.executor is not None and not self._may_answer(request)
        encoders = [] if is_sent else session.find_weights(request, self.say)
        stored = None if request.options.fresh or is_sent else session.find(request, self.store, encoders)
        self.pass_on_warnings()
        if stored is not None:
            self.say(
                f"taken from session {stored.session.session_id} of {stored.session.started_at}; --fresh measures again"
            )
            return heard(stored, self.listen, self.say)
        if self.options.executor is not None:
            return self._measure_grid(request)
        try:
            with self.display() as screen:
                return session.measure(
                    request,
                    self.store,
                    encoders,
                    say=screen.say,
                    progress=screen,
                    watch=screen,
                    yes=self.options.yes,
                )
        except KeyboardInterrupt:
            self.say(f"Interrupted. What was finished is kept in {self.store.name}; repeat the command to continue.")
            raise

    def _measure_grid(self, request: Request) -> StoredSession:
        """Measure the cells on the executor that was chosen."""
        from bertbench.session.grid import measure_grid
        from bertbench.specs import plugins
        from bertbench.specs.executors import read_executor

        assert self.options.executor is not None  # noqa: S101 (the caller has looked)
        spec = read_executor(self.options.executor, address=self.options.ray_address, cpus=self.options.threads)
        executor = plugins.load("bertbench.session.executors", "executor", spec.engine)(spec)
        try:
            # Ray prints what becomes of its nodes to stdout, which is for results.
            with contextlib.redirect_stdout(sys.stderr), self.display() as screen:
                return measure_grid(request, self.store, spec, executor, say=screen.say, watch=screen)
        except KeyboardInterrupt:
            self.say(f"Interrupted. What was finished is kept in {self.store.root}; repeat the command to continue.")
            raise

    def plan(self, request: Request) -> list[str]:
        """Return the lines that say what would be measured and how long it would take; measures no more than that needs."""
        request.check_recipes()
        self.check_inputs(request)
        for line in told(request.starts):
            self.say(line)
        from bertbench.session import measure as session  # slow

        encoders = session.find_weights(request, self.say)
        with self.display() as screen:
            return session.plan_of(request, self.store, encoders, say=screen.say).lines()

    def check_inputs(self, request: Request) -> None:
        """Find out at once, before anything slow is loaded or downloaded, whether data and weights can be had.

        Raises:
            DatasetError, HubError, CheckpointError: what measuring would raise.
        """
        from bertbench.models import sources  # these two are slow for a help text
        from bertbench.tasks import data

        data_dir = request.options.data_dir
        in_folders = [task for task in request.tasks if not data.is_on_hub(task, data_dir)]
        for task in in_folders:
            for split in task.evaluation_splits:
                data.check(task, split, data_dir)
        absent = sources.check(request.models, may_be_random=request.may_be_random)
        for task in in_folders:
            if any(_is_trained(request, spec, task) for spec in request.models if spec.name not in absent):
                data.check(task, task.train_split, data_dir)
        lacking = _lacking(request, absent)
        if lacking is not None and not self._may_answer(request):
            raise lacking

    def _may_answer(self, request: Request) -> bool:
        """Tell whether the store may hold a session that answers, which needs neither data nor tokenizers."""
        if request.options.fresh:
            return False
        names = [spec.name for spec in request.models]
        return newest_of(self.store, names, request.reference, request.recipe_parts()) is not None

    def _read(self, request: Request) -> StoredSession:
        names, recipe = [spec.name for spec in request.models], request.recipe_parts()
        stored = newest_of(self.store, names, request.reference, recipe)
        if stored is None:  # by an older version of how it is measured: shown, and marked as stale
            stored = newest_of(self.store, names, request.reference, {**recipe, "versions": None})
        self.pass_on_warnings()
        if stored is None:
            raise NothingMeasuredError(
                f"no complete session of {', '.join(names)} with these tasks and options in {self.store.name}",
                "leave --from-store out to measure",
            )
        return stored

    def pass_on_warnings(self) -> None:
        """Say once what the store warns of."""
        for warning in dict.fromkeys(self.store.warnings):
            self.say(f"warning: {warning}")
        self.store.warnings.clear()


def _is_trained(request: Request, spec: ModelSpec, task: TaskSpec) -> bool:
    """Tell whether it is certain that a model whose weights can be had is trained on a task."""
    if "quality" not in request.kinds:
        return False
    taught = spec.distill is not None and spec.distill.start == "checkpoint"
    return request.options.finetune or taught or (spec.checkpoint is None and task.name not in spec.finetuned)


def _lacking(request: Request, absent: Mapping[str, str]) -> UnavailableError | None:
    """Say what measuring cannot do without and the hub would have to give; `absent` says by model why its weights are random."""
    from bertbench.tasks import data

    if request.may_be_random and not request.needs_texts:
        return None
    for task in request.tasks:
        if data.is_on_hub(task, request.options.data_dir):
            try:
                data.check(task, task.evaluation_splits[0])
            except DatasetError as error:
                return no_texts(task.name, error.message) if request.may_be_random else error
    for spec in request.models if request.needs_texts else ():
        if not spec.tokenizer and (spec.checkpoint is None or spec.name in absent):
            return no_tokenizer(spec.name, absent.get(spec.name))
    return None


def resolve_options(chosen: StudyOptions, default_seeds: int, command: str) -> Options:
    """Check the options, and resolve device, threads, seeds and time limit.

    Raises:
        UsageError, DeviceError: a value cannot be used.
    """
    keep_checkpoints = _one_of("keep-checkpoints", chosen.keep_checkpoints, KEPT)
    recipes = _one_of("recipe", chosen.recipes, RECIPES)
    check_store_options(chosen)
    check_positive(
        train_samples=chosen.train_samples,
        eval_samples=chosen.eval_samples,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        max_length=chosen.max_length,
        threads=chosen.threads,
        max_train_minutes=chosen.max_train_minutes,
    )
    from bertbench.specs.executors import device_here  # pydantic

    seeds, data_seeds = seeds_of(chosen, default_seeds)
    device = environment.resolve_device(device_here(chosen.executor, chosen.device), runs=not chosen.from_store)
    return Options(
        device=device,
        dtype=environment.resolve_dtype(chosen.dtype or "fp32", device),
        threads=chosen.threads or environment.default_threads(),
        seeds=seeds,
        data_seeds=data_seeds,
        train_samples=chosen.train_samples,
        eval_samples=chosen.eval_samples,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        max_length=chosen.max_length,
        data_dir=chosen.data_dir,
        finetune=chosen.finetune,
        max_train_minutes=chosen.max_train_minutes,
        max_minutes=minutes_of(chosen, device, command),
        # Machines must not decide by their own speed: shards are measured whole, in the number format that is asked for.
        samples=command in ANYTIME or chosen.is_spread,
        may_use_bf16=command in ANYTIME and chosen.dtype is None and not chosen.is_spread,
        keep_checkpoints=keep_checkpoints,
        recipes=recipes,
        start_from=chosen.start_from,
        resample_training=chosen.resample_training,
        fresh=chosen.fresh,
    )


def _one_of(option: str, value: str, choices: tuple[Choice, ...]) -> Choice:
    """Return the choice that a value names.

    Raises:
        UsageError: it names none.
    """
    for choice in choices:
        if choice == value:
            return choice
    *others, last = choices
    raise UsageError(f"--{option} {value}: must be {', '.join(others)} or {last}")


def newest_of(store: Store, models: Sequence[str], reference: str, recipe: Mapping[str, Any]) -> StoredSession | None:
    """Find the newest complete session of all models with this recipe, on any machine and any weights."""
    return newest(
        store,
        lambda _: True,
        lambda session: covers(session, models, reference) and same_recipe(session.request, recipe),
    )
