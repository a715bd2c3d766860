"""A report to one HTML file: tables, charts, every figure and every record, with nothing to be fetched from elsewhere.

What strangers named is text: the template escapes all of it, and what the script shows it shows as text, too.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bertbench import __version__
from bertbench.errors import UnavailableError
from bertbench.report.page.drawing import Chart, Gap
from bertbench.report.page.points import ALL_TASKS, FILTERS, verdict_cells
from bertbench.safe_text import visible, visible_lines

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.report.compare.history import Series
    from bertbench.report.row import Report, Row, Style, Table

NEEDED = ("altair", "vl_convert", "jinja2")
FILTER_TITLES = {"model": "Model", "task": "Task", "device": "Device", "backend": "Back-end"}
SOURCES = ("page.html", "page.css", "page.js")
TORCH_WHEELS = "https://download.pytorch.org/whl"  # PyPI has no builds for one device, such as 2.6.0+cpu
EXPORTS = "window.vegaEmbed = vegaEmbed;"
VERDICTS = ("Model", "Figure", "Measured", "Against the reference", "Published", "Verdict")
OF_FIGURES = (
    "Every figure carries its session. Ratios are taken within one session, round by round, so that other load cancels out.",
    "Times of different sessions or machines differ by more than their intervals say.",
    "Brackets and bars are 95% intervals: of times over rounds of fresh processes, of scores over examples and, from 3 seeds, seeds.",
    "Sizes and operations are exact counts of the module that was built. Memory is a single reading, taken as certain to 5%.",
    "Where the same figure was measured in several sessions, charts show the newest one.",
)


def check_installed() -> None:
    """Prove that charts can be drawn.

    Raises:
        UnavailableError: a library is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"pages and pictures need {' and '.join(missing)}", "install them: pip install 'bertbench[report]'"
        )


@dataclass(frozen=True)
class ColumnCell:
    """A cell of a table: its text, and whose column it is."""

    text: str
    model: str | None = None


def page(report: Report, now: datetime | None = None) -> str:
    """Write the report as one page.

    Raises:
        UnavailableError: a library is missing.
    """
    check_installed()
    from bertbench.report.page import details

    parts = charts_of(report)
    drawn = [part for part in parts if isinstance(part, Chart)]
    content = {
        "charts": details.charts(drawn),
        "figures": details.figures(report.rows),
        **details.records(report.sessions),
        "filters": FILTERS,
        "allTasks": ALL_TASKS,
    }
    moment = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    html: str = _template().render(
        title=report.title,
        made=f"Made by bertbench {__version__} on {moment}",
        sessions=[_session(stored) for stored in report.sessions],
        glance=[_table(table) for table in report.shown],
        details=[_table(table) for table in report.tables] if report.glance else [],
        verdicts=verdict_cells(report.rows),
        verdict_titles=VERDICTS,
        filters=_filters(report.rows),
        parts=parts,
        has_charts=bool(drawn),
        has_records=bool(report.sessions),
        has_figures=bool(content["figures"]["rows"]),
        cells=_cells_of,
        how=[*OF_FIGURES, *_of_older(report)] if report.rows else [],
        notes=_notes(report),
        css=_source("page.css"),
        script=_source("page.js"),
        libraries=_libraries() if drawn else "",
        content=_embedded(content),
    )
    return html


def charts_of(report: Report) -> list[Chart | Gap]:
    """Return the charts of a report on sessions, and for each that it has not why; none of a report on other things."""
    if not report.sessions:
        return []
    from bertbench.report.page.charts import charts_of as drawn_of  # altair

    return list(drawn_of(report.rows, report.sessions, _series(report.sessions)))


def _series(sessions: Sequence[StoredSession]) -> list[Series]:
    """Collect figures over time, of several sessions; parts of models are left out."""
    if len(sessions) < 2:
        return []
    from bertbench.records.table import frame_of_sessions
    from bertbench.report.compare.history import series_of

    frame = frame_of_sessions(sessions)
    frame = frame[frame["value"].notna() & frame["quantity"].isin(["latency", "score", "peak_memory"])]
    return series_of(frame[~frame["statistic"].str.contains("/", regex=False)]) if len(frame) else []


def _session(stored: StoredSession) -> dict[str, str]:
    from bertbench.report.page.details import command_of, environment_lines

    session = stored.session
    machine = next((record.environment for record in stored.records if record.environment), None)
    lines = environment_lines(machine) if machine else {}
    packages = machine.packages if machine else {}
    pins = [f"{name}=={version}" for name, version in sorted(packages.items())]
    builds = {version.partition("+")[2] for version in packages.values()}
    indices = [
        part
        for build in sorted(filter(_is_of_torch, builds))
        for part in ("--extra-index-url", f"{TORCH_WHEELS}/{build}")
    ]
    return {
        "id": session.session_id,
        "again": command_of(session, fresh=True),
        "suite": session.suite,
        "started": session.started_at,
        "version": session.bertbench_version,
        "machine": ", ".join(lines[name] for name in ("GPU", "Processor", "System") if name in lines),
        "commit": lines.get("Commit of bertbench", ""),
        "pins": shlex.join([*indices, *pins]) if pins else "",
    }


def _is_of_torch(build: str) -> bool:
    """Tell whether torch is built for a device under this name: 'cpu', 'cu128'."""
    return build == "cpu" or (build[:2] == "cu" and build[2:].isdecimal())


def _table(table: Table) -> dict[str, Any]:
    """Prepare a table: cells with whose they are, rows that begin a section, notes but for those on a terminal."""
    of_column = [*(None,) * (len(table.columns) - len(table.models)), *table.models]
    starts, row = set(), 0
    for count in table.sections:
        starts.add(row)
        row += count
    return {
        "title": table.title,
        "columns": [ColumnCell(text, model) for text, model in zip(table.columns, of_column, strict=True)],
        "rows": [
            [ColumnCell(text, model) for text, model in zip(cells, of_column, strict=True)] for cells in table.rows
        ],
        "numbers": [kind == "number" for kind in table.kinds] or [False] * len(table.columns),
        "starts": starts,
        "notes": list(table.notes),
        "accents": table.accents,
    }


def _accented(text: str, accents: Mapping[str, Style]) -> Any:
    """Escape text, and mark those of its parts that are shown otherwise."""
    from markupsafe import Markup, escape

    if not accents:
        return escape(visible_lines(text))
    parts = re.split(f"({'|'.join(re.escape(accent) for accent in sorted(accents, key=len, reverse=True))})", text)
    marked = Markup('<span class="{}">{}</span>')
    return Markup().join(
        marked.format(accents[part], visible_lines(part)) if part in accents else escape(visible_lines(part))
        for part in parts
    )


def _filters(rows: Sequence[Row]) -> dict[str, tuple[str, list[str]]]:
    """Return by field the title and the values of those filters that leave a choice."""
    values = {
        name: list(dict.fromkeys(str(value) for row in rows if (value := getattr(row, name)) is not None))
        for name in FILTERS
    }
    return {name: (FILTER_TITLES[name], known) for name, known in values.items() if len(known) > 1}


def _cells_of(chart: Chart) -> Iterator[tuple[dict[str, str], list[str], str | None]]:
    """Yield the rows of a chart's table: what filters decide by, the cells, and the run."""
    for point in chart.points:
        keys = {name: str(point[name]) for name in FILTERS if point.get(name) is not None}
        yield keys, [str(point.get(name) or "") for name in chart.columns.values()], point.get("run")


def _of_older(report: Report) -> list[str]:
    """Say of which sessions no figure is listed, as all of it was measured again."""
    listed = {row.session_id for row in report.rows}
    count = len([stored for stored in report.sessions if stored.session.session_id not in listed])
    told = f"{count} older session{'s' if count > 1 else ''}"
    return [f"Of {told} nothing is listed, as all was measured again; see the charts over time."] if count else []


def _notes(report: Report) -> list[str]:
    """Return what the tables that have every detail say below them, and what the report says."""
    tables = report.tables if report.glance else ()
    return list(dict.fromkeys([*(note for table in tables for note in table.notes), *report.notes]))


def _source(name: str) -> str:
    return resources.files("bertbench.report.page").joinpath(name).read_text(encoding="utf-8")


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "one_line": lambda text: visible(str(text)),
        "lines": lambda text: visible_lines(str(text)),
        "accented": _accented,
    }
    return environment.from_string(_source("page.html"))


@cache
def _libraries() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script."""
    import vl_convert

    return str(vl_convert.javascript_bundle(EXPORTS)).replace("</script", r"<\/script")


def _embedded(content: Any) -> str:
    """Write JSON that may stand in an element of HTML: nothing in it opens or closes one."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
