"""Tables that people read, made of long rows: the comparison table and the detail table."""

from __future__ import annotations

from bertbench.tables.comparison import Comparison, comparison_table
from bertbench.tables.detail import detail_table, scores_table

__all__ = ["Comparison", "comparison_table", "detail_table", "scores_table"]
