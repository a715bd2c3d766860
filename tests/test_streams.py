"""Output never stops the work: encodings, closed pipes, full disks."""

import io
import json
import os
import subprocess
import sys

import pytest

from bertbench import streams

TITLE = "模型 Σ → ≥ “q” 👍"
MODEL = """\
title: 模型 Σ → ≥ “q” 👍
architecture: bert
config: {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, vocab_size: 100}
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a model whose title few encodings hold."""
    (tmp_path / "configs/models").mkdir(parents=True)
    (tmp_path / "configs/models/mine.yaml").write_text(MODEL, encoding="utf-8")
    return tmp_path


def bertbench(folder, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **environment):
    """The command in a process of its own: exit code, bytes of stdout and of stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "bertbench", *arguments],
        cwd=folder, env=os.environ | environment, stdout=stdout, stderr=stderr, check=False, timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in (done.stderr or b"")
    return done


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "shift_jis"])
def test_what_an_encoding_lacks_is_readable(encoding):
    """Common signs become ASCII, other letters their code; nothing is lost without a trace, and nothing raises."""
    shown = streams.shown("… ≥ \U0001f44d \udcff é", encoding)
    assert "\\U0001f44d \\udcff" in shown
    assert shown.startswith(("... ", "… "))
    assert streams.shown("plain", encoding) == "plain"


def test_ascii_looks_like_what_it_replaces():
    """Dashes, quotes, arrows and signs have their usual ASCII forms."""
    assert streams.shown("1–2 × “a” ± 3 → ≤ 4…", "ascii") == '1-2 x "a" +/- 3 -> <= 4...'  # noqa: RUF001


def test_text_for_programs_survives_as_json():
    """A byte of a file name that is no text comes back from JSON as it was."""
    name = "m\udcff模"
    assert json.loads(streams.encoded(json.dumps(name, ensure_ascii=False))) == name


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("name", ["csv", "json", "markdown"])
def test_programs_get_utf8_whatever_the_encoding(project, encoding, name):
    """CSV, JSON and Markdown on stdout are the bytes of --output: UTF-8, with all letters."""
    file = project / f"out.{'md' if name == 'markdown' else name}"
    done = bertbench(project, "list", "models", "--format", name, "--output", str(file), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == file.read_bytes()
    assert TITLE in done.stdout.decode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-16"])
def test_people_get_the_encoding_of_the_stream(project, encoding):
    """Tables are in the stream's encoding, aligned, with what it lacks replaced."""
    done = bertbench(project, "list", "models", PYTHONIOENCODING=encoding, COLUMNS="300")
    assert done.returncode == 0
    text = done.stdout.decode(encoding)
    (line,) = (line for line in text.splitlines() if line.startswith("| mine "))
    if encoding != "utf-16":
        assert "\\u6a21\\u578b" in line
        assert len({len(line) for line in text.splitlines() if line.startswith(("|", "+"))}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["params", "--models", "mine"], ["published"], ["validate"], ["show"], ["--help"], ["--version"]]
)
def test_every_command_writes_to_ascii(project, arguments):
    """No command ends in an error for its output's encoding."""
    assert bertbench(project, *arguments, PYTHONIOENCODING="ascii:strict").returncode == 0


def test_errors_hold_any_name(project):
    """An error about a name that stderr cannot hold is one line."""
    done = bertbench(project, "list", "models", "--config-dir", b"no\xe6\xa8\xa1\xff", PYTHONIOENCODING="cp1252:strict")
    assert done.returncode == 2
    (line,) = done.stderr.decode("cp1252").splitlines()
    assert line.startswith("Error: config directory no")


def test_locale_without_utf8(project):
    """Under an ASCII locale, too, UTF-8 goes to programs and errors are one line."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = bertbench(project, "list", "models", "--format", "csv", **plain)
    assert TITLE in done.stdout.decode("utf-8")
    (project / "模").mkdir()
    done = bertbench(project, "params", "--models", "./模", **plain)
    assert done.returncode == 2
    assert b"PYTHONUTF8=1" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    "arguments", [["list", "models"], ["list", "models", "--format", "csv"], ["validate"], ["--help"]]
)
def test_full_disk_is_one_line(project, arguments):
    """A stdout that cannot be written is exit code 2 and says why; the file of --output is written all the same."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = bertbench(project, *arguments, stdout=full)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("Error: stdout: cannot be written (No space left on device)")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_lost_stderr_is_borne(project):
    """What people would see while they wait may be lost: the result is there and the exit code is the command's."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = bertbench(project, "nothing", stderr=full)
        assert done.returncode == 2
        done = bertbench(project, "list", "models", stderr=full)
    assert done.returncode == 0
    assert b"mine" in done.stdout


@pytest.mark.parametrize("arguments", [["list", "models"], ["published", "--format", "csv"], ["--help"], ["validate"]])
def test_closed_pipe_and_closed_stdout_are_quiet(project, arguments):
    """A reader that goes away, or a stdout that was never open, is no error."""
    read, write = os.pipe()
    os.close(read)
    done = bertbench(project, *arguments, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    words = [sys.executable, "-m", "bertbench", *arguments]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words], cwd=project, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_guard_keeps_order_and_restores(monkeypatch):
    """Text and bytes come out in the order written; afterwards the streams are what they were."""
    raw = io.BytesIO()

    class File(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return raw.write(bytes(data[:3]))  # a file may take less than it is given

    stream = io.TextIOWrapper(io.BufferedWriter(File()), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    with streams.guarded() as output:
        sys.stdout.write("first ≥\n")
        streams.write_for_programs("second ≥\n")
        sys.stdout.write("third\n")
    assert sys.stdout is stream
    assert output.lost is None
    assert raw.getvalue() == b"first >=\n" + "second ≥\n".encode() + b"third\n"
