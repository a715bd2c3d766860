"""Findings for continuous integration: JUnit XML, GitHub's annotations and job summary. Not aware of how they came about.

Sources: https://docs.github.com/actions/reference/workflow-commands-for-github-actions (escaping, summary); JUnit XML by
junitparser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import StoreError, UsageError
from bertbench.gate.report import sentence
from bertbench.report import places
from bertbench.safe_text import visible, visible_lines
from bertbench.streams import encoded

if TYPE_CHECKING:
    from bertbench.gate.finding import Finding

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
    places.check(path, "--junit")


def write_junit(findings: Sequence[Finding], path: Path) -> None:
    """A test case a finding: failures fail, what is inconclusive or not gated is skipped, with the reason.

    Raises:
        StoreError: the file cannot be written.
    """
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite("bertbench check")
    for finding in findings:
        words = visible_lines(sentence(finding))
        case = TestCase(
            visible(finding.name.removeprefix(f"{finding.model}: ")),
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
    places.write(path, "--junit", lambda scratch: xml.write(str(scratch), pretty=True))


def annotation_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line that GitHub shows as an error or warning, for each finding that does not pass."""
    for finding in findings:
        if finding.verdict in LEVELS:
            title = _escaped(f"bertbench: {finding.name}").replace(":", "%3A").replace(",", "%2C")
            yield f"::{LEVELS[finding.verdict]} title={title}::{_escaped(sentence(finding) or finding.verdict)}"


def _escaped(text: str) -> str:
    """Text as data of a workflow command, which ends with its line."""
    return visible_lines(text).replace("%", "%25").replace("\n", "%0A")


def add_summary(markdown: str, environment: Mapping[str, str]) -> None:
    """Append to the job's summary, where GitHub names a file for it.

    Raises:
        StoreError: the file cannot be written.
    """
    place = environment.get(SUMMARY)
    if not place:
        return
    try:
        with Path(place).open("ab") as stream:
            stream.write(encoded(f"{visible_lines(markdown)}\n"))
    except OSError as error:
        raise StoreError(f"{SUMMARY} {place}: cannot be written ({error.strerror or error})") from None
