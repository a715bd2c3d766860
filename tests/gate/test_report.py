"""JUnit, annotations, the job summary and the report's table, from the same findings."""

from dataclasses import replace

import pytest
from junitparser import JUnitXml

from bertbench.errors import UsageError
from bertbench.gate.finding import GateFinding
from bertbench.gate.report import SUMMARY, add_summary, annotation_lines, build, check_places, write_junit
from bertbench.stats.estimate import Estimate

FINDINGS = [
    GateFinding("size", "bert", "parameters unique", "pass", "1", "1", "equal"),
    GateFinding("size", "bert", "shapes of weights", "pass", "1 weights", "1 weights", "equal"),
    GateFinding(
        "quality",
        "bert",
        "score",
        "fail",
        "95.00",
        "90.00",
        "99% retained",
        "50%\nlost",
        "sst2",
        Estimate(-0.05, -0.06, -0.04),
    ),
    GateFinding("speed", "bert", "time", "inconclusive", reason="not timed now", detail="1x128", measured=False),
]


def test_junit_has_a_case_a_finding(tmp_path):
    """Failures fail with the figures, what is open is skipped with the reason, the totals fit."""
    write_junit(FINDINGS, tmp_path / "gate.xml")
    xml = JUnitXml.fromfile(str(tmp_path / "gate.xml"))
    assert (xml.tests, xml.failures, xml.skipped) == (4, 1, 1)
    cases = {case.name: case for suite in xml for case in suite}
    assert "95.00 before, 90.00 now" in cases["score (sst2)"].result[0].message
    assert "not timed now" in cases["time (1x128)"].result[0].message
    assert cases["parameters unique"].result == []


def test_junit_holds_what_workers_print(tmp_path):
    """A worker's colours and other characters that XML cannot hold are written as escapes."""
    noisy = GateFinding("speed", "bert", "time", "fail", reason="\x1b[31mbroken\x00\ud800")
    write_junit([noisy], tmp_path / "gate.xml")
    (suite,) = JUnitXml.fromfile(str(tmp_path / "gate.xml"))
    assert r"\x1b[31mbroken\x00\ud800" in next(iter(suite)).result[0].message


def test_junit_names_a_quantity_of_both_tiers_twice(tmp_path):
    """A quantity with a critical and an advisory margin is two cases, each with an identity of its own."""
    critical = GateFinding("speed", "bert", "time", "pass", detail="1x128")
    write_junit([critical, replace(critical, verdict="fail", tier="advisory")], tmp_path / "gate.xml")
    (suite,) = JUnitXml.fromfile(str(tmp_path / "gate.xml"))
    assert [(case.classname, case.name) for case in suite] == [
        ("bertbench.speed.bert", "time (1x128)"),
        ("bertbench.advisory.speed.bert", "time (1x128)"),
    ]


def test_two_outputs_need_two_files(tmp_path):
    """One file for JUnit and for the report would lose one of them."""
    with pytest.raises(UsageError, match="--output too"):
        check_places(output=tmp_path / "a.xml", junit=tmp_path / "a.xml")


def test_two_outputs_of_one_file_are_seen_through_links(tmp_path):
    """A link and the file that it names are one."""
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.xml")
    with pytest.raises(UsageError, match="--output too"):
        check_places(output=tmp_path / "b.csv", junit=tmp_path / "a.xml")


def test_junit_replaces_no_device(tmp_path):
    """A place that is a device is refused before anything is measured."""
    (tmp_path / "gate.xml").symlink_to("/dev/null")
    with pytest.raises(UsageError, match="not a regular file"):
        check_places(junit=tmp_path / "gate.xml")


def test_junit_needs_a_folder(tmp_path):
    """A place that cannot be written is refused before anything is measured."""
    with pytest.raises(UsageError, match="no folder"):
        check_places(junit=tmp_path / "nowhere" / "gate.xml")


def test_annotations_are_escaped():
    """A failure is an error, an open verdict a warning; signs that mean something to GitHub are escaped."""
    error, warning = annotation_lines(FINDINGS)
    assert error.startswith("::error title=bertbench%3A bert%3A score (sst2)::95.00 before, 90.00 now")
    assert "50%25%0Alost" in error
    assert warning.startswith("::warning ")


NOISE = "100%\r\nof\x00it \x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \x85\u009b\x7f\udcff, a:b"


def test_annotations_hold_one_line_of_printable_text():
    """Whatever a name or a reason holds, an annotation is one line, its title ends at its own colons, nothing controls a terminal."""
    (line,) = annotation_lines([GateFinding("speed", f"m{NOISE}", "time", "fail", reason=NOISE)])
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    title, text = line.removeprefix("::error title=").split("::", 1)
    noise = r"100%25\r%0Aof\x00it \x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \x85\x9b\x7f\udcff, a:b"
    assert title == f"bertbench: m{noise}: time".replace(":", "%3A").replace(",", "%2C")
    assert text.endswith(noise)


def test_junit_names_the_case_of_a_model_with_a_colon(tmp_path):
    """A model's name may look like a part of the quantity's."""
    write_junit([GateFinding("speed", "my: model", "time", "pass")], tmp_path / "gate.xml")
    (suite,) = JUnitXml.fromfile(str(tmp_path / "gate.xml"))
    assert next(iter(suite)).name == "time"


def test_summary_is_printable_utf8(tmp_path):
    """The job's summary is UTF-8 without control characters, with its lines as they were."""
    file = tmp_path / "summary.md"
    add_summary(f"## Gate\n模 {NOISE}", {SUMMARY: str(file)})
    text = file.read_bytes().decode("utf-8")
    assert text.startswith("## Gate\n模 100%\\r\nof\\x00it \\x1b[1;31mred")
    assert "\x1b" not in text


def test_summary_is_appended(tmp_path):
    """GitHub's file gets the text after what is there; elsewhere nothing is written."""
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    add_summary("## Gate", {SUMMARY: str(file)})
    add_summary("## Gate", {})
    assert file.read_text() == "before\n## Gate\n"


def test_report_shows_what_is_wrong_first():
    """The failure leads the table, equal quantities share a line, CSV rows are one a finding with the verdict."""
    report = build(FINDINGS, "Gate", "base")
    assert report.tables[0].title == "Gate: fail"
    assert [row[-1].partition(":")[0] for row in report.tables[0].rows] == ["fail", "inconclusive", "pass"]
    assert "-5.00 points [-6.00, -4.00]" in report.tables[0].rows[0]
    assert [row.verdict for row in report.rows] == [finding.verdict for finding in FINDINGS]
