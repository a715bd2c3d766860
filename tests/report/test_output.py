"""Where reports go: proved before work, written whole, quiet about closed pipes."""

import io
import json
import os
import subprocess
import sys

import pytest

from bertbench.errors import StoreError, UnknownNameError, UsageError
from bertbench.report import output
from bertbench.report.row import Report, Row, Table

REPORT = Report("A report", (Table("T", ("a", "b"), (("1", "2"),)),), (Row(model="bert", value=1.5),))


def test_nothing_to_check():
    """No output is always right."""
    output.check_output(None)


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.md", "out.tex", "out.xlsx", "OUT.CSV"])
def test_check_accepts(tmp_path, name):
    """Known endings in an existing folder are right, and nothing is left behind."""
    output.check_output(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_check_unknown_ending(tmp_path):
    """An unknown ending is refused with the nearest one."""
    with pytest.raises(UsageError, match=r"unknown ending '\.cvs'; did you mean '\.csv'\?"):
        output.check_output(tmp_path / "out.cvs")
    with pytest.raises(UsageError, match="no ending"):
        output.check_output(tmp_path / "out")


def test_check_missing_library(tmp_path, monkeypatch):
    """A format whose library is not installed is refused before any work, with what installs it."""
    monkeypatch.setattr(output, "find_spec", lambda _: None)
    output.check_output(tmp_path / "out.csv")
    with pytest.raises(UsageError, match=r"needs XlsxWriter. Install it: pip install 'bertbench\[excel\]'"):
        output.check_output(tmp_path / "out.xlsx")


def test_bytes_go_to_files_alone(tmp_path, capsys):
    """A workbook is written to a file, and never to stdout."""
    output.emit(REPORT, format="csv", output=tmp_path / "out.xlsx", layout="long")
    assert (tmp_path / "out.xlsx").read_bytes().startswith(b"PK")
    assert capsys.readouterr().out.startswith("suite,")
    with pytest.raises(UsageError, match="is not text"):
        output.emit(REPORT, format="excel", output=None, layout="long")


def test_what_a_format_cannot_hold_is_said(capsys):
    """JSON has no comments: what is left out of it stands on stderr."""
    output.emit(REPORT, format="every-eval-ever", output=None, layout="long")
    assert capsys.readouterr() == ("", "nothing to publish: no scores were measured\n")


def test_check_place(tmp_path):
    """A folder, or a file in a folder that is not there, is refused with what to do."""
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        output.check_output(tmp_path / "dir.csv")
    with pytest.raises(UsageError, match="mkdir -p"):
        output.check_output(tmp_path / "nowhere" / "out.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder"):
        output.check_output(tmp_path / "file" / "out.csv")


def test_check_unwritable(tmp_path, monkeypatch):
    """A folder that cannot be written to is refused before any work."""

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"cannot be written to \(Permission denied\)"):
        output.check_output(tmp_path / "out.csv")


def test_emit_to_stdout(capsys):
    """Stdout gets the format that was asked for."""
    output.emit(REPORT, format="json", output=None, layout="long")
    assert json.loads(capsys.readouterr().out)["rows"][0]["model"] == "bert"
    output.emit(REPORT, format="terminal", output=None, layout="long")
    assert "| 1 | 2 |" in capsys.readouterr().out


def test_emit_to_a_file(tmp_path, capsys):
    """The file gets the format of its ending, stdout its own; an older file is replaced."""
    target = tmp_path / "out.csv"
    target.write_text("old")
    output.emit(REPORT, format="markdown", output=target, layout="wide")
    assert target.read_text() == "a,b\n1,2\n"
    assert capsys.readouterr().out.startswith("## A report")
    assert list(tmp_path.iterdir()) == [target]


def test_emit_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """If writing fails the old file stays and nothing else is left."""
    target = tmp_path / "out.csv"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        output.emit(REPORT, format="csv", output=target, layout="long")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_unknown_format():
    """A format that does not exist is refused with the nearest."""
    with pytest.raises(UnknownNameError, match="markdown"):
        output.emit(REPORT, format="markdwn", output=None, layout="long")


def test_terminal_gets_colour(monkeypatch):
    """On a terminal the report is drawn on it, as wide as it is."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    output.emit(REPORT, format="terminal", output=None, layout="long")
    assert "╭" in screen.getvalue()


def test_closed_pipe_is_quiet(tmp_path):
    """A reader that goes away early is no error, and the file is complete all the same."""
    code = (
        "from pathlib import Path; from bertbench import streams; from bertbench.report import output; from bertbench.report.row import Report, Row\n"
        f"report = Report('r', (), tuple(Row(model='m' * 100) for _ in range(5000)))\n"
        f"with streams.guarded(): output.emit(report, format='csv', output=Path({str(tmp_path / 'out.csv')!r}), layout='long')"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 5001
