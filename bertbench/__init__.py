"""bertbench: what compressing BERT costs and gains, measured."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["__version__", "load_results"]

__version__ = "0.1.0"


def load_results(folder: str | PathLike[str]) -> pd.DataFrame:
    """Load every measurement in a results folder as a row; `bertbench.records.table` says which columns there are.

    Raises:
        StoreError: there is no such folder.
    """
    from bertbench.records import table  # loads pandas

    return table.load_results(folder)
