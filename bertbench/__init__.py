"""bertbench: what compressing BERT costs and gains, measured."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bertbench.api import compare
    from bertbench.stats.evaluate_metrics import BertbenchMetric

__all__ = ["__version__", "compare", "load_metric", "load_results"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what measures when it is first asked for."""
    if name == "compare":
        from bertbench.api import compare

        return compare
    raise AttributeError(f"module 'bertbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what the package offers, loaded or not."""
    return sorted({*globals(), *__all__})


def load_results(folder: str | PathLike[str], **only: str | Sequence[str]) -> pd.DataFrame:
    """Load every measurement in a results folder as a row; `bertbench.records.table` says which columns there are.

    Args:
        folder: what `--results-dir` names.
        only: what rows are limited to, a name or several: `suite="base"`, or another column of texts.

    Raises:
        StoreError: there is no such folder.
        KeyError: there is no such column of texts.
    """
    from bertbench.records import table  # loads pandas

    return table.load_results(folder, **only)


def load_metric(name: str) -> BertbenchMetric:
    """Load one of bertbench's metrics, by its name in `bertbench list metrics`, as the module of `evaluate` that runs compute with.

    Raises:
        UnknownNameError: there is no such metric.
    """
    from bertbench.stats import evaluate_metrics  # loads evaluate, and with it torch

    return evaluate_metrics.load(name)
