"""Findings as a report: what is wrong comes first, a model's equal quantities share a line, CSV has a row each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError, UsageError
from bertbench.gate.finding import EQUAL, GateFinding, verdict_of
from bertbench.records.record import UNDEFINED
from bertbench.report import output
from bertbench.report.caveats import remarks
from bertbench.report.row import Report, Row, Table
from bertbench.safe_text import visible, visible_lines
from bertbench.streams import encoded
from bertbench.units import times

if TYPE_CHECKING:
    from bertbench.stats.estimate import Estimate

COLUMNS = ("Model", "Quantity", "Before", "Now", "Change", "Margin", "Verdict")
ORDER = ("fail", "inconclusive", "not gated", "pass")
WORDS = {
    "pass": "pass: every gated quantity is within its margin",
    "fail": "fail: at least one quantity is beyond its margin",
    "inconclusive": "inconclusive: nothing fails, but not everything could be shown to be within its margin",
    "nothing measured": "nothing measured: there is nothing that this gate could compare",
}
RULES = {
    "speed": "times are ratios to the reference within a session, never seconds; looks after 5, 8, 12 and 16 rounds, error of "
    "5% on each side spent over them; failing corrected for the number of quantities (Holm)",
    "quality": "scores: paired on the same examples, 5% on each side; a margin that the examples cannot show is refused",
    "memory": "memory: ratios of single readings to the reference's",
}


def build(findings: Sequence[GateFinding], title: str, suite: str | None, notes: Sequence[str] = ()) -> Report:
    """Build the report of a gate.

    Args:
        findings: of all quantities.
        title: what was compared with what.
        suite: its name.
        notes: what else a reader should know.
    """
    shown = sorted(_merged(findings), key=lambda finding: ORDER.index(finding.verdict))
    rows = tuple(_line(finding) for finding in shown)
    kinds = {finding.kind for finding in findings if finding.verdict != "not gated"}
    below = [WORDS[verdict_of(findings)], *notes, *(rule for kind, rule in RULES.items() if kind in kinds)]
    table = Table(f"Gate: {verdict_of(findings)}", COLUMNS, rows, tuple(below), ("text",) * len(COLUMNS))
    return Report(title, (table,), tuple(_row(finding, suite) for finding in findings))


def _merged(findings: Sequence[GateFinding]) -> Iterator[GateFinding]:
    """Yield what is equal and passes as one finding a kind and task, with all models that it holds of."""
    groups: dict[tuple[str, str, str | None], list[GateFinding]] = {}
    for finding in findings:
        if finding.margin == EQUAL and finding.verdict == "pass":  # one line for all that is simply equal
            groups.setdefault((finding.model, finding.kind, finding.detail), []).append(finding)
        else:
            yield finding
    alike: dict[tuple[str, str, str | None], list[GateFinding]] = {}
    for (_, kind, detail), group in groups.items():
        names = ", ".join(dict.fromkeys(finding.quantity.replace("_", " ") for finding in group))
        alike.setdefault((names, kind, detail), []).append(group[0])
    for (names, _, _), ones in alike.items():
        models = ", ".join(finding.model for finding in ones)
        yield replace(ones[0], model=models, quantity=names, before="", now=EQUAL)


def _line(finding: GateFinding) -> tuple[str, ...]:
    detail = f" ({finding.detail})" if finding.detail else ""
    verdict = f"{finding.verdict}{f': {finding.reason}' if finding.reason else ''}"
    return (
        finding.model, f"{finding.quantity.replace('_', ' ')}{detail}", finding.before, finding.now,
        change_text(finding), finding.margin, verdict,
    )  # fmt: skip


def change_text(finding: GateFinding) -> str:
    """Write the change: '1.01x [0.99, 1.03]' of times and memory, '-0.2 points [-0.5, 0.1]' of scores."""
    if finding.estimate is None:
        return ""
    if finding.kind == "quality":
        return f"{finding.estimate.value * 100:+.2f} points{_bounds(finding.estimate, lambda value: f'{value * 100:+.2f}')}"
    return f"{times(finding.estimate.value)}{_bounds(finding.estimate, lambda value: times.parts(value)[0])}"


def _bounds(estimate: Estimate, write: Callable[[float], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{write(estimate.low)}, {write(estimate.high)}]"


def _row(finding: GateFinding, suite: str | None) -> Row:
    """Build a row; `statistic` is 'difference' of scores (now - before), 'ratio' of times and memory, else 'equal'."""
    estimate = finding.estimate
    is_task = finding.kind == "quality"
    is_score = is_task and estimate is not None
    value = estimate.value if estimate else None
    return Row(
        suite=suite,
        model=finding.model,
        task=finding.detail if is_task else None,
        scenario=None if is_task else finding.detail,
        quantity=finding.quantity.replace(" ", "_"),
        statistic="difference" if is_score else "ratio" if estimate else "equal",
        unit="1",
        value=value,
        text=f"{finding.before or '-'} -> {finding.now or '-'}",
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        method=estimate.method if estimate else None,
        n=finding.n,
        n_unit=finding.unit,
        reference="baseline",
        verdict=finding.verdict,
        status=UNDEFINED if finding.undefined else "ok" if finding.measured else "skipped",
        caveats=remarks(f"margin {finding.margin}" if finding.margin else None, finding.reason),
    )


def sentence(finding: GateFinding) -> str:
    """Write one line for an annotation: what, how much, why."""
    moved = f"{finding.before or '-'} before, {finding.now or '-'} now" if finding.before or finding.now else ""
    parts = [moved, change_text(finding), f"margin {finding.margin}" if finding.margin else "", finding.reason]
    return "; ".join(part for part in parts if part)


# Findings for continuous integration: JUnit XML, GitHub's annotations and job summary.
#
# Sources: https://docs.github.com/actions/reference/workflow-commands-for-github-actions (escaping, summary); JUnit XML by
# junitparser.

LEVELS = {"fail": "error", "inconclusive": "warning"}
SUMMARY = "GITHUB_STEP_SUMMARY"


def check_place(path: Path | None, other: Path | None = None) -> None:
    """Prove, before any work, that a file can be written there, and that it is not that of `other`.

    Raises:
        UsageError: a folder or device, no such folder, or one that cannot be written to; or both are the same file.
    """
    if path is None:
        return
    if other is not None and os.path.realpath(path) == os.path.realpath(other):
        raise UsageError(f"--junit {path}: is the file of --output too", "name two files")
    output.check_file(path, "--junit")


def write_junit(findings: Sequence[GateFinding], path: Path) -> None:
    """Write a test case a finding: failures fail, what is inconclusive or not gated is skipped, with the reason.

    Raises:
        StoreError: the file cannot be written.
    """
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite("bertbench check")
    for finding in findings:
        words = visible_lines(sentence(finding))
        case = TestCase(
            visible(finding.subject),
            classname=visible(f"bertbench.{finding.kind}.{finding.model}"),
        )
        if finding.verdict == "fail":
            case.result = [Failure(words, "regression")]
        elif finding.verdict != "pass":
            case.result = [Skipped(f"{finding.verdict}: {words}")]
        suite.add_testcase(case)
    xml = JUnitXml("bertbench")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    output.write_file(path, "--junit", lambda scratch: xml.write(str(scratch), pretty=True))


def annotation_lines(findings: Sequence[GateFinding]) -> Iterator[str]:
    """Yield a line that GitHub shows as an error or warning, for each finding that does not pass."""
    for finding in findings:
        if finding.verdict in LEVELS:
            # A ':' or ',' would end the title.
            title = _escaped(f"bertbench: {finding.name}").replace(":", "%3A").replace(",", "%2C")
            yield f"::{LEVELS[finding.verdict]} title={title}::{_escaped(sentence(finding) or finding.verdict)}"


def _escaped(text: str) -> str:
    """Escape text as data of a workflow command, which ends with its line."""
    return visible_lines(text).replace("%", "%25").replace("\n", "%0A")  # '%' first: the escapes hold it


def add_summary(markdown: str, environment: Mapping[str, str]) -> None:
    """Append to the job's summary, where GitHub names a file for it.

    Raises:
        StoreError: the file cannot be written.
    """
    path = environment.get(SUMMARY)
    if not path:
        return
    try:
        with Path(path).open("ab") as stream:
            stream.write(encoded(f"{visible_lines(markdown)}\n"))
    except OSError as error:
        raise StoreError(f"{SUMMARY} {path}: cannot be written ({error.strerror or error})") from None
