"""Leaf files found by name: a metric, exporter, task kind or back-end is one file with `PLUGIN`.

The file's stem is the registry key ('-' is written '_'), so adding one means adding one file. Nothing is imported
until its name is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec
from typing import Any

from bertbench.errors import UnknownNameError


def names(package: str) -> list[str]:
    """List the plugins in `package`, e.g. 'bertbench.stats.metrics', by name, sorted."""
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return []
    # Listed without an import: a file's libraries may not be installed.
    modules = pkgutil.iter_modules(spec.submodule_search_locations)
    return sorted(module.name.replace("_", "-") for module in modules if not module.name.startswith("_"))


def load(package: str, kind: str, name: str) -> Any:
    """Import the file that `name` stands for and return its `PLUGIN`.

    Raises:
        UnknownNameError: there is no such file.
    """
    known = names(package)
    key = name.replace("_", "-")
    # A user writes the name: nothing but a listed file is imported.
    if key not in known:
        raise UnknownNameError(kind, name, known)
    return importlib.import_module(f"{package}.{key.replace('-', '_')}").PLUGIN
