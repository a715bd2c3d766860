"""Commands that are killed at random moments, and what must hold after each. Run in a process of its own: it forks.

python -m tests.chaos quick FOLDER KILLS   # a whole `compare` whose training is a stand-in
python -m tests.chaos real FOLDER KILLS    # the same command as users run it
"""

import importlib
import math
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil

from bertbench.records.store import Store

CHECKOUT = Path(__file__).parents[1]
COMMAND = ("compare", "--suite", "demo", "--only", "size,quality", "--max-minutes", "0")
SMALL = ("--train-samples", "64", "--eval-samples", "64")
SEEDS = 3
HEAVY = (
    "torch", "pandas", "pyarrow.parquet", "scipy.stats", "transformers.models.bert.modeling_bert",
    "transformers.models.albert.modeling_albert", "transformers.models.distilbert.modeling_distilbert",
    "bertbench.commands.compare", "bertbench.session.measure", "bertbench.report.tables.comparison",
)  # fmt: skip
DONE = "measured.txt"  # a line for each quality run that has begun


def stand_in(work, progress):
    """What a quality run gives, made up from its model and seed; what it would have trained is saved as slowly as by a disk."""
    from bertbench.quality.run import Outcome
    from bertbench.records.record import Measurement

    name = f"{work.source.spec.name} {work.seed}"
    with (Path(os.environ["CHAOS"]) / DONE).open("a", encoding="utf-8") as stream:
        stream.write(f"{name}\n")
    progress(work.label, 0, 1)
    split = work.splits[0]
    chance = random.Random(name)
    labels = [int(label) for label in split.labels]
    answers = [label if chance.random() < 0.8 else 1 - label for label in labels]
    score = sum(answer == label for answer, label in zip(answers, labels, strict=True)) / len(labels)
    rows = {
        "example_id": list(split.ids), "split": [split.split] * len(labels), "prediction": answers,
        "scores": [[0.0, 0.0]] * len(labels), "label": labels,
    }  # fmt: skip
    work.keep.mkdir()
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        (work.keep / file).write_text("{}", encoding="utf-8")
        time.sleep(0.005)
    measurements = [
        Measurement(kind, "1", (score,), split=split.split, n=len(labels), n_unit="examples")
        for kind in ("accuracy", "score")
    ]
    return Outcome(tuple(measurements), rows, training=SimpleNamespace(left_out=None))


def install_stand_ins():
    """Nothing is trained, timed or loaded; all else is the real code."""
    from bertbench.quality.apart import Apart
    from bertbench.records.record import Measurement
    from bertbench.session import cost, forecast, measure
    from bertbench.session.steps import Instruments

    Apart.run = lambda _, work, progress: stand_in(work, progress)
    measure._preflight = lambda *_: None
    measure._bytes_needed = lambda *_: 0
    forecast._flops = lambda *_: 1e9
    size = (Measurement("parameters", "1", (1000,), statistic="unique"),)
    cost._size = lambda *_: cost.CostResult(size, attention=None)
    original = Instruments.__init__
    passes = {"pass_seconds": lambda _, shapes, __: [0.01] * len(shapes)}
    Instruments.__init__ = lambda self, **given: original(self, **(passes | given))


def child_of(arguments):
    """Run the command in a fork of this process, which has imported everything; its output is lost."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(os.open(Path(arguments[-1]).parent / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        from bertbench import cli

        code = cli.main(arguments)
    except BaseException:  # noqa: BLE001 (what it says is read by whoever asks why)
        traceback.print_exc()
    finally:
        os._exit(code)


def started(arguments):
    """Start the command as users do."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with Path(os.devnull).open("w") as nowhere, (Path(arguments[-1]).parent / "stderr.txt").open("a") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "bertbench", *arguments], env=environment, stdout=nowhere, stderr=errors
        )


def ended_by_itself(pid, seconds):
    """Wait until a process has had so many seconds of the processor, then kill it; its exit code (None: killed), and what it had.

    Not by the clock: on a busy machine all kills would come before any work.
    """
    had, end = 0.0, time.monotonic() + 600
    while True:
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            had = max(had, times.user + times.system)
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status), had
        assert time.monotonic() < end, "it hangs"
        if had >= seconds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None, had
        time.sleep(0.002)


def finished(root):
    """Every finished quality run by model and seed, with its score; all that lies there must be readable and whole."""
    store = Store(root)
    scores, names = {}, set()
    for stored in store.sessions():
        for record in stored.records:
            assert stored.is_whole(record), record.run_id
            names.add((stored.session.session_id, record.run_id))
            if record.kind == "quality":
                assert record.status == "ok", (record.run_id, record.error)
                (score,) = [item.values for item in record.measurements if item.quantity == "score"]
                assert scores.setdefault((record.model_name, record.seed), score) == score
                assert store.checkpoint(record) is not None, record.run_id
    assert store.warnings == [], store.warnings
    indexed = Store(root)
    assert {stored.session.session_id for stored in indexed.sessions(lambda _: True)} == {
        stored.session.session_id for stored in store.sessions()
    }
    assert indexed.warnings == [], indexed.warnings
    return scores, names


def looked_at(root):
    """Call `finished` in a fork: what reads tables starts threads, after which this process could not fork safely."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "wb") as stream:
            try:
                pickle.dump(finished(root), stream)
            except BaseException as error:  # noqa: BLE001 (the parent raises it)
                pickle.dump(error, stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = pickle.loads(stream.read())  # noqa: S301 (our own fork wrote it)
    os.waitpid(child, 0)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def begun(folder):
    """The quality runs that have begun, in order."""
    path = folder / DONE
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def chaos(folder, kills, *, real):
    """Kill a command, look at what is left, and repeat it; results of what ends by itself are those of an undisturbed run."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["CHAOS"] = str(folder)
    if not real:
        install_stand_ins()
        for module in HEAVY:  # so that forks find them imported
            importlib.import_module(module)
    expected, longest = {}, 0.0
    chance, killed, number, whole = random.Random(int(os.environ.get("CHAOS_SEED", "0"))), 0, 0, 0
    while killed < kills:
        number, root, seeds = number + 1, folder / f"results-{number}", range(10 * number, 10 * number + SEEDS)
        if real:
            seeds = range(SEEDS)  # the same again: what an undisturbed run gives is known once it was run
        arguments = [*COMMAND, *SMALL, "--seeds", ",".join(map(str, seeds)), "--yes", "--results-dir", str(root)]
        if not longest:
            undisturbed = [*arguments[:-1], str(folder / "undisturbed")]
            pid = started(undisturbed).pid if real else child_of(undisturbed)
            code, longest = ended_by_itself(pid, math.inf)
            assert code == 0, (folder / "stderr.txt").read_text(encoding="utf-8")[-2000:]
            expected = looked_at(folder / "undisturbed")[0] if real else {}
        known, kept = {}, set()
        while True:
            before = begun(folder)
            pid = started(arguments).pid if real else child_of(arguments)
            code, _ = ended_by_itself(pid, chance.uniform(0.0, 1.1 * longest) if killed < kills else math.inf)
            again = {tuple(line.rsplit(" ", 1)) for line in begun(folder)[len(before) :]}
            assert not again & {(name, str(seed)) for name, seed in known}, "measured although it was finished"
            killed += code is None
            if killed % 10 == 0:
                (folder / "kills.txt").write_text(f"{killed} kills, {whole} whole\n", encoding="utf-8")
            scores, names = looked_at(root)
            assert kept <= names, f"lost after kill {killed}: {kept - names}"
            assert known.items() <= scores.items()
            known, kept = scores, names
            if code is not None:
                assert code == 0, (folder / "stderr.txt").read_text(encoding="utf-8")[-2000:]
                break
        assert len(known) == 3 * SEEDS, known
        assert not expected or known == expected, "other scores than those of an undisturbed run"
        whole += 1
        shutil.rmtree(root)
    print(f"{killed} kills within {longest:.1f} s of the processor, {whole} commands ended by themselves, all whole")  # noqa: T201 (a program's answer)


if __name__ == "__main__":
    kind, where, count = sys.argv[1:]
    chaos(Path(where), int(count), real=kind == "real")
