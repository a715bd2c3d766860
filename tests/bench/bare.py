"""The engine's workers and a bare loop in one run: the parent's side of `bare_loop.py`, as a worker among workers.

What is compared: the engine's own processes, pipes, turns and clock on one side; on the other a process that knows nothing
of bertbench and runs its passes one right after the other. They take turns, in the engine's random order, so that a slow
moment of the machine hits both. In a turn the engine takes one untimed pass and then its timed ones, as it always does; the
bare loop takes more of both, so that its passes are those of a loop that was never interrupted: what the engine loses by
being interrupted shows as a difference. Both are fresh processes in every round.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from bertbench.models.token_ids import random_ids
from bertbench.records.record import Failure
from bertbench.records.sidecars import TurnSeconds
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.rounds import measure
from bertbench.speed.workers import WorkerPlan, open_workers, preload

SCRIPT = Path(__file__).with_name("bare_loop.py")
BARE = "bare "
LEAD, PASSES, MIN_S = 2, 3, 0.03
LONG_PASS_TOKENS = 1024  # from here on a pass is long against what an interruption costs: one of each is enough


class BareProcess:
    """A running bare loop that holds several models."""

    def __init__(self, folders, threads):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            ready = self.ask(folders={name: str(folder) for name, folder in folders.items()}, threads=threads)
            assert ready == "ready"
        except BaseException:
            self.close()
            raise

    def ask(self, **order):
        """The answer to an order."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._said()
        return json.loads(line)

    def close(self):
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _said(self):
        self._process.wait()
        self._errors.seek(0)
        return f"the bare loop ended: {self._errors.read()}"


class BareWorker:
    """A model of a bare loop; a `timing.Worker`."""

    def __init__(self, process, model, vocabulary, seed):
        self.name = BARE + model
        self._process, self._model, self._vocabulary, self._seed = process, model, vocabulary, seed

    def ready(self):
        """Since its process was started."""

    def is_alive(self):
        """Until its process ends, which fails the test."""
        return True

    def warm_up(self, shape, passes):
        """So many passes that are not looked at."""
        self._run(shape, lead=0, passes=passes, min_s=0)

    def turn(self, shape, index, passes, min_s):
        """Its own numbers of passes, whatever the engine takes."""
        del index, passes, min_s
        is_long = shape.batch_size * shape.sequence_length >= LONG_PASS_TOKENS
        lead, timed = self._run(shape, lead=1 if is_long else LEAD, passes=1 if is_long else PASSES, min_s=MIN_S)
        return TurnSeconds(lead[-1], tuple(timed))

    def close(self):
        """Its process is closed by who opened it."""

    def _run(self, shape, **counts):
        ids = random_ids(shape, self._vocabulary, self._seed)  # the engine's own inputs
        return self._process.ask(model=self._model, ids=ids, **counts)


def take_turns(models, timing, wanted, threads, seed=0):
    """Rows of the engine's workers and of the bare loop's, every round with fresh processes of both.

    Args:
        models: by name (folder, size of its vocabulary).
        timing: the protocol; `warmup_passes` is given, for both sides.
        wanted: by name the labels of the shapes that are timed of it.
        threads: of both.
        seed: of the ids and of the order within turns.
    """
    folders = {name: folder for name, (folder, _) in models.items()}
    plans = [WorkerPlan(name, folder, ExecutionSettings(threads=threads), seed) for name, folder in folders.items()]
    preload(folders.values())
    left_out = {
        (prefix + name, shape.label): Failure("Skipped", "not asked for")
        for name, labels in wanted.items()
        for shape in timing.shapes
        for prefix in ("", BARE)
        if shape.label not in labels
    }

    @contextmanager
    def open_round(number, failed):
        process = BareProcess(folders, threads)
        try:
            bare = [BareWorker(process, name, vocabulary, seed) for name, (_, vocabulary) in models.items()]
            with open_workers(plans) as workers:
                yield [*workers, *bare]
        finally:
            process.close()

    timings = measure(open_round, timing, seed, lost=left_out)
    assert timings.cells == left_out
    assert not timings.failures
    return timings.rows


def turn_medians(rows, model, shape):
    """By round and turn the median of a model's timed passes, in seconds."""
    turns = {}
    for row in rows:
        if (row.model, row.shape) == (model, shape) and not row.warmup:
            turns.setdefault((row.round, row.turn), []).append(row.seconds)
    return {place: statistics.median(passes) for place, passes in turns.items()}


def over_bare(rows, model, shape):
    """By round and turn the engine's median pass over that of the bare loop in the same turn."""
    ours, theirs = (turn_medians(rows, name, shape) for name in (model, BARE + model))
    assert ours.keys() == theirs.keys()
    return {place: seconds / theirs[place] for place, seconds in ours.items()}
