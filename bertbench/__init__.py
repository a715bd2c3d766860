"""bertbench: what compressing BERT costs and gains, measured."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.api import ComparisonResult

__all__ = ["__version__", "compare", "load_results"]

__version__ = "0.1.0"


def compare(
    models: str | Sequence[str] = "all",
    tasks: str | Sequence[str] | None = None,
    *,
    suite: str | None = None,
    reference: str | None = None,
    results_dir: str | PathLike[str] = "results",
    max_minutes: float | None = None,
    from_store: bool = False,
    **options: Any,
) -> ComparisonResult:
    """Compare models in size, speed, memory and quality; `bertbench.api.compare` says what the arguments mean.

    Raises:
        BertBenchError: the comparison cannot be made, or the store has none.
    """
    from bertbench import api  # loads what measures

    return api.compare(
        models,
        tasks,
        suite=suite,
        reference=reference,
        results_dir=results_dir,
        max_minutes=max_minutes,
        from_store=from_store,
        **options,
    )


def load_results(folder: str | PathLike[str]) -> pd.DataFrame:
    """Load every measurement in a results folder as a row; `bertbench.records.table` says which columns there are.

    Raises:
        StoreError: there is no such folder.
    """
    from bertbench.records import table  # loads pandas

    return table.load_results(folder)
