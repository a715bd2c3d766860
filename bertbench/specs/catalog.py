"""YAML files by name: the packaged ones, a project's `./configs` and `--config-dir`, later ones first.

A file's stem is its name. A broken file matters only when its name is asked for, or to `bertbench validate`.
`catalog` reads what lists show without loading pydantic, so that `bertbench list` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.specs.yaml_files import describe, read_yaml

if TYPE_CHECKING:
    from bertbench.specs.base import Spec
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.papers import PaperSpec
    from bertbench.specs.suites import RecipeSpec, SuiteSpec
    from bertbench.specs.tasks import GroupSpec, TaskSpec

T = TypeVar("T")

# By folder what a message calls one of its files.
KINDS = {
    "models": "model",
    "tasks": "task",
    "groups": "group",
    "suites": "suite",
    "recipes": "recipe",
    "claims": "claim",
    "papers": "paper",
}


def spec_types() -> dict[str, type[Spec]]:
    """Return the type of spec that each kind of file is checked as; a function, since they load pydantic."""
    from bertbench.specs.claims import ClaimSpec
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.papers import PaperSpec
    from bertbench.specs.suites import RecipeSpec, SuiteSpec
    from bertbench.specs.tasks import GroupSpec, TaskSpec

    return {
        "models": ModelSpec,
        "tasks": TaskSpec,
        "groups": GroupSpec,
        "suites": SuiteSpec,
        "recipes": RecipeSpec,
        "claims": ClaimSpec,
        "papers": PaperSpec,
    }


def packaged_folder() -> Path:
    """Return the folder of the configs that come with bertbench: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class Entry:
    """One YAML file: kind ('models', …), name and place."""

    kind: str
    name: str
    path: Path


class Catalog:
    """What can be named: models, tasks, suites and the like from several folders."""

    def __init__(self, folders: Sequence[Path] = (), allowed: Iterable[str] = ()) -> None:
        """Look into `folders` first (`--config-dir`), then into ./configs, then into the packaged configs.

        `allowed` names metrics of the user's own whose code may run (`--allow-metric`).

        Raises:
            ConfigError: one of `folders` is not a folder.
        """
        for folder in folders:
            if not folder.is_dir():
                raise ConfigError(
                    f"config directory {folder}: no such folder",
                    f"give a folder with {'/, '.join(KINDS)}/",
                )
        self.allowed = frozenset(allowed)
        project = Path("configs")
        self.folders = (*folders, *([project] if project.is_dir() else []), packaged_folder())

    def entries(self, kind: str) -> dict[str, Entry]:
        """List every entry of a kind by name, sorted; the first folder that has a name wins."""
        by_name: dict[str, Entry] = {}
        for folder in self.folders:
            for path in sorted((folder / kind).glob("*.y*ml")):
                if path.suffix in {".yaml", ".yml"}:
                    by_name.setdefault(path.stem, Entry(kind, path.stem, path))
        return dict(sorted(by_name.items()))

    def entry(self, kind: str, name: str) -> Entry:
        """Return the entry called `name`.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest.
        """
        entries = self.entries(kind)
        if name not in entries:
            raise UnknownNameError(KINDS[kind], name, entries)
        return entries[name]

    def raw(self, entry: Entry) -> dict[str, Any]:
        """Read what the file says, with its stem as the default `name`; check only that it is a mapping."""
        return read_yaml(entry.path, name=entry.name)

    def model(self, name: str) -> ModelSpec:
        """Load the model called `name`."""
        from bertbench.specs.models import ModelSpec  # here and below: loads pydantic, which lists do without

        return self._load("models", name, ModelSpec)

    def task(self, name: str) -> TaskSpec:
        """Load the task called `name`; the code of metrics that are not bertbench's is located, and not run."""
        from bertbench.specs.own_metrics import located
        from bertbench.specs.tasks import TaskSpec

        task = self._load("tasks", name, TaskSpec)
        own = located(task.own_metrics, self.entry("tasks", name).path)
        own = tuple(spec.permitted() if spec.allowed_as in self.allowed else spec for spec in own)
        return task.model_copy(update={"own_metrics": own}) if own else task

    def suite(self, name: str) -> SuiteSpec:
        """Load the suite called `name`."""
        from bertbench.specs.suites import SuiteSpec

        return self._load("suites", name, SuiteSpec)

    def group(self, name: str) -> GroupSpec:
        """Load the group of tasks called `name`."""
        from bertbench.specs.tasks import GroupSpec

        return self._load("groups", name, GroupSpec)

    def recipe(self, name: str) -> RecipeSpec:
        """Load what is published about fine-tuning the model called `name`."""
        from bertbench.specs.suites import RecipeSpec

        return self._load("recipes", name, RecipeSpec)

    def claim(self, name: str) -> ClaimSpec:
        """Load the claim called `name`."""
        from bertbench.specs.claims import ClaimSpec

        return self._load("claims", name, ClaimSpec)

    def paper(self, name: str) -> PaperSpec:
        """Load the published measurement called `name`."""
        from bertbench.specs.papers import PaperSpec

        return self._load("papers", name, PaperSpec)

    def _load(self, kind: str, name: str, spec_type: type[T]) -> T:
        return cast("T", self.check(self.entry(kind, name), cast("type[Spec]", spec_type)))

    def check(self, entry: Entry, spec_type: type[Spec] | None = None) -> Spec:
        """Check an entry and return its spec.

        Raises:
            ConfigError: the file is broken, incomplete or has unknown keys; the message names file and key.
        """
        from pydantic import ValidationError

        data = self.raw(entry)
        if data["name"] != entry.name:
            raise ConfigError(
                f"{entry.path}: 'name' is '{data['name']}', expected '{entry.name}' as the file is called",
                "leave 'name' out",
            )
        try:
            return (spec_type or spec_types()[entry.kind])(**data)
        except ValidationError as error:
            raise ConfigError(
                f"{entry.path}: {describe(error, entry.path)}",
                f"`bertbench list {entry.kind}` shows files that are right",
            ) from None
