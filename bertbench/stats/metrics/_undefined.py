"""When metrics have no value, in their own words. Not aware of models, tasks or files."""

from __future__ import annotations

from collections.abc import Iterable

from bertbench.errors import UnknownNameError
from bertbench.specs import plugins

NO_NUMBER = "its value is no finite number"


def why(names: Iterable[str]) -> str:
    """'pearson and spearman: a correlation needs …': metrics that are undefined, those of one reason side by side."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_words(name), []).append(name)
    return "; ".join(f"{' and '.join(of)}: {reason}" for reason, of in alike.items())


def _words(name: str) -> str:
    try:
        metric = plugins.load("bertbench.stats.metrics", "metric", name)
    except UnknownNameError:
        return "there is no such metric any more"
    return metric.undefined or NO_NUMBER
