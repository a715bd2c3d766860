"""Commands on a stranger's results and words: what they hold steers neither a terminal nor a file's reader."""

import csv
import io
import json

import pytest

import bertbench
from bertbench import cli
from bertbench.safe_text import visible_lines
from tests.factories import SESSION_ID, failed, record, session_record, size_record, stored_session
from tests.test_safe_text import FORMATS, obeyed, raw, runs

EVIL = "=1+1 \x1b[31mR\x1b]8;;http://x\x07L\x85\x9b31m\u202eevil\u2066\u200b\u2028X\rY\n::error::Z\t[red]\ufeff\U000e0041 <b>"


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory):
    """A results folder whose records say such things wherever they may, with a damaged file of such a name."""
    root = tmp_path_factory.mktemp("hostile") / "results"
    other = "20261125T120000-def456"
    told = {
        "warnings": (EVIL,),
        "checkpoint": EVIL,
        "revision": EVIL,
        "suite": EVIL,
        "settings": {"device": EVIL, EVIL: EVIL},
    }
    stored_session(
        root, records=[size_record(EVIL, run_id="size-a", **told), failed("memory", message=EVIL, run_id="memory-a")]
    )
    session = session_record(session_id=other, models=(EVIL, "bert"), suite=EVIL, argv=("compare", EVIL))
    stored_session(
        root,
        records=[size_record(EVIL, run_id="size-b", session_id=other), record("speed", EVIL, run_id="c")],
        session=session,
    )
    (root / "sessions" / SESSION_ID / "h\x1b[31m\n.json").write_text("{")
    return root


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "size-a"], ["history"], ["diff", SESSION_ID, "20261125T120000-def456"], ["gc", "--dry-run"]],
    ids=lambda arguments: arguments[0] + str(len(arguments)),
)
def test_commands_show_a_strangers_results_safely(hostile_store, arguments, name, capsys):
    """No command that reads a stranger's results lets its records or file names steer the terminal, or a file's reader."""
    cli.main([*arguments, "--results-dir", str(hostile_store), "--format", name])
    captured = capsys.readouterr()
    assert raw(captured.out + captured.err) == []
    assert not obeyed(captured.out + captured.err)
    if name == "json":
        json.loads(captured.out)


def test_export_gives_programs_the_text_and_spreadsheets_no_formula(hostile_store, capsys):
    """The exported CSV runs nowhere; the exported JSON holds the very text, numbers to the last digit."""
    assert cli.main(["export", "--results-dir", str(hostile_store)]) == 0
    written = capsys.readouterr().out
    assert raw(written) == []
    cells = [cell for row in csv.reader(io.StringIO(written)) for cell in row]
    assert f"'{visible_lines(EVIL)}" in cells
    assert not any(runs(cell) for cell in cells)
    assert cli.main(["export", "--results-dir", str(hostile_store), "--format", "json"]) == 0
    written = capsys.readouterr().out
    assert raw(written) == []
    assert EVIL in {row["model"] for row in json.loads(written)}


@pytest.mark.parametrize(
    "arguments", [[EVIL], ["list", EVIL], ["run", "--task", EVIL], ["show", "--format", EVIL], ["show", EVIL], ["check", "--baseline", EVIL],
                  ["list", "models", "--config-dir", EVIL], ["export", "--output", EVIL], ["params", "--models", EVIL]],
    ids=lambda arguments: str(len(arguments)),
)  # fmt: skip
def test_errors_are_one_line_whatever_they_name(arguments, capsys, tmp_path, monkeypatch):
    """An error that repeats a name is one line in which nothing steers the terminal."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("Error: ")
    assert raw(error) == []
    assert r"\x1b[31m" in error


def test_python_warnings_are_clean(hostile_store):
    """`load_results` warns of a damaged file in one line that steers nothing."""
    with pytest.warns(UserWarning, match=r"h\\x1b\[31m\\n\.json: skipped") as found:
        bertbench.load_results(hostile_store)
    assert [raw(str(warning.message)) for warning in found] == [[]]
