"""What Windows and macOS lack is asked for before it is used, and reporting works without it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bertbench

PACKAGE = Path(bertbench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline", "curses"}
# What modules of Python's have on Linux alone, or not on Windows.
NAMES = {
    "os": {
        "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "nice", "sched_getaffinity", "sched_setaffinity", "sysconf",
        "setsid", "killpg", "getpgid", "getpgrp", "uname", "statvfs", "mkfifo", "chown", "fchown", "wait3", "wait4", "pread", "pwrite",
        "getloadavg", "posix_fallocate", "posix_fadvise", "sendfile", "sync", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "WNOHANG",
    },
    "signal": {
        "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "SIGALRM", "SIGQUIT", "SIGSTOP", "SIGCONT", "pthread_sigmask",
        "SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK", "alarm", "setitimer",
    },
}  # fmt: skip
# Python's own libraries use these on Linux, so a test cannot take them away.
NEEDED_HERE = {"O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "WNOHANG", "statvfs"}


def tree_of(path):
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def scopes(tree):
    """Each outermost function or method with its nodes, and what stands outside of them."""
    functions = [
        node
        for body in (tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef)))
        for node in body
        if isinstance(node, ast.FunctionDef)
    ]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    yield "the module", [node for node in ast.walk(tree) if id(node) not in inside]
    for function in functions:
        yield function.name, list(ast.walk(function))


def imports_in(nodes):
    """The top-level modules that are imported there."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def asked_for(nodes):
    """Names that `hasattr` or `getattr` is asked for, which is what guards their use."""
    return {
        argument.value
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"hasattr", "getattr"}
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


def unguarded(tree):
    """'function: os.name' for each use of what other systems lack that nothing asks for first."""
    for name, nodes in scopes(tree):
        used = {
            (node.value.id, node.attr)
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        known = asked_for(nodes)
        # Whoever asks for one of signal's names knows whether there are the others.
        for module, attribute in sorted(used):
            if attribute in NAMES.get(module, ()) and not known & NAMES[module]:
                yield f"{name}: {module}.{attribute}"


def test_the_check_sees_what_it_should():
    """A bare use is reported, one behind `hasattr` is not."""
    bare = ast.parse("import os\ndef f():\n    os.fork()\nclass A:\n    def g(self):\n        os.nice(1)\nos.uname()\n")
    assert set(unguarded(bare)) == {"f: os.fork", "g: os.nice", "the module: os.uname"}
    assert list(unguarded(ast.parse("def f():\n    if hasattr(os, 'fork'):\n        os.fork()\n"))) == []
    assert imports_in(ast.walk(ast.parse("import fcntl\nfrom pwd import getpwuid"))) == {"fcntl", "pwd"}


def test_modules_of_one_system_are_imported_in_functions():
    """No module of bertbench needs another system's when it is imported."""
    assert [
        f"{path.relative_to(PACKAGE)}: {module}"
        for path in FILES
        for name, nodes in scopes(tree_of(path))
        if name == "the module"
        for module in sorted(imports_in(nodes) & MODULES)
    ] == []


def test_names_of_one_system_are_asked_for_first():
    """Calls, signals and flags that Windows or macOS lacks stand behind `hasattr` or `getattr`, in the same function."""
    uses = {f"{path.relative_to(PACKAGE)}: {use}" for path in FILES for use in unguarded(tree_of(path))}
    # It is told cores only where `AFFINITY` is there.
    assert uses == {"speed/blocks.py: keep_to: os.sched_setaffinity"}


def test_texts_are_read_and_written_in_a_named_encoding():
    """Windows would take its own where none is named; digits that are written to Linux's /proc are the same in all."""
    unnamed = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", None) in {"read_text", "write_text"}):
                continue
            is_digits = bool(node.args) and isinstance(node.args[0], ast.Constant) and str(node.args[0].value).isdigit()
            if not is_digits and "encoding" not in {keyword.arg for keyword in node.keywords}:
                unnamed.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert unnamed == []


HIDING = """
import os, signal, sys
# With what they need of Linux; what is not loaded yet is bertbench's own.
import concurrent.futures, multiprocessing.context, multiprocessing.forkserver, multiprocessing.popen_spawn_posix
import multiprocessing.resource_tracker, platform, sqlite3, subprocess, tempfile
import filelock, jinja2, altair, numpy, pandas, psutil, pyarrow.parquet, pydantic, rich.live, scipy.stats, typer, vl_convert, yaml
platform.platform()
assert not [name for name in sys.modules if name.startswith("bertbench")]
for name in {modules!r}:
    sys.modules[name] = None
for module, names in (({os_names!r}, os), ({signal_names!r}, signal)):
    for name in module:
        if hasattr(names, name):
            delattr(names, name)
from bertbench.cli import main
for arguments in {commands!r}:
    code = main(arguments)
    assert code == 0, (arguments, code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lacks them already")
def test_reporting_works_without_what_windows_lacks(tmp_path):
    """Help, lists, checks, stored comparisons, pages and exports need nothing that is not on every system."""
    pytest.importorskip("altair")
    from tests.factories import session_record, size_record, stored_session

    folder = str(tmp_path / "results")
    records = [size_record(model) for model in ("bert", "distilbert")]
    stored_session(tmp_path / "results", records=records, session=session_record(("bert", "distilbert")))
    there = ["--results-dir", folder]
    commands = [
        ["--help"], ["compare", "--help"], ["list", "models"], ["list", "backends"], ["init", "model", "ours"],
        ["show", *there], ["export", "--output", str(tmp_path / "rows.csv"), *there], ["history", *there], ["status", *there],
        ["report", "--output", str(tmp_path / "page.html"), *there], ["gc", *there],
        ["push", "--to", "hf://datasets/OWNER/NAME", "--dry-run", *there],
    ]  # fmt: skip
    names = {"os_names": NAMES["os"] - NEEDED_HERE, "signal_names": NAMES["signal"]}
    code = HIDING.format(modules=MODULES, commands=commands, **names)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert (tmp_path / "page.html").stat().st_size > 100_000


def test_another_interpreter_is_refused_on_windows(monkeypatch):
    """Where no file descriptor is inherited, there is one clear line instead of a traceback."""
    from bertbench.errors import UnavailableError
    from bertbench.processes import Child

    monkeypatch.setattr("bertbench.processes.os.name", "nt")
    with pytest.raises(UnavailableError, match="cannot be measured on Windows"):
        Child.launch(["python"], {})
