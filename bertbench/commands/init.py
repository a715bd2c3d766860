"""`bertbench init`: writes a commented YAML to start from. Replaces nothing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument

from bertbench.commands._display import show
from bertbench.commands._options import spread
from bertbench.errors import StoreError, UsageError
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog
from bertbench.specs.starters import STARTERS, StarterKind, is_name

PROJECT = Path("configs")
# A task and a group cannot share a name, as --task takes either.
NAMESPACES = {"tasks": ("tasks", "groups")}

KindArgument = Annotated[StarterKind, Argument(metavar="KIND", help="model, task, claim or suite.", show_default=False)]
NameArgument = Annotated[
    str, Argument(metavar="NAME", help="Its name: small letters, digits and . _ - are allowed.", show_default=False)
]


@spread(folders=("config_dir",))
def init(kind: KindArgument, name: NameArgument, *, folders: StoreOptions) -> None:
    """Write a commented YAML for a model, task, claim or suite of yours.

    The file goes to ./configs, or to the folder given with --config-dir. Existing files are never replaced.

    Example: bertbench init task tickets
    """
    starter = STARTERS[kind]
    folder = _folder(folders.config_dir or [])
    _check_name(kind, name, folder)
    path = folder / starter.folder / f"{name}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(starter.text.format(name=name))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"{path}: cannot be written ({reason})", "choose another folder with --config-dir") from None
    option = "" if folder == PROJECT else f" --config-dir {shlex.quote(str(folder))}"
    show(f"Wrote {path}. Edit it, then run:")
    show(f"  bertbench validate{option}")
    show(f"  {starter.command.format(name=name)}{option}")


def _folder(given: list[Path]) -> Path:
    if len(given) > 1:
        raise UsageError(f"--config-dir: {len(given)} folders are given", "name the one that the file belongs in")
    return given[0] if given else PROJECT


def _check_name(kind: StarterKind, name: str, folder: Path) -> None:
    """Refuse what cannot be the name of a new file.

    Raises:
        UsageError: it is taken, reserved, or has characters that names do not have.
    """
    if not is_name(name):
        raise UsageError(
            f"'{name}' cannot be a name", "use small letters, digits and . _ -, and begin with a letter or digit"
        )
    if name == "all":
        raise UsageError("'all' stands for every name on the command line", "choose another name")
    catalog = Catalog([folder] if folder.is_dir() else [])
    own = STARTERS[kind].folder
    for of_kind in NAMESPACES.get(own, (own,)):
        taken = catalog.entries(of_kind).get(name)
        if taken is not None:
            raise UsageError(f"{taken.path}: there is already a {of_kind[:-1]} '{name}'", "choose another name")
