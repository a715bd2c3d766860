"""From what a user writes after `--models` and `--task` to what is meant: names, hub ids, folders, `run:<id>`, groups, 'all'."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from bertbench.errors import CheckpointError, ConfigError, UnknownNameError, UsageError
from bertbench.models.checkpoints import local_snapshot
from bertbench.models.configurations import check_own_code
from bertbench.records.store import Store
from bertbench.specs import name_lists, text_files
from bertbench.specs.catalog import Catalog, Entry
from bertbench.specs.models import ModelSpec
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.text_files import read_object

ALL = "all"
PYTORCH = "eager"
RECIPES: tuple[Literal["published", "task"], ...] = (
    "published",
    "task",
)  # what --recipe takes besides names of recipes
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
LOCAL = (".", "/", "~")  # how the name of a folder begins, whether it is there or not


def resolve(models: str, catalog: Catalog, suite: SuiteSpec | None, store: Store | None = None) -> list[ModelSpec]:
    """Find the models that `models` names, each once, in the order given; a folder may have commas in its name.

    Raises:
        UsageError: nothing is named, or it is unclear whether a comma separates names.
        UnknownNameError: neither a name, nor a folder, nor a hub id.
        CheckpointError, StoreError: a folder or run has no usable checkpoint.
    """
    known = catalog.entries("models")

    def is_name(text: str) -> bool:
        return text in {*known, ALL} or text.startswith("run:") or _is_folder(text) or _is_hub_id(text)

    specs: dict[str, ModelSpec] = {}
    for part in name_lists.split("--models", models, _is_folder, is_name):
        names = suite.models if part == ALL and suite else (part,)
        for name in names:
            spec = _one(name, catalog, store)
            specs.setdefault(spec.name, spec)
    if not specs:
        raise UsageError("--models: no model is named", "for example --models bert,distilbert,albert")
    return list(specs.values())


def resolve_one(model: str, catalog: Catalog, store: Store | None = None) -> ModelSpec:
    """Find the one model that is named, commas and all.

    Raises:
        UnknownNameError: neither a name, nor a folder, nor a hub id.
        CheckpointError, StoreError: a folder or run has no usable checkpoint.
    """
    name = model.strip()
    return _one(name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name, catalog, store)


def with_teachers(
    specs: Sequence[ModelSpec], catalog: Catalog, suite: SuiteSpec | None, store: Store | None = None
) -> list[ModelSpec]:
    """Add the models that the given ones learn from, at the end where they were not asked for.

    Raises:
        UnknownNameError: there is no such teacher.
    """
    by_name: dict[str, ModelSpec] = {spec.name: spec for spec in specs}
    for spec in specs:  # a teacher's own teacher is found in the call below
        if spec.distill is not None:
            name = spec.distill.teacher
            teacher = by_name[name] if name in by_name else resolve_one(name, catalog, store)
            by_name[spec.name] = spec.model_copy(
                update={"distill": spec.distill.model_copy(update={"teacher": teacher.name})}
            )
            by_name.setdefault(teacher.name, teacher)
    return (
        list(by_name.values())
        if len(by_name) == len(specs)
        else with_teachers(list(by_name.values()), catalog, suite, store)
    )


def resolve_tasks(tasks: str, catalog: Catalog, suite: str) -> list[str]:
    """Name the tasks that `tasks` means, each once: tasks, groups, or 'all' that go with the suite.

    'all' leaves out the generated tasks of the demo, or takes only them where the suite is made of such.

    Raises:
        UsageError: nothing is named.
        UnknownNameError: neither a task nor a group.
    """
    known, groups = catalog.entries("tasks"), catalog.entries("groups")
    names: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in tasks.split(","))):
        if part in known:
            names[part] = None
        elif part in groups:
            names |= dict.fromkeys(catalog.group(part).tasks)
        elif part == ALL:
            names |= dict.fromkeys(_every_task(catalog, suite))
        else:
            raise UnknownNameError("task", part, (*known, *groups, ALL))
    if not names:
        raise UsageError("--task: no task is named", "see `bertbench list tasks` and `bertbench list groups`")
    return list(names)


def _every_task(catalog: Catalog, suite: str) -> list[str]:
    def is_generated(task: str) -> bool:
        return catalog.task(task).dataset.generator is not None

    wanted = any(map(is_generated, catalog.suite(suite).tasks))
    return [task for task in catalog.entries("tasks") if is_generated(task) == wanted]


def suite_for(task: str, catalog: Catalog) -> str:
    """Return the default suite of a task: base, unless base does not list it and another suite does."""
    if task in catalog.suite("base").tasks:
        return "base"
    for name, entry in catalog.entries("suites").items():
        try:
            tasks = catalog.raw(entry).get("tasks")
        except ConfigError:
            continue  # a broken file matters only when its name is asked for
        if isinstance(tasks, list) and task in tasks:
            return name
    return "base"


def published_recipes(
    models: Sequence[ModelSpec], tasks: Sequence[str], catalog: Catalog
) -> dict[str, dict[str, dict[str, Any]]]:
    """Collect what was published about fine-tuning these models on these tasks, by model and task."""
    known = catalog.entries("recipes")
    specs = [catalog.recipe(model.name) for model in models if model.name in known]
    return {spec.name: {task: spec.values(task) for task in tasks if task in spec.tasks} for spec in specs}


def is_named_recipe(name: str, catalog: Catalog) -> bool:
    """Tell whether a recipe for any model is called so."""
    return name in catalog.entries("recipes") and catalog.recipe(name).any_model


def check_recipe(name: str, catalog: Catalog) -> None:
    """Refuse what `--recipe` does not take.

    Raises:
        UsageError: the message names what it takes.
    """
    if name in RECIPES or is_named_recipe(name, catalog):
        return
    named = [known for known in catalog.entries("recipes") if catalog.recipe(known).any_model]
    others = f", or a recipe for any model: {', '.join(named)}" if named else ""
    raise UsageError(f"--recipe {name}: must be {' or '.join(RECIPES)}{others}")


def named_recipe(
    name: str, models: Sequence[ModelSpec], tasks: Sequence[str], catalog: Catalog
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the hyperparameters that a recipe for any model has, by model and task.

    Raises:
        UsageError: it says nothing of a task.
    """
    recipe = catalog.recipe(name)
    if lacking := [task for task in tasks if task not in recipe.tasks]:
        known = ", ".join(recipe.tasks)
        raise UsageError(f"--recipe {name}: says nothing of {', '.join(lacking)}", f"it is for {known}")
    return {spec.name: {task: recipe.values(task) for task in tasks} for spec in models}


def beside_eager(backends: str, device: str, say: Callable[[str], None], *, runs: bool = True) -> tuple[str, ...]:
    """Read the back-ends that are timed beside PyTorch, which is always among them, and say which of 'all' are left out.

    Raises:
        BertBenchError: a name is unknown, or what is named cannot run here and `runs`.
    """
    if backends == PYTORCH:
        return (PYTORCH,)
    from bertbench.speed.backend import parse  # looks at what is installed

    named, notes = parse(backends, device, runs=runs)
    for note in notes:
        say(note)
    return tuple(dict.fromkeys((PYTORCH, *named)))


def _one(name: str, catalog: Catalog, store: Store | None) -> ModelSpec:
    known = catalog.entries("models")
    if name in known:
        return catalog.model(name)
    if name.startswith("run:"):
        return _of_run(name.removeprefix("run:"), store)
    if _is_folder(name) or name.startswith(LOCAL):
        return _of_folder(name, Path(name).expanduser())
    if _is_hub_id(name):
        return _of_hub(name, catalog)
    raise UnknownNameError(
        "model", name, known, "a name from `bertbench list models`, a hub id (owner/name), a local folder or run:<id>"
    )


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, ~ of nobody
        return False


def _is_hub_id(name: str) -> bool:
    return HUB_ID.match(name) is not None and not name.startswith(LOCAL)


def _of_hub(name: str, catalog: Catalog) -> ModelSpec:
    """Build the spec of a hub id; if a config has it as its checkpoint, return that config."""
    for entry in catalog.entries("models").values():
        if _mentions(entry, name) and _checkpoint_of(catalog, entry) == name:
            return catalog.model(entry.name)
    return ModelSpec(
        name=name, title=name.split("/")[1], architecture="auto", checkpoint=name, compression="not stated"
    )


def _mentions(entry: Entry, name: str) -> bool:
    try:
        return name in entry.path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _checkpoint_of(catalog: Catalog, entry: Entry) -> str | None:
    try:
        return catalog.raw(entry).get("checkpoint")
    except ConfigError:
        return None  # a broken file matters only when its name is asked for


def _of_folder(name: str, folder: Path) -> ModelSpec:
    if not text_files.is_text(name):
        raise UsageError(f"model {name}: its name has bytes that are not text", text_files.RENAME)
    local_snapshot(folder, weights=False)
    return ModelSpec(
        name=name,
        title=folder.resolve().name,
        architecture=_architecture(folder),
        checkpoint=str(folder),
        compression="not stated",
    )


def _of_run(run_id: str, store: Store | None) -> ModelSpec:
    """Build the spec of the checkpoint that a fine-tuning run left."""
    store = store or Store(Path("results"))
    if not run_id:
        raise UsageError("model run: names no run", "give its id or the start of it, as `bertbench show` lists it")
    _, record = store.find_run(run_id, with_checkpoint=True)
    folder = store.checkpoint(record)
    if folder is None:
        raise CheckpointError(f"run {record.run_id}: kept no checkpoint", "fine-tune again with --keep-checkpoints all")
    title = f"{record.model.get('title', record.model_name)} ({record.task_name}, seed {record.seed_label})"
    return ModelSpec(
        name=f"run:{record.run_id}",
        title=title,
        architecture=_architecture(folder),
        checkpoint=str(folder),
        compression=record.model.get("compression", "not stated"),
    )


def _architecture(folder: Path) -> str:
    try:
        kind = read_object(folder / "config.json")["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KeyError):
            check_own_code(folder)
        raise CheckpointError(
            f"checkpoint {folder}: config.json is damaged or names no model_type",
            "save it again with model.save_pretrained(folder)",
        ) from None
    return str(kind).replace("_", "-").lower()
