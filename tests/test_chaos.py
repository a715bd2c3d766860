"""A whole `compare` that is killed at random moments, disks that are full or read-only, a hub that fails, a machine put to sleep: nothing finished is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from bertbench.records.store import Store

CHECKOUT = Path(__file__).parents[1]
RUN = ("run", "--task", "demo-sentiment", "--models", "bert-mini", "--seeds", "2", "--only", "quality")
SMALL = ("--max-minutes", "0", "--train-samples", "64", "--eval-samples", "64", "--threads", "1")


def chaos(kind, folder, kills):
    """What the driver says, in a process of its own since it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", kind, str(folder), str(kills)],
        capture_output=True, text=True, cwd=CHECKOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_15_kills_of_a_compare_lose_nothing(tmp_path):
    """After kill -9 every record is whole, no finished one is lost or measured again, and the scores are the same in the end."""
    assert chaos("quick", tmp_path, 15).startswith("15 kills")


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_1000_kills_of_a_compare_lose_nothing(tmp_path):
    """The same at 1,000 random moments; training is a stand-in."""
    assert chaos("quick", tmp_path, 1000).startswith("1000 kills")


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_50_kills_of_real_training_lose_nothing(tmp_path):
    """The same with the command as users run it, whose models are trained."""
    assert chaos("real", tmp_path, 50).startswith("50 kills")


@contextmanager
def mounted(folder, *arguments):
    """A real mount on a folder while the block lasts; skips the test where nobody may mount."""
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            ["mount", *arguments, folder],  # noqa: S607 (whichever the system has)
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs mount")
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 (as above)


def fill_when(pattern, root):
    """Fill the disk to its last byte as soon as a file is there."""
    end = time.monotonic() + 120
    while not list(root.glob(pattern)) and time.monotonic() < end:
        time.sleep(0.01)
    try:
        with (root / "filler").open("wb", buffering=0) as stream:
            while stream.write(b"\0" * 4096):
                pass
    except OSError:  # that was the last byte
        pass


@pytest.mark.slow
def test_a_disk_that_fills_during_training_costs_no_finished_run(bench, tmp_path):
    """On a real full disk a command ends in one line; what was finished is there, and with room the next command goes on."""
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=100m", "tmpfs"):
        filling = threading.Thread(target=fill_when, args=("results/sessions/*/*quality*-0.json", disk))
        filling.start()
        done = bench(*RUN, *SMALL, "--results-dir", disk / "results")
        filling.join()
        assert done.code == 2
        assert "No space left on device" in done.error
        finished = [record for stored in Store(disk / "results").sessions() for record in stored.records]
        assert [(record.status, record.seed) for record in finished] == [("ok", 0)]
        (disk / "filler").unlink()
        again = bench(*RUN, *SMALL, "--results-dir", disk / "results")
        assert again.code == 0, again.stderr
        assert f"taken from run {finished[0].run_id}" in again.stderr


@pytest.mark.slow
def test_a_read_only_disk_is_read_and_not_written(bench, tmp_path):
    """From a real read-only mount results are shown as ever, without a word on locks; what would write says so before it measures."""
    assert bench(*RUN, *SMALL, "--results-dir", tmp_path / "results").code == 0
    archive = tmp_path / "archive"
    with mounted(archive, "--bind", str(tmp_path / "results")):
        subprocess.run(["mount", "-o", "remount,bind,ro", archive], check=True)  # noqa: S607 (as above)
        for command in (("show",), ("export",)):
            shown = bench(*command, "--results-dir", archive)
            assert (shown.code, "lock" in shown.stderr) == (0, False), shown.stderr
        done = bench(*RUN, *SMALL, "--fresh", "--results-dir", archive)
        assert done.code == 2
        assert "cannot be written (Read-only file system)" in done.error


@contextmanager
def without_locks(root, mountpoint):
    """A real mount without locks on a folder; skips the test where it cannot be made."""
    for folder in (root, mountpoint):
        folder.mkdir()
    command = [sys.executable, "-m", "tests.lockless", str(root), str(mountpoint)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as serving:
        end = time.monotonic() + 30
        while not os.path.ismount(mountpoint):
            if serving.poll() is not None or time.monotonic() > end:
                serving.kill()
                pytest.skip(f"needs libfuse2, /dev/fuse and root: {serving.stderr.read()[-200:]}")
            time.sleep(0.05)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", mountpoint], check=True)  # noqa: S607 (whichever the system has)


@pytest.mark.slow
def test_a_file_system_without_locks_keeps_results(bench, tmp_path):
    """On a real mount that refuses every lock results are stored, found again, shown and cleaned up; that it is slower is said."""
    with without_locks(tmp_path / "disk", tmp_path / "mount"):
        results = tmp_path / "mount" / "results"
        assert bench(*RUN, *SMALL, "--results-dir", results).code == 0
        again = bench(*RUN, *SMALL, "--results-dir", results)
        assert (again.code, "taken from session" in again.stderr) == (0, True), again.stderr
        assert "this file system has no locks; the record files are read instead" in again.stderr
        for command in (("show",), ("export",), ("gc",)):
            done = bench(*command, "--results-dir", results)
            assert done.code == 0, done.stderr
    assert len([record for stored in Store(tmp_path / "disk" / "results").sessions() for record in stored.records]) == 2


@contextmanager
def failing_hub(folder, log, rate, seed):
    """The address of a stand-in hub that answers a share of requests with 503 or half of what was asked."""
    command = [
        sys.executable,
        str(folder / "serve.py"),
        "--standins",
        "tiny",
        "--fail-rate",
        str(rate),
        "--seed",
        str(seed),
    ]
    with subprocess.Popen([*command, "--log", str(log)], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip().removeprefix("HF_ENDPOINT=")
        finally:
            server.terminate()


OVER_THE_HUB = (
    "run", "--models", "bert,distilbert", "--task", "sst2,mrpc", "--only", "size,quality", *SMALL, "--epochs", "1",
)  # fmt: skip
CELLS = {(model, task) for model in ("bert", "distilbert") for task in ("sst2", "mrpc")}


@pytest.mark.shared
@pytest.mark.parametrize(
    "seed",
    [pytest.param(1, marks=pytest.mark.slow), *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(2, 8))],
)
def test_a_hub_that_fails_a_third_of_all_requests(bench, shared_hub_folder, tmp_path, seed):
    """A run over two models and two data sets succeeds, or ends in one clear line and goes on where it stopped."""
    with failing_hub(shared_hub_folder, tmp_path / "log", 0.3, seed) as address:
        for _ in range(3):
            done = bench(*OVER_THE_HUB, "--results-dir", tmp_path / "results", endpoint=address, home=tmp_path / "hf")
            if done.code == 0:
                break
            assert "what is finished is kept" in done.error
    assert done.code == 0, done.stderr
    records = [record for stored in Store(tmp_path / "results").sessions() for record in stored.records]
    assert {(r.model_name, r.task_name) for r in records if r.kind == "quality" and r.status == "ok"} == CELLS
    assert " 503 " in (tmp_path / "log").read_text()


@pytest.mark.slow
@pytest.mark.shared
def test_a_hub_that_keeps_failing_ends_the_command(bench, shared_hub_folder, tmp_path):
    """One clear line, soon after the last try, when nearly nothing comes through."""
    with failing_hub(shared_hub_folder, tmp_path / "log", 0.97, 5) as address:
        done = bench(*OVER_THE_HUB, "--results-dir", tmp_path / "results", endpoint=address, home=tmp_path / "hf")
        silent = time.time() - (tmp_path / "log").stat().st_mtime
    assert done.code == 2
    assert "keeps failing" in done.error
    assert silent < 60


@pytest.mark.chaos
def test_a_machine_put_to_sleep_goes_on_and_says_so(tmp_path):
    """All processes stop for some seconds while models are timed: nothing fails, and the results say that the machine stood still."""
    command = [sys.executable, "-m", "bertbench", "speed", "--models", "bert-mini", "--suite", "demo", "--threads", "1"]
    with subprocess.Popen(
        [*command, "--rounds", "3", "--results-dir", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, start_new_session=True,
    ) as running:  # fmt: skip
        asleep = 0
        while running.poll() is None and asleep < 60:
            time.sleep(1)
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGSTOP)
                time.sleep(2)
                os.killpg(running.pid, signal.SIGCONT)
                asleep += 1
        _, error = running.communicate(timeout=300)
    assert running.returncode == 0, error
    (record,) = (record for stored in Store(tmp_path).sessions() for record in stored.records if record.kind == "speed")
    assert record.status == "ok"
    assert any(warning.kind == "stood-still" for warning in record.warnings)
