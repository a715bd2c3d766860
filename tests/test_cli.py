"""The command line: exit codes, one-line errors, light start."""

import errno
import os
import re
import subprocess
import sys
import threading
from collections import defaultdict

import pytest
import typer

from bertbench import cli
from bertbench.commands._options import OPTION_GROUPS
from bertbench.errors import BertBenchError, MeasurementError, NothingMeasuredError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["run"], "Missing option '--task'"),
        (["run", "--task", "sst3"], "did you mean 'sst2'?"),
        (["run", "--task", "sst2", "--models", "bertt"], "did you mean 'bert'?"),
        (["run", "--task", "sst2", "--models", ","], "no model is named"),
        (["run", "--task", "sst2", "--models", "./nowhere"], "no such folder"),
        (["run", "--task", ","], "no task is named"),
        (["run", "--task", "sst2", "--seeds", "0"], "at least 1 seed"),
        (["run", "--task", "sst2", "--seeds", "many"], "expected a count"),
        (["run", "--task", "sst2", "--learning-rate", "nan"], "must be a number above 0"),
        (["run", "--task", "sst2", "--max-length", "0"], "must be a number above 0"),
        (["run", "--task", "sst2", "--train-samples", "-5"], "must be a number above 0"),
        (["run", "--task", "sst2", "--device", "cuda:99"], "cuda:99"),
        (["run", "--task", "sst2", "--device", "cdua"], "cdua"),
        (["run", "--task", "sst2", "--dtype", "int8"], "fp32"),
        (["run", "--task", "sst2", "--format", "termnal"], "did you mean 'terminal'?"),
        (["run", "--task", "sst2", "--epohcs", "2"], "--epochs"),
        (["run", "--task", "sst2", "--fresh", "--from-store"], "contradict"),
        (["run", "--task", "sst2", "--keep-checkpoints", "some"], "all, best or none"),
        (["run", "--task", "sst2", "--output", "table.txt"], "It decides the format: .csv, .json, .md"),
        (["compare", "--suite", "bsae"], "did you mean 'base'?"),
        (["compare", "--reference", "brt"], "did you mean 'bert'?"),
        (["compare", "--config-dir", "nowhere"], "no such folder"),
        (["list", "modles"], "did you mean 'models'?"),
        (["show", "nothing"], "no run 'nothing'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    """Every mistake on the command line is one line on stderr that says what and what to do, and exit code 2."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert captured.out == ""


def test_results_directory_that_cannot_be_written_is_found_before_work(capsys, tmp_path, monkeypatch):
    """A results directory below a file is refused before anything is measured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.main(["compare", "--results-dir", "file/results"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_full_disk_is_found_before_work(capsys, tmp_path, monkeypatch):
    """Too little free space is refused before anything is measured, naming what is needed."""
    import shutil

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    assert cli.main(["compare"]) == 2
    assert "MB needed" in capsys.readouterr().err


def test_nothing_in_the_store_is_exit_code_4(capsys, tmp_path, monkeypatch):
    """`--from-store` without a session measures nothing and says so with exit code 4."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "--from-store"]) == 4
    assert "no complete session" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_no_arguments_shows_help(capsys, tmp_path, monkeypatch):
    """`bertbench` alone shows what there is, where something was measured."""
    (tmp_path / "results" / "sessions").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    cli.main([])
    captured = capsys.readouterr()
    assert "Explain:" in captured.out + captured.err


def test_no_arguments_and_no_results_say_how_to_start(capsys, tmp_path, monkeypatch):
    """`bertbench` alone, where nothing was measured, says three commands that work."""
    monkeypatch.chdir(tmp_path)
    assert cli.main([]) == 0
    words = [
        line.split("#")[0].split() for line in capsys.readouterr().out.splitlines() if line.startswith("  bertbench ")
    ]
    assert len(words) == 3
    for _, name, *options in words:
        known = {option for parameter in parser_of(name).params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


def test_lines_of_commands_fit_into_80_columns():
    """The list of commands has a line each, in named groups."""
    widest = max(map(len, cli.COMMANDS))
    assert [name for name, entry in cli.COMMANDS.items() if len(entry.line) + widest + 4 > 80] == []
    assert list(dict.fromkeys(entry.group for entry in cli.COMMANDS.values() if entry.group)) == [
        "Measure",
        "Judge",
        "Explain",
        "Keep",
    ]


def test_options_stand_in_groups(capsys):
    """Many options are in groups, in one order, and each option is in one of them; few are not grouped."""
    cli.main(["compare", "--help"])
    shown = capsys.readouterr().out
    titles = [line.rstrip(":") for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == list(OPTION_GROUPS)
    sections = re.split(r"^\w+:$", shown, flags=re.MULTILINE)[1:]
    of_training, of_output = sections[1], sections[3]
    assert "--learning-rate" in of_training
    assert "--results-dir" in of_output
    for parameter in parser_of("compare").params:
        assert sum(f" {parameter.opts[0]}" in section for section in sections) >= 1, parameter.name
    cli.main(["diff", "--help"])
    assert "Options:" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_has_an_example(name):
    """Every command's help shows a call of it, with options that it has."""
    (line,) = (line for line in parser_of(name).help.splitlines() if line.startswith("Example: "))
    words = line.removeprefix("Example: ").split()
    assert words[:2] == ["bertbench", name]
    known = {option for parameter in parser_of(name).params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_version_is_shown(capsys):
    """`--version` names program and version."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bertbench ")


@pytest.mark.parametrize(("error", "code"), [(BertBenchError, 2), (MeasurementError, 1), (NothingMeasuredError, 4)])
def test_exit_code_belongs_to_the_error(error, code):
    """Each class of error has its exit code."""
    assert error("a").exit_code == code


def parser_of(name):
    """A command's own option parser."""
    root = typer.main.get_command(cli.app)
    return root.get_command(typer.Context(root), name)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_tables_line_is_the_commands_own(name):
    """The list of commands is shown without importing them, and says what each says of itself."""
    assert cli.COMMANDS[name].line == cli.function_of(name).__doc__.strip().splitlines()[0]


def test_the_list_of_commands_imports_none(python):
    """`bertbench --help` shows every command and loads no module of them, nor the libraries of the option parser."""
    code = "import sys\nfrom bertbench import cli\ncli.main(['--help'])\nprint(*sys.modules)"
    shown, _, loaded = python(code).stdout.strip().rpartition("\n")
    assert all((f"  {name} " in shown) == (entry.group != cli.OLD) for name, entry in cli.COMMANDS.items())
    modules = {name for name in loaded.split() if name.startswith("bertbench.commands.")}
    assert modules == {"bertbench.commands._display"}
    assert "pydantic" not in loaded.split()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_is_the_first_sentences(name, capsys):
    """What a command's docstring tells developers is not in its help."""
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert cli.COMMANDS[name].line.split()[0] in shown
    for section in ("Raises:", "Returns:", "Args:"):
        assert section not in shown
    assert "Raises" not in parser_of(name).help


# Pydantic is the option parser's own, whatever the command.
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "rich",
    "onnxruntime",
    "openvino",
    "ruptures",
    "altair",
    "vl_convert",
    "jinja2",
    "xlsxwriter",
)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_loads_nothing_heavy(name, python):
    """What a command imports when it is called to give its help starts quickly, so that help answers at once."""
    loaded = f"set({HEAVY!r}) & sys.modules.keys()"
    code = f"import sys\nfrom bertbench import cli\ncli.main([{name!r}, '--help'])\nprint(*sorted({loaded}))"
    assert python(code).stdout.splitlines()[-1] == ""


OF_THEIR_OWN = {
    "--device", "--dry-run", "--backends", "--models", "--suite", "--format", "--output", "--batch-size", "--max-minutes", "--task", "--rounds", "--paper",
    "--embedding-size", "--share", "--model", "--quantity",
}  # fmt: skip


def test_options_are_declared_once():
    """An option of one name has one help in every command, but for those that mean something of their own there."""
    helps = defaultdict(set)
    for name in cli.COMMANDS:
        for parameter in parser_of(name).params:
            for option in getattr(parameter, "opts", []):
                if option.startswith("--") and option != "--help":
                    helps[option].add(parameter.help)
    assert {option for option, texts in helps.items() if len(texts) > 1} == OF_THEIR_OWN


def test_nearest_command_is_suggested(capsys):
    """A misspelt command is answered with the nearest."""
    assert cli.main(["comprae"]) == 2
    assert "No such command 'comprae'; did you mean 'compare'?" in capsys.readouterr().err


def test_shell_completes_commands():
    """What the installed completion asks for is answered: 'com' becomes 'compare'."""
    asked = {"_BERTBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "bertbench com", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['bertbench']; from bertbench.cli import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | asked
    )
    assert done.stdout.split() == ["compare"]


def test_bug_keeps_its_traceback(monkeypatch):
    """What is no user's error is raised, not hidden."""
    monkeypatch.setattr(cli, "app", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["list"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_full_and_read_only_disks_are_one_line(monkeypatch, capsys, number):
    """Wherever a disk has no room, the file and what to do are said; other errors of the system stay bugs."""
    error = OSError(number, os.strerror(number), "/somewhere/file")

    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert cli.main(["list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Error: /somewhere/file: cannot be written ({os.strerror(number)}). Make room there")
    assert said.count("\n") == 1
    error.errno = errno.EBADF
    with pytest.raises(OSError, match="/somewhere/file"):
        cli.main(["list"])


@pytest.mark.parametrize(
    "words", [("merge", "{}", "--into", "here"), ("validate", "--config-dir", "{}"), ("export", "--results-dir", "{}")]
)
def test_names_too_long_for_a_file_are_one_line(tmp_path, monkeypatch, capsys, words):
    """Wherever a path is taken, one that no file system has room for is refused, shortened, and not a traceback."""
    monkeypatch.chdir(tmp_path)
    assert cli.main([word.format("x" * 5000) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.endswith("x…: no file can have a name this long. Choose a shorter one\n")
    assert len(said) < 200


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_polite_kill_ends_like_an_interruption(python):
    """SIGTERM, as time limits and schedulers send it, ends with 130 like Ctrl-C, after the same tidying up."""
    code = """
import signal
from bertbench import cli

def work(**_):
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        print("tidied")

cli.app = work
raise SystemExit(cli.main(["list"]))
"""
    done = python(code)  # in a process of its own: libraries loaded by other tests may not survive a signal
    assert (done.code, done.stdout) == (130, "tidied\n")


def test_command_line_works_outside_the_main_thread(capsys):
    """Where signals cannot be handled the commands still work."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


THREE = """\
title: Three
dataset: {folder: nowhere}
inputs: [text]
labels: [a, b, c]
metrics: [accuracy, f1]
primary_metrics: [f1]
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--task", "three", "--models", "bert"],
        ["compare", "--suite", "mine"],
        ["distill", "--teacher", "bert", "--student-layers", "6", "--task", "three"],
        ["baseline", "save", "--suite", "mine"],
        ["check", "--against-model", "bert", "--models", "albert", "--task", "three"],
    ],
)
def test_metric_that_does_not_fit_is_found_before_work(arguments, capsys, tmp_path, monkeypatch):
    """F1 of two classes on a task of three is refused before weights and data are looked for, neither of which can be had."""
    for kind, name, text in (
        ("tasks", "three", THREE),
        ("suites", "mine", "title: M\nmodels: [bert]\nreference: bert\ntasks: [three]\n"),
    ):
        (tmp_path / "configs" / kind).mkdir(parents=True)
        (tmp_path / "configs" / kind / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "metric f1 is of 2 classes, and there are 3" in line


def test_doctor_names_the_metric_that_does_not_fit(capsys, tmp_path, monkeypatch):
    """`doctor` reports it as a problem of the task."""
    (tmp_path / "configs/tasks").mkdir(parents=True)
    (tmp_path / "configs/tasks/three.yaml").write_text(THREE)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "--task", "three", "--models", "bert", "--format", "csv", "--layout", "wide"]) == 1
    assert "three,metrics,problem," in capsys.readouterr().out
