"""What the page holds of every figure and every record: compact, for a script to show and to filter.

Strings stand once, in a list that all else points into; settings and environments that records have in common stand once, too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.report.page.points import figure_name
from bertbench.report.row import Row, method_text
from bertbench.report.tables.figures import figure_text, way_name
from bertbench.safe_text import visible
from bertbench.units import duration, times

if TYPE_CHECKING:
    from bertbench.records.record import Environment, RunRecord, SessionRecord
    from bertbench.records.stored import StoredSession
    from bertbench.report.page.drawing import Chart

FIGURE_FIELDS = (
    "model",
    "task",
    "device",
    "backend",
    "way",
    "figure",
    "value",
    "ratio",
    "count",
    "method",
    "note",
    "run",
)
ANSWERED = {"compare", "run", "speed", "distill"}  # commands that the store answers where it can


@dataclass
class SharedValues:
    """Values that stand once, each with its number; 0 is nothing."""

    values: list[Any] = field(default_factory=lambda: [""])
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, value: Any) -> int:
        """Return the number of a value, which joins the others unless it is there."""
        if value in (None, ""):
            return 0
        key = json.dumps(value, sort_keys=True)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Return every figure as numbers of strings, a list a figure, in the order of `FIGURE_FIELDS`."""
    pool = SharedValues()
    told = [[pool.number(_safe(text)) for text in _figure(row)] for row in rows if _is_told(row)]
    return {"fields": FIGURE_FIELDS, "strings": pool.values, "rows": told}


def _is_told(row: Row) -> bool:
    """Tell whether a row has something to show; a failed run is a figure, too."""
    return row.value is not None or bool(row.text) or row.status not in {None, "ok"}


def _figure(row: Row) -> tuple[str | None, ...]:
    value = figure_text(row) if row.value is not None else row.text or row.status
    has_bounds = row.ratio is not None and row.ratio_low is not None and row.ratio_high is not None
    bounds = f" [{times(row.ratio_low or 0.0)}, {times(row.ratio_high or 0.0)}]" if has_bounds else ""
    ratio = f"{times(row.ratio)}{bounds}" if row.ratio is not None else None
    count = f"{row.n:,} {row.n_unit or ''}".strip() if row.n is not None else None
    method = method_text(row.method) if row.method is not None else None
    run = row.run_ids[0] if row.run_ids else None
    name = figure_name(row)
    return (
        row.model,
        row.task,
        row.device,
        row.backend,
        way_name(row),
        name,
        value,
        ratio,
        count,
        method,
        row.note,
        run,
    )


def records(sessions: Sequence[StoredSession]) -> dict[str, Any]:
    """Return every record once, with its session, settings and environment by number."""
    settings, environments, told = SharedValues(), SharedValues(), []
    for number, stored in enumerate(sessions):
        told += [_record(record, number, settings, environments) for record in stored.records]
    commands = [_session(stored.session) for stored in sessions]
    unique = {
        record["run"]: record for record in reversed(told)
    }  # a run that was taken over stands in several sessions
    return {
        "records": list(reversed(unique.values())),
        "sessions": commands,
        "settings": settings.values,
        "environments": environments.values,
    }


def _record(record: RunRecord, session: int, settings: SharedValues, environments: SharedValues) -> dict[str, Any]:
    at = f"@{record.revision[:12]}" if record.revision else ""
    told = {
        "run": record.run_id,
        "kind": record.kind,
        "model": record.model_name,
        "task": record.task_name,
        "seed": record.seed_label,
        "status": record.status,
        "started": record.started_at,
        "took": None if record.seconds is None else duration(record.seconds),
        "checkpoint": f"{record.checkpoint}{at}" if record.checkpoint else None,
        "weights": record.weights,
        "device": record.settings.get("device"),
        "backend": record.settings.get("backend"),
        "error": f"{record.error.kind}: {record.error.message}" if record.error else None,
        "warnings": [_safe(str(caution)) for caution in record.cautions] or None,
    }
    written = {
        visible(name): _written(value) for name, value in sorted(record.settings.items()) if value not in (None, [], {})
    }
    numbers = {"session": session, "settings": settings.number(written)}
    about = environment_lines(record.environment) if record.environment else None
    return {name: _safe(value) for name, value in told.items() if value is not None} | numbers | {
        "environment": environments.number(about)
    }  # fmt: skip


def _written(value: Any) -> str:
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _safe(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value


def command_of(session: SessionRecord, *, fresh: bool = False) -> str:
    """Write the command that made a session, as it would be typed; `fresh`: so that the store does not answer it."""
    is_answered = session.command in ANSWERED and "--fresh" not in session.argv
    return visible(shlex.join(["bertbench", *session.argv, *(["--fresh"] if fresh and is_answered else [])]))


def _session(session: SessionRecord) -> dict[str, Any]:
    told = {"id": session.session_id, "suite": session.suite, "started": session.started_at}
    version = {"version": session.bertbench_version}
    commands = {"command": command_of(session), "again": command_of(session, fresh=True)}
    return {name: _safe(value) for name, value in (told | version).items()} | commands


def environment_lines(environment: Environment) -> dict[str, str]:
    """Write what is known of a machine and its software, line by line."""
    commit = (
        environment.commit and f"{environment.commit[:12]}{' with uncommitted changes' if environment.dirty else ''}"
    )
    told = {
        "Processor": f"{environment.cpu}, {environment.usable_cores} usable cores",
        "Memory": f"{environment.memory_bytes / 1e9:.1f} GB",
        "GPU": environment.gpu,
        "System": environment.system,
        "Python": environment.python,
        "Packages": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
        "Commit of bertbench": commit,
    }
    return {name: visible(text) for name, text in told.items() if text}


def charts(drawn: Sequence[Chart]) -> list[dict[str, Any]]:
    """Return the charts in Vega-Lite, their points as a list of fields and a list of values a point."""
    told = []
    for chart in drawn:
        fields = list(dict.fromkeys(name for point in chart.points for name in point))
        rows = [[_safe(point.get(name)) for name in fields] for point in chart.points]
        told.append(
            {
                "name": chart.name,
                "spec": chart.spec(),
                "fields": fields,
                "rows": rows,
                "oneTask": chart.one_task,
                "bands": chart.bands,
            }
        )
    return told
