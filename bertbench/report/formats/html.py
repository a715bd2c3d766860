"""Report to one HTML page with charts, which opens from disk without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.report.row import Report


@dataclass(frozen=True)
class HtmlExporter:
    """Gives a page with tables, charts, every figure and the records that they are from."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the page; both layouts are the same.

        Raises:
            UnavailableError: a library that draws charts is missing.
        """
        from bertbench.report.page.page import page  # jinja2 and, for charts, altair

        return page(report)


PLUGIN = HtmlExporter()
