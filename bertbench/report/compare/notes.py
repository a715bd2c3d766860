"""What a reader must know about a comparison: when, where and how it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bertbench.records.cautions import FAILED_LATER, LISTED, NAMES_ITS_TASK, OTHER, Caution, in_words
from bertbench.records.record import Environment, RunRecord
from bertbench.records.table import Staleness
from bertbench.report.caveats import Stale
from bertbench.report.compare.evidence import Evidence
from bertbench.report.row import Report, Row, method_text
from bertbench.report.tables.figures import way_label
from bertbench.units import duration

if TYPE_CHECKING:
    from bertbench.records.stored import StoredSession
    from bertbench.specs.catalog import Catalog

NO_ATTENTION = "none"  # of a back-end that runs a file of its own
MOST_SUBJECTS = 6  # named of those that a warning is about
_FIGURE = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")  # not the 32 of fp32


def age(started_at: str, now: datetime) -> str:
    """Write how long ago something was: '3 min 20 s', '2 days'."""
    started = datetime.fromisoformat(started_at)
    seconds = (now - (started if started.tzinfo else started.replace(tzinfo=UTC))).total_seconds()
    days = seconds / 86400
    if days < 2:
        return duration(max(seconds, 0))
    return f"{days:.0f} days"


def notes(evidence: Evidence, rows: Sequence[Row], now: datetime) -> list[str]:
    """Write the lines that stand under the tables."""
    session = evidence.stored.session
    records = [record for record in evidence.stored.records if record.model_name in evidence.models]
    unfinished = "" if session.complete else "; incomplete: not every cell was measured"
    lines = [f"session {session.session_id}, measured {age(session.started_at, now)} ago{unfinished}"]
    lines += _speed([record for model in evidence.models for record in evidence.speeds(model)])
    lines += [_environment(environment) for environment in _distinct(record.environment for record in records)]
    lines += _quality(records)
    methods = _distinct(method for row in rows for method in (row.method, row.ratio_method))
    if methods:
        lines.append(f"intervals are of 95%: {'; '.join(_distinct(map(method_text, methods)))}")
    lines += session.notes
    return _distinct([*lines, *_warnings(records)])


# Warnings that change how figures are read, the gravest first; others are for those who look closer.
GRAVE = (
    "not-learned", "guessed-outputs", FAILED_LATER, "other-attention", "time-limit-early", "swapped", "hypervisor",
    "stood-still", "busy-start", "other-programs", "slower-at-the-end", "unsteady-start", "indistinct", "random-start",
    "random-ranges",
    OTHER,  # of older records, which do not say what kind it is
)  # fmt: skip


def at_a_glance(evidence: Evidence, now: datetime) -> list[str]:
    """Write the lines under a table at a glance: the gravest warning, and which session this is."""
    session = evidence.stored.session
    records = [record for record in evidence.stored.records if record.model_name in evidence.models]
    grave = grave_warnings(records)
    more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
    lines = [f"warning: {line}{more}" for line in grave[:1]]
    unfinished = "" if session.complete else ", incomplete"
    machines = [
        f"{environment.gpu or environment.cpu}, {environment.usable_cores} cores"
        for environment in _distinct(record.environment for record in records)
    ]
    where = "; ".join(dict.fromkeys(machines))
    lines.append(f"session {session.session_id}, {age(session.started_at, now)} ago{unfinished}, {where}")
    return lines


def grave_warnings(records: Sequence[RunRecord]) -> list[str]:
    """Write the warnings that change how figures are read, the gravest first."""
    kinds = {caution.kind for record in records for caution in record.cautions}
    return [line for kind in GRAVE if kind in kinds for line in _warnings(records, {kind})]


def _warnings(records: Sequence[RunRecord], kinds: AbstractSet[str] | None = None) -> list[str]:
    """Write each warning, or those of some kinds, once with the models it is about; those of a whole session without models.

    Those that differ in their subjects and figures alone are one line.
    """
    shared = {caution for record in records if record.kind == "speed" for caution in record.cautions}
    several = len({record.task_name for record in records if record.kind == "quality"}) > 1
    about: dict[tuple[str | None, Caution], list[str]] = {}
    for record in records:
        for caution in record.cautions:
            if kinds is not None and caution.kind not in kinds:
                continue
            named = several and record.kind == "quality" and caution.kind not in NAMES_ITS_TASK
            about.setdefault((record.task_name if named else None, caution), []).append(record.model_name)
    alike: dict[Any, list[tuple[Sequence[str | None], Caution]]] = {}
    for (task, caution), models in about.items():
        subjects = [caution.subject] if caution in shared else _distinct(models)
        with_subject = tuple(subjects) if LISTED & caution.facts.keys() else any(subjects)
        alike.setdefault((task, with_subject, caution.likeness), []).append((subjects, caution))
    # Warnings of older records are sentences, in which only the wording shows what is alike.
    lines = [(kind == OTHER, _line(task, cautions)) for (task, _, (kind, _)), cautions in alike.items()]
    return [*(line for is_old, line in lines if not is_old), *merged(line for is_old, line in lines if is_old)]


def _line(task: str | None, alike: Sequence[tuple[Sequence[str | None], Caution]]) -> str:
    """Write what cautions of one likeness say, after their subjects and the task."""
    words = in_words([caution for _, caution in alike])
    subjects = _distinct(subject for of_one, _ in alike for subject in of_one)
    text = f"{task}, {words}" if task else words
    return f"{_named(subjects)}: {text}" if subjects else text


def _named(subjects: Sequence[str]) -> str:
    rest = f" and {len(subjects) - MOST_SUBJECTS} more" if len(subjects) > MOST_SUBJECTS else ""
    return f"{', '.join(subjects[:MOST_SUBJECTS])}{rest}"


def merged(lines: Iterable[str]) -> list[str]:
    """Merge lines of one kind: their subjects side by side, and the range of figures that differ.

    Of one kind are those that say the same but for figures after the subject, which ends at the first colon.
    """
    kinds: dict[str, list[str]] = {}
    for line in lines:
        # A line without a colon has no subject, and is of a kind of its own.
        kinds.setdefault(_FIGURE.sub("#", line.partition(": ")[2]) or line, []).append(line)
    return [of[0] if len(of) == 1 else _in_one(of) for of in kinds.values()]


def _in_one(lines: Sequence[str]) -> str:
    subjects = _distinct(line.partition(": ")[0] for line in lines)
    texts = [line.partition(": ")[2] for line in lines]
    ranges = map(_range, zip(*map(_FIGURE.findall, texts), strict=True))
    return f"{_named(subjects)}: {_FIGURE.sub(lambda _: next(ranges), texts[0])}"


def _range(figures: Sequence[str]) -> str:
    ordered = sorted(figures, key=lambda figure: float(figure.replace(",", "")))
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def _distinct(items: Iterable[Any]) -> list[Any]:
    seen: list[Any] = []  # no set: an environment holds a dict, which cannot be hashed
    for item in items:
        if item and item not in seen:
            seen.append(item)
    return seen


def _environment(environment: Environment) -> str:
    packages = ", ".join(
        f"{name} {environment.packages[name]}" for name in ("torch", "transformers") if name in environment.packages
    )
    processor = environment.gpu or environment.cpu
    text = f"environment: {processor}, {environment.usable_cores} cores, {environment.system}"
    return f"{text}, Python {environment.python}{f', {packages}' if packages else ''}"


def _speed(records: Sequence[RunRecord]) -> list[str]:
    """Write shapes, rounds and execution settings; several lines if models differ in more than the way of running."""
    ways: dict[tuple[str | None, ...], list[RunRecord]] = {}
    for record in records:
        if record.status != "ok":
            continue
        settings = record.settings
        latency = record.find("latency")
        # What takes part in every round of several blocks has more of them than it is compared by.
        rounds = settings.get("rounds") or (len(latency.values) if latency else None)
        shapes = settings.get("shapes")
        common = (
            f"shapes (batch x tokens) {', '.join(shapes)}" if shapes else None,
            f"{rounds} rounds" if rounds else None,
            *(f"{key} {settings[key]}" for key in ("device", "threads") if settings.get(key) is not None),
        )
        ways.setdefault(common, []).append(record)
    lines = []
    for common, of_common in ways.items():
        of = _distinct(way_label(record.settings.get("backend"), record.settings.get("dtype")) for record in of_common)
        back_ends = f"back-end{'s' if len(of) > 1 else ''} {', '.join(of)}"
        lines.append(f"speed: {', '.join(filter(None, (*common, _attention(of_common), back_ends)))}")
    return [*lines, *_distinct(_calibrated(record) for record in records)]


def _calibrated(record: RunRecord) -> str | None:
    """Say what the ranges of a static quantization are from; of random ids a warning tells."""
    known = record.settings.get("calibration")
    if not known or known["task"] is None or record.status != "ok":
        return None
    return f"{record.settings['backend']}: ranges of activations from {known['examples']} texts of {known['task']} {known['split']}"


def _attention(records: Sequence[RunRecord]) -> str | None:
    """Name the attention of all models, or which had which: times compare architectures only where it is the same."""
    models: dict[str, list[str]] = {}
    for record in records:
        used = record.settings.get("attention")
        if used and used != NO_ATTENTION:
            models.setdefault(used, []).append(record.model_name)
    if not models:
        return None
    if len(models) == 1:
        return f"attention {next(iter(models))}"
    return "attention " + " and ".join(f"{used} ({', '.join(_distinct(of))})" for used, of in models.items())


def _quality(records: Sequence[RunRecord]) -> list[str]:
    """Write for each task how, with which seeds and on how much it was trained and evaluated."""
    lines = []
    runs = [record for record in records if record.kind == "quality" and record.status == "ok"]
    for task in _distinct(record.task_name for record in runs):
        of_task = [record for record in runs if record.task_name == task]
        modes = _distinct(record.settings.get("mode") for record in of_task)
        seeds = [label for label in dict.fromkeys(map(_seed_label, sorted(of_task, key=_seeds))) if label is not None]
        parts = [
            *modes,
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" if seeds else None,
            *_counted(of_task, "train_samples", "training samples"),
            *_resampled(of_task),
            *_evaluated(of_task),
            *_counted(of_task, "epochs", "epochs"),
            *(f"evaluated in {dtype}" for dtype in _distinct(_evaluated_otherwise(record) for record in of_task)),
            *(f"trained in {dtype}" for dtype in _distinct(_trained_otherwise(record) for record in of_task)),
        ]
        lines += [f"{task}: {', '.join(part for part in parts if part)}", *_origins(task, of_task)]
    return lines


def _seeds(record: RunRecord) -> list[int]:
    return [-1 if seed is None else seed for seed in record.seeds]


def _seed_label(record: RunRecord) -> str | None:
    return record.seed_label


def _origins(task: str, records: Sequence[RunRecord]) -> list[str]:
    """Who trained the published checkpoints of a task, and how, where that differs."""
    origins = {
        record.model_name: str(origin["origin"])
        for record in records
        if (origin := record.settings.get("origin")) and origin.get("origin")
    }
    if len(set(origins.values())) < 2:
        return []
    return [
        f"{task}: checkpoints of different origins: {'; '.join(f'{model}: {text}' for model, text in origins.items())}"
    ]


def _evaluated_otherwise(record: RunRecord) -> str | None:
    """Return the number format of evaluating where it is not that in which scores are usually published."""
    dtype = record.settings.get("dtype")
    return None if dtype == "fp32" else dtype


def _trained_otherwise(record: RunRecord) -> str | None:
    """Return the number format of training where it is not that of evaluating."""
    dtype = record.settings.get("training_dtype")
    return None if dtype == record.settings.get("dtype") else dtype


def _counted(records: Sequence[RunRecord], key: str, title: str) -> list[str]:
    values = _distinct(record.settings.get(key) for record in records)
    return [f"{' or '.join(f'{value:,}' for value in values)} {title}"] if values else []


def _resampled(records: Sequence[RunRecord]) -> list[str]:
    """Write that training sets were drawn with replacement, and how many different examples they held."""
    distinct = [record.distinct_samples for record in records if record.distinct_samples is not None]
    if not distinct:
        return []
    counts = " to ".join(f"{count:,}" for count in dict.fromkeys((min(distinct), max(distinct))))
    return [f"drawn with replacement by each data seed ({counts} of them different)"]


def _evaluated(records: Sequence[RunRecord]) -> list[str]:
    """On how many examples, and of how many if these are a sample."""
    pairs = _distinct(
        (record.settings.get("eval_samples"), record.settings.get("eval_available")) for record in records
    )
    counts = [
        f"{some:,} of {whole:,}" if whole is not None and some < whole else f"{some:,}"
        for some, whole in pairs
        if some is not None
    ]
    return [f"{' or '.join(counts)} evaluation samples"] if counts else []


# What is stale, that is, would be measured otherwise today: in the notes of a report, and row by row.


def stale_runs(stored: StoredSession, catalog: Catalog) -> dict[str, str]:
    """Tell by run id why runs of a session are stale; other runs are left out."""
    judge = Staleness(catalog)
    reasons = {record.run_id: judge.reason(stored.session, record) for record in stored.records}
    return {run_id: reason for run_id, reason in reasons.items() if reason is not None}


def stale_notes(stored: StoredSession, stale: Mapping[str, str]) -> tuple[str, ...]:
    """Write what is stale in a session, one line a reason."""
    runs: dict[str, list[str]] = {}
    for record in stored.records:
        if record.run_id in stale:
            runs.setdefault(stale[record.run_id], []).append(f"{record.kind} of {record.model_name}")
    return tuple(
        f"STALE: {', '.join(dict.fromkeys(names))}: {reason}; --fresh measures again" for reason, names in runs.items()
    )


def mark_stale(report: Report, stored: StoredSession, catalog: Catalog) -> Report:
    """Mark stale figures of a report, in the notes and in the long rows."""
    stale = stale_runs(stored, catalog)
    if not stale:
        return report
    rows = []
    for row in report.rows:
        reason = next((stale[run] for run in row.run_ids if run in stale), None)
        rows.append(replace(row, caveats=(*row.caveats, Stale(reason))) if reason else row)
    return replace(report, rows=tuple(rows), notes=(*stale_notes(stored, stale), *report.notes))
