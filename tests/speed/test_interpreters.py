"""Workers in other environments: the same passes from another process's code, revisions checked out and removed, bad names."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bertbench.errors import UsageError
from bertbench.records.record import Failure
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import WorkerPlan
from bertbench.speed.workers import Interpreter, checked_out, environment_in, of_now, open_workers

GIT = ["git", "-C"]
SHAPE = ShapeSpec(batch_size=1, sequence_length=8)


def repository(folder, files):
    """A git repository with one revision that holds `files`."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    git = [*GIT, str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return folder


def test_worker_of_another_environment_answers(tmp_path):
    """It loads, takes turns and ends with the block, as a forked one does."""
    (tmp_path / "config.json").write_text('{"model_type": "fake", "seconds_per_pass": 0.001}')
    plan = WorkerPlan("there", tmp_path, ExecutionSettings(backend="fake"))
    with open_workers([plan], [of_now()]) as (worker,):
        pid = worker.pid
        assert len(worker.turn(SHAPE, 0, 2, 0.0).timed) == 2
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_text()
    assert not worker.is_alive()


def test_worker_that_cannot_start_is_a_failure(tmp_path):
    """An interpreter without bertbench dies, and its death is what the first use raises."""
    plan = WorkerPlan("there", tmp_path, ExecutionSettings(backend="fake"))
    with open_workers([plan], [Interpreter(sys.executable, tmp_path / "nowhere")]) as (worker,):
        worker.close()
        with pytest.raises(WorkerError) as error:
            worker.turn(SHAPE, 0, 1, 0.0)
    assert isinstance(error.value.failure, Failure)


def test_revision_is_checked_out_for_the_while(tmp_path):
    """The folder has the revision's files and is gone afterwards, also from git's list."""
    folder = repository(tmp_path / "repository", {"bertbench/__init__.py": ""})
    with checked_out("HEAD", folder) as tree:
        assert (tree / "bertbench" / "__init__.py").is_file()
    assert not tree.exists()
    listed = subprocess.run([*GIT, str(folder), "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_unknown_revision_is_a_usage_error(tmp_path):
    """The line names what was given and what it could have been."""
    folder = repository(tmp_path / "repository", {"a.txt": "a"})
    with (
        pytest.raises(UsageError, match="nowhere: is neither an environment nor a revision"),
        checked_out("nowhere", folder),
    ):
        pass


@pytest.mark.parametrize("name", ["--force", "-f", "--lock", "--quiet", ""])
def test_an_option_is_no_revision(tmp_path, name):
    """What begins with a hyphen never reaches git as an option, by which HEAD would be compared with itself."""
    folder = repository(tmp_path / "repository", {"a.txt": "a"})
    with pytest.raises(UsageError, match="neither an environment nor a revision"), checked_out(name, folder):
        pass
    listed = subprocess.run([*GIT, str(folder), "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_an_interpreter_that_does_not_run_is_a_usage_error(tmp_path):
    """One that cannot be executed, or hangs at the import, is one line."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    with pytest.raises(UsageError, match="cannot be run"):
        environment_in(tmp_path).check("env")
    slow = {"bertbench/__init__.py": "import time; time.sleep(60)"}
    folder = repository(tmp_path / "repository", slow)
    with pytest.raises(UsageError, match="took over"), checked_out("HEAD", folder) as tree:
        Interpreter(sys.executable, tree).check("HEAD", limit_s=0.5)


@pytest.mark.parametrize("files", [{"bertbench/__init__.py": "raise ValueError('does not build')"}, {"a.txt": "a"}])
def test_code_that_does_not_build_is_a_usage_error(tmp_path, files):
    """A revision whose package breaks, or that has none, is refused before anything is timed."""
    folder = repository(tmp_path / "repository", files)
    with pytest.raises(UsageError, match=r"cannot be imported|has no package"), checked_out("HEAD", folder) as tree:
        Interpreter(sys.executable, tree).check("HEAD")


def test_environments_are_recognized(tmp_path):
    """A folder with an interpreter is one, others are not; this code finds itself."""
    assert environment_in(tmp_path) is None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert environment_in(tmp_path).python == str(tmp_path / "bin" / "python")
    assert of_now().check("head") == Path(__file__).parents[2] / "bertbench"


def test_two_versions_of_the_code_are_told_apart(tmp_path):
    """Base and head take turns in one session; a head whose fake passes take twice as long has twice the ratio."""
    from bertbench.specs.timing import TimingSpec
    from bertbench.speed.latency import round_ratios
    from bertbench.speed.side_by_side import SpeedTarget, measure_speed

    slow = tmp_path / "slow"
    shutil.copytree(of_now().folder / "bertbench", slow / "bertbench", ignore=shutil.ignore_patterns("__pycache__"))
    file = slow / "bertbench" / "speed" / "backends" / "fake.py"
    text = file.read_text()
    file.write_text(text.replace('config.get("seconds_per_pass", 0))', '2 * config.get("seconds_per_pass", 0))'))
    assert file.read_text() != text
    (tmp_path / "config.json").write_text('{"model_type": "fake", "seconds_per_pass": 0.01}')
    settings = ExecutionSettings(backend="fake")
    targets = [
        SpeedTarget("base", tmp_path, settings, "a", of_now()),
        SpeedTarget("head", tmp_path, settings, "a", Interpreter(sys.executable, slow)),
    ]
    timing = TimingSpec(rounds=2, turns=2, passes=1, min_turn_s=0, warmup_passes=1, shapes=(SHAPE,))
    result = measure_speed(targets, "base", timing, session_id="s")
    ratios = round_ratios(result.rows, "base")["head", SHAPE.label]
    assert [round(math.exp(value), 1) for value in ratios] == pytest.approx([2.0, 2.0], abs=0.3)
