"""Findings as a report: what is wrong comes first, a model's equal quantities share a line, CSV has a row each."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError, UsageError
from bertbench.gate.finding import EQUAL, GateFinding, Margins, Tier, verdict_of
from bertbench.gate.policy import margin_text, quantity_named
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
    shown = sorted(_merged(findings), key=lambda finding: (ORDER.index(finding.verdict), not finding.counts))
    rows = tuple(_line(finding) for finding in shown)
    kinds = {finding.kind for finding in findings if finding.verdict != "not gated"}
    below = [
        WORDS[verdict_of(findings)],
        *_apart(findings),
        *notes,
        *(rule for kind, rule in RULES.items() if kind in kinds),
    ]
    table = Table(f"Gate: {verdict_of(findings)}", COLUMNS, rows, tuple(below), ("text",) * len(COLUMNS))
    return Report(title, (table,), tuple(_row(finding, suite) for finding in findings))


def _apart(findings: Sequence[GateFinding]) -> Iterator[str]:
    """Yield how much was found that decides nothing."""
    if findings and not any(finding.tier == "critical" for finding in findings):
        yield "nothing is critical: this gate cannot fail"
    open_ones = [finding for finding in findings if finding.verdict in {"fail", "inconclusive"} and not finding.counts]
    waived = sum(finding.waiver is not None for finding in open_ones)
    if len(open_ones) > waived:
        yield f"advisory, which decides nothing: {len(open_ones) - waived} not shown to be within their margin"
    if waived:
        yield f"waived: {waived} that would count otherwise"


def standing(finding: GateFinding) -> str:
    """Write the verdict, and why it decides nothing where that is so: 'fail, advisory', 'fail, waived until 2027-01-31: slow disk'."""
    tier = ", advisory" if finding.tier == "advisory" else ""
    waiver = f", waived until {finding.waiver.expires}: {finding.waiver.reason}" if finding.waiver else ""
    return f"{finding.verdict}{tier}{waiver}"


PLAN = ("Model", "Quantity", "Margin", "Tier", "Waived", "Remark")


def build_plan(
    findings: Sequence[GateFinding], margins: Mapping[Tier, Margins], title: str, notes: Sequence[str]
) -> Report:
    """Build the report of what would be gated, with which margin; a finding's reason says why it could not be."""
    rows = {
        (
            finding.model,
            f"{quantity_named(finding)}{f' ({finding.detail})' if finding.detail else ''}",
            margin_text(finding, margins[finding.tier]),
            finding.tier,
            f"until {finding.waiver.expires}: {finding.waiver.reason}" if finding.waiver else "",
            finding.reason if finding.verdict == "not gated" or not finding.measured else "",
        ): None
        for finding in findings
    }
    table = Table(
        "Would be gated",
        PLAN,
        tuple(rows),
        ("nothing was judged; only what a forecast takes was measured", *notes),
        ("text",) * len(PLAN),
    )
    return Report(title, (table,))


def _merged(findings: Sequence[GateFinding]) -> Iterator[GateFinding]:
    """Yield what is equal and passes as one finding a kind and task, with all models that it holds of."""
    groups: dict[tuple[str, str, str | None, str], list[GateFinding]] = {}
    for finding in findings:
        if finding.margin == EQUAL and finding.verdict == "pass":  # one line for all that is simply equal
            groups.setdefault((finding.model, finding.kind, finding.detail, finding.tier), []).append(finding)
        else:
            yield finding
    alike: dict[tuple[str, str, str | None, str], list[GateFinding]] = {}
    for (_, kind, detail, tier), group in groups.items():
        names = ", ".join(dict.fromkeys(finding.quantity.replace("_", " ") for finding in group))
        alike.setdefault((names, kind, detail, tier), []).append(group[0])
    for (names, *_), ones in alike.items():
        models = ", ".join(finding.model for finding in ones)
        yield replace(ones[0], model=models, quantity=names, before="", now=EQUAL)


def _line(finding: GateFinding) -> tuple[str, ...]:
    detail = f" ({finding.detail})" if finding.detail else ""
    verdict = f"{standing(finding)}{f'; {finding.reason}' if finding.reason and finding.waiver else f': {finding.reason}' if finding.reason else ''}"
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
        caveats=remarks(
            f"margin {finding.margin}" if finding.margin else None,
            finding.reason,
            None if finding.tier == "critical" and finding.waiver is None else standing(finding),
        ),
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
APART_LEVELS = {"fail": "warning", "inconclusive": "notice"}  # of what is advisory
SUMMARY = "GITHUB_STEP_SUMMARY"


def check_places(**paths: Path | None) -> None:
    """Prove, before any work, that the files of options can be written, and that no two are one; `output` has been proved.

    Raises:
        UsageError: a folder or device, no such folder, or one that cannot be written to; or two are the same file.
    """
    owners: dict[str, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        owner = owners.setdefault(os.path.realpath(path), name)
        if owner != name:
            raise UsageError(f"--{name} {path}: is the file of --{owner} too", "name two files")
        if name != "output":
            output.check_file(path, f"--{name}")


def write_junit(findings: Sequence[GateFinding], path: Path) -> None:
    """Write a test case a finding: failures fail, what is inconclusive or not gated is skipped, with the reason.

    A quantity may be in both tiers; what is advisory has a class of its own, so that no two cases are one to who reads them.

    Raises:
        StoreError: the file cannot be written.
    """
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite("bertbench check")
    for finding in findings:
        words = visible_lines(sentence(finding))
        case = TestCase(
            visible(finding.subject),
            classname=visible(
                f"bertbench.{'advisory.' if finding.tier == 'advisory' else ''}{finding.kind}.{finding.model}"
            ),
        )
        if finding.verdict == "fail" and finding.counts:
            case.result = [Failure(words, "regression")]
        elif finding.verdict != "pass":
            case.result = [Skipped(f"{visible_lines(standing(finding))}: {words}")]
        suite.add_testcase(case)
    xml = JUnitXml("bertbench")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    output.write_file(path, "--junit", lambda scratch: xml.write(str(scratch), pretty=True))


def annotation_lines(findings: Sequence[GateFinding]) -> Iterator[str]:
    """Yield a line that GitHub shows as an error or warning, for each finding that does not pass."""
    for finding in findings:
        if finding.verdict in LEVELS:
            level = "notice" if finding.waiver else (LEVELS if finding.counts else APART_LEVELS)[finding.verdict]
            # A ':' or ',' would end the title.
            title = _escaped(f"bertbench: {finding.name}").replace(":", "%3A").replace(",", "%2C")
            words = [sentence(finding) or finding.verdict, *([] if finding.counts else [standing(finding)])]
            yield f"::{level} title={title}::{_escaped('; '.join(words))}"


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


# Bencher's metric format: {benchmark: {measure: {value, lower_value, upper_value}}}.
#
# Source: https://bencher.dev/docs/reference/bencher-metric-format/


def bencher_metrics(
    findings: Sequence[GateFinding],
) -> tuple[dict[str, dict[str, dict[str, float]]], list[GateFinding]]:
    """Collect what has a number, and return what has none beside it.

    A benchmark is a model with its task or shape. A measure is what was found now, or its change with the interval of that.
    """
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    without: list[GateFinding] = []
    for finding in findings:
        measures = {
            name: metric for name, metric in _measures(finding).items() if all(map(math.isfinite, metric.values()))
        }
        if measures:
            benchmark = f"{finding.model} {finding.detail}" if finding.detail else finding.model
            metrics.setdefault(visible(benchmark), {}).update(measures)
        else:
            without.append(finding)
    return metrics, without


def _measures(finding: GateFinding) -> dict[str, dict[str, float]]:
    name, estimate = finding.quantity.replace(" ", "_"), finding.estimate
    is_ratio = finding.kind in {"speed", "memory"}
    measures = {}
    if finding.value is not None:
        measures[f"{name}_to_reference" if is_ratio else name] = {"value": finding.value}
    if estimate is not None:
        bounds = {"value": estimate.value, "lower_value": estimate.low, "upper_value": estimate.high}
        change = {key: bound for key, bound in bounds.items() if bound is not None}
        measures[f"{name}_{'ratio' if is_ratio else 'difference'}"] = change
    return measures


def write_bencher(findings: Sequence[GateFinding], path: Path) -> int:
    """Write Bencher's JSON, and return how many findings have no number and are not in it.

    Raises:
        StoreError: the file cannot be written.
    """
    metrics, without = bencher_metrics(findings)
    output.write_content(path, "--bencher", json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return len(without)
