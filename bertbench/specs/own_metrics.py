"""Metrics of a user's own: Python code by the standard of `evaluate`, which a task's YAML names and which is only looked at here.

Nothing here runs any code: a module is found, read as text, and identified by the digest of its files, so that another version
of a metric is another cell. `bertbench.stats.own_metrics` runs what the user has allowed by name.

    own_metrics:
      - {name: balanced_accuracy, evaluate: ./balanced_accuracy, applies_to: classification}
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from bertbench.errors import ConfigError, first_line
from bertbench.specs import plugins
from bertbench.specs.base import Spec
from bertbench.units import QUANTITIES

Option = bool | int | float | str | None

BUILT_IN = "bertbench.stats.metrics"
BASES = frozenset({"Metric", "EvaluationModule"})  # what a metric's class is derived from, by its last name
MOST_FILES = 200
MOST_BYTES = 20 * 2**20
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OF_HUB = re.compile(r"hub:[\w-][\w.-]*(/[\w-][\w.-]*)?|[\w-][\w.-]*/[\w-][\w.-]*")  # and none leads upwards
# What Python, Git, editors and downloads leave in a folder; all other files count, hidden ones too.
_LEFT = re.compile(r"__pycache__|\.git|\.cache|\.ipynb_checkpoints|\.DS_Store|\..*\.sw[a-p]")
_LOCAL = ("./", "../")


@dataclass(frozen=True)
class MetricCode:
    """Where a metric's code lies and what it is: its file, the class in it, the digest of all its files; `module`, where installed."""

    file: Path
    class_name: str
    sha256: str
    module: str | None = None
    folder: Path | None = None  # all of whose files are part of it


class OwnMetricSpec(Spec):
    """A metric that is none of bertbench's: a module of `evaluate`, and how it is called.

    `evaluate` is a folder or file beside the YAML file (./name, ../name), or the dotted name of an installed module. `result` is
    the key of what its `compute` returns (default: `name`), `options` are passed to it, and `config_name` to the class. `sha256` identifies its code: one that
    is written must be that of the files; records always have it. Higher values must be better, from 0 to 1 or -1 to 1.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)]
    evaluate: Annotated[str, Field(min_length=1, max_length=400)]
    applies_to: Literal["classification", "regression", "answers", "tags"] = "classification"
    result: str | None = None
    config_name: str | None = None
    options: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Option | tuple[Option, ...]] = {}
    lower_is_better: bool = False
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    # No file can set these two: what a folder holds is looked up, and whether it may run is said on the command line.
    _code: MetricCode | None = PrivateAttr(default=None)
    _allowed: bool = PrivateAttr(default=False)

    @property
    def key(self) -> str:
        """The key of what `compute` returns."""
        return self.result or self.name

    @property
    def is_of_hub(self) -> bool:
        """Tell whether the code would have to be fetched."""
        return not self.evaluate.startswith(_LOCAL) and _OF_HUB.fullmatch(self.evaluate) is not None

    @property
    def hub_name(self) -> str:
        """The full name on the hub; one without an owner is among those of `evaluate` itself."""
        name = self.evaluate.removeprefix("hub:")
        return name if "/" in name else f"evaluate-metric/{name}"

    @property
    def allowed_as(self) -> str:
        """The name by which --allow-metric allows it: the full one, of what is on the hub."""
        return self.hub_name if self.is_of_hub else self.name

    @property
    def code(self) -> MetricCode | None:
        """Where the code lies; None where nobody has looked, or it has not been fetched."""
        return self._code

    @property
    def is_permitted(self) -> bool:
        """Tell whether the user allowed this metric's code to run, in this command; it may not be at hand yet."""
        return self._allowed

    @property
    def allowed(self) -> bool:
        """Tell whether this metric's code may run and is at hand."""
        return self._allowed and self._code is not None

    @field_validator("name")
    @classmethod
    def _is_new(cls, name: str) -> str:
        if name in QUANTITIES or name.replace("_", "-") in plugins.names(BUILT_IN):
            raise ValueError(f"'{name}' is a quantity of bertbench: give yours another name")
        return name

    @field_validator("evaluate")
    @classmethod
    def _is_a_module(cls, text: str) -> str:
        if text.startswith(_LOCAL) or _MODULE.fullmatch(text) or _OF_HUB.fullmatch(text):
            return text
        raise ValueError("expected ./folder beside this file, or the dotted name of an installed module")

    @model_validator(mode="after")
    def _points_upwards(self) -> OwnMetricSpec:
        if self.lower_is_better:
            raise ValueError("'lower_is_better' is not taken: let the metric give 1 - value, or -value")
        if {"predictions", "references"} & self.options.keys():
            raise ValueError("'options' go beside predictions and references, which bertbench gives")
        return self

    def located(self, code: MetricCode) -> OwnMetricSpec:
        """Return a copy that knows where its code lies and has its digest.

        Raises:
            ConfigError: the digest that is written is another.
        """
        if self.sha256 not in {None, code.sha256}:
            raise ConfigError(
                f"metric {self.name}: sha256 {self.sha256:.12}… is written, the code in {code.folder or code.file} has {code.sha256:.12}…",
                "look at what has changed, then correct the key or leave it out",
            )
        copy = self.model_copy(update={"sha256": code.sha256})
        copy._code = code  # noqa: SLF001 (a copy of this very class)
        return copy

    def permitted(self) -> OwnMetricSpec:
        """Return a copy whose code may run; the caller knows that the user allowed it."""
        copy = self.model_copy()
        copy._allowed = True  # noqa: SLF001 (as above)
        return copy


def locate(spec: OwnMetricSpec, config: Path) -> MetricCode | None:
    """Find a metric's code as seen from the YAML file that names it, and read it without running it; None: it is on the hub.

    Raises:
        ConfigError: it is not there, leads out of the folder of configs, or holds no metric.
    """
    if spec.is_of_hub:
        return None
    if not spec.evaluate.startswith(_LOCAL):
        return installed_code(spec)
    root = config.absolute().parent.parent.resolve()  # the folder that holds tasks/
    path = config.absolute().parent / spec.evaluate
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise ConfigError(
            f"{config}: metric {spec.name}: nothing lies at {spec.evaluate}",
            "paths are relative to this file; a folder ./name holds name.py",
        ) from None
    if not resolved.is_relative_to(root):
        raise ConfigError(
            f"{config}: metric {spec.name}: {spec.evaluate} leads out of {root}",
            "put the code into the folder of configs",
        )
    return read_code(spec.name, resolved)


def located(specs: Iterable[OwnMetricSpec], config: Path) -> tuple[OwnMetricSpec, ...]:
    """Locate the code of all metrics that a YAML file describes; of those on the hub nothing is known yet.

    Raises:
        ConfigError: it cannot be found, or holds no metric.
    """
    codes = [(spec, locate(spec, config)) for spec in specs]
    return tuple(spec if code is None else spec.located(code) for spec, code in codes)


def read_code(name: str, path: Path) -> MetricCode:
    """Read the code of a metric that lies in a folder (name/name.py) or in one file.

    Raises:
        ConfigError: it cannot be read, or holds no metric or several.
    """
    folder = path if path.is_dir() else None
    file = path / f"{path.name}.py" if folder else path
    if not file.is_file() or file.suffix != ".py":
        raise ConfigError(
            f"metric {name}: {file} is no Python file", "a folder ./name holds name.py, as evaluate has it"
        )
    try:
        return MetricCode(file, _class_in(name, file), _digest(name, file, folder), folder=folder)
    except OSError as error:
        raise ConfigError(f"metric {name}: {file} cannot be read ({error.strerror or error})") from None


def installed_code(spec: OwnMetricSpec) -> MetricCode:
    """Find an installed module without importing it, nor the packages that it is in.

    Raises:
        ConfigError: it is not installed, cannot be read, or holds no metric.
    """
    search, origin = sys.path, ""
    for end in range(1, spec.evaluate.count(".") + 2):
        module = PathFinder.find_spec(name := ".".join(spec.evaluate.split(".")[:end]), search)
        if module is None:
            raise ConfigError(
                f"metric {spec.name}: no module '{name}' is installed",
                "install it, or write ./folder for code beside the YAML file",
            )
        search, origin = list(module.submodule_search_locations or ()), module.origin or ""
    file = Path(origin)
    if file.suffix != ".py":
        raise ConfigError(f"metric {spec.name}: module {spec.evaluate} is no Python file", "name one that is")
    try:
        digest = _digest(spec.name, file, file.parent if file.name == "__init__.py" else None)
        return MetricCode(file, _class_in(spec.name, file), digest, module=spec.evaluate)
    except OSError as error:
        raise ConfigError(f"metric {spec.name}: {file} cannot be read ({error.strerror or error})") from None


def _class_in(name: str, file: Path) -> str:
    """Name the one class of a file that is derived from `evaluate.Metric`."""
    if file.stat().st_size > MOST_BYTES:
        raise ConfigError(f"metric {name}: {file} is larger than {MOST_BYTES:,} bytes", "is it Python code?")
    try:
        tree = ast.parse(file.read_bytes(), file.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"metric {name}: {file} is no Python code ({first_line(error)})", "correct it") from None
    classes = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and BASES & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    ]
    if len(classes) != 1:
        what = f"{len(classes)} classes are" if classes else "no class is"
        raise ConfigError(
            f"metric {name}: {what} derived from evaluate.Metric in {file}", "a module holds one, at its top level"
        )
    return classes[0]


def _digest(name: str, file: Path, folder: Path | None) -> str:
    """Compute the sha256 over the names and contents of a metric's files."""
    root, total = folder or file.parent, 0
    whole = hashlib.sha256()
    for number, path in enumerate(_files(name, folder) if folder else [file]):
        total += path.stat().st_size
        if number >= MOST_FILES or total > MOST_BYTES:
            raise ConfigError(
                f"metric {name}: {root} holds more than {MOST_FILES} files or {MOST_BYTES:,} bytes",
                "give the metric a folder of its own",
            )
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _files(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files of a folder in their order, without what Python and editors leave there."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(_LEFT.fullmatch(part) for part in parts):
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ConfigError(f"metric {name}: {path} is a link or no plain file", "put the file itself there")
        if path.is_file():
            yield path
