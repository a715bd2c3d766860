"""Makes a results folder of N records as a campaign of many models, tasks and seeds would have left it, cut into sessions.

    python -m tests.bench.synthetic_campaign FOLDER 1000000

Ten suites of five tasks; a session has 12 of 1,000 models with five seeds a task, and their sizes; every tenth has times and
memory, too. Predictions are absent. The newest session is one of suite base, which `compare` finds.
"""

import hashlib
import json
import multiprocessing
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from bertbench.records.files import SUM, to_json
from bertbench.records.record import Sidecar
from bertbench.records.store import Store
from bertbench.specs.catalog import Catalog
from tests import factories
from tests.bench.synthetic_store import make, request

SUITES, TASKS, SEEDS, MODELS, AT_ONCE, TIMED_EVERY = 10, 5, 5, 1000, 12, 10
RECORDS = AT_ONCE * (TASKS * SEEDS + 1 + 2 / TIMED_EVERY)  # of a session, on average
FIRST = datetime(2015, 1, 1, tzinfo=UTC)
SCORE, SECONDS, SEED = 0.111111, 111111.0, 987654321  # in templates, where runs differ
MARK = re.compile("|".join(["(<[A-Z]+>", re.escape(FIRST.isoformat()), str(SCORE), str(SECONDS), f"{SEED})"]))


def environment():
    """A machine with about as many flags and packages as real ones have."""
    flags = tuple(f"flag_{number}" for number in range(90))
    packages = {f"package-{number}": "1.2.3" for number in range(8)} | {"torch": "2.6.0", "transformers": "5.0.0"}
    return factories.environment(instruction_flags=flags, packages=packages, commit="c" * 40, dirty=False)


def templates():
    """By kind the text of a record's file and the text that its check sum is of, with marks in place of what differs."""
    task = Catalog().task("sst2").model_copy(update={"name": "<TASK>"})
    model = Catalog().model("bert").model_copy(update={"name": "<MODEL>", "checkpoint": "<MODEL>"})
    common = {
        "session_id": "<SESSION>", "suite": "<SUITE>", "started_at": FIRST.isoformat(), "run_id": "<RUN>", "key": "<KEY>",
        "environment": environment(), "model": model.model_dump(mode="json"), "checkpoint": "<MODEL>", "seconds": SECONDS,
    }  # fmt: skip
    scored = factories.quality_record("<MODEL>", factories.predictions(0.8, n=40), task=task, seed=SEED)
    measured = tuple(replace(one, values=(SCORE if one.unit == "1" else SECONDS,)) for one in scored.measurements)
    made = {
        "quality": replace(scored, measurements=measured),
        "size": factories.size_record("<MODEL>"),
        "memory": factories.memory_record("<MODEL>"),
        "speed": replace(
            factories.speed_record("<MODEL>", timings(["<MODEL>"]), Sidecar("timings.parquet", "<SHA>")), model_name="<MODEL>"
        ),
    }  # fmt: skip
    return {kind: _texts(to_json(replace(record, **common))) for kind, record in made.items()}


def _texts(text):
    """The pieces of both texts: every second one is a mark."""
    content = json.loads(text)
    content.pop(SUM)
    whole = json.dumps(content | {SUM: "<SUM>"}, indent=1)
    return MARK.split(whole), MARK.split(json.dumps(content, sort_keys=True, separators=(",", ":")))


def filled(pieces, values):
    """A text with values in place of its marks."""
    return "".join(values[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def timings(models):
    """Raw timings of some models."""
    return factories.timing_rows({name: 0.01 + 0.0001 * place for place, name in enumerate(models)}, rounds=4, turns=2)


def runs(number):
    """The runs of a session: kind, model, task and seed."""
    models = [f"org/model-{(number // SUITES * (AT_ONCE - 1) + place) % MODELS:04d}" for place in range(AT_ONCE - 1)]
    names = [f"suite-{number % SUITES}-task-{place}" for place in range(1, TASKS)]
    for model in ["bert", *models]:
        yield "size", model, "", 0
        for kind in ("speed", "memory") if is_timed(number) else ():
            yield kind, model, "", 0
        for task in ["sst2", *names]:
            for seed in range(SEEDS):
                yield "quality", model, task, seed


def is_timed(number):
    """Whether a session has times and memory."""
    return number // SUITES % TIMED_EVERY == 0


def write_session(folder, texts, asked, number):
    """Write one session; without syncing, which would take hours."""
    chance = np.random.default_rng(number)
    started = (FIRST + timedelta(minutes=20 * number)).isoformat()
    session_id = f"{datetime.fromisoformat(started):%Y%m%dT%H%M%S}-{number:06x}"
    where = Path(folder) / "sessions" / session_id
    where.mkdir(parents=True)
    cells = list(runs(number))
    models = list(dict.fromkeys(model for _, model, _, _ in cells))
    session = factories.session_record(
        models, tuple(dict.fromkeys(task for _, _, task, _ in cells if task)), session_id=session_id, started_at=started,
        suite=f"suite-{number % SUITES}", request=asked | {"options": asked["options"] | {"seeds": list(range(SEEDS))}},
    )  # fmt: skip
    (where / "session.json").write_text(to_json(session), encoding="utf-8")
    sha = ""
    if is_timed(number):
        timings(models).to_parquet(where / "timings.parquet", index=False)
        sha = hashlib.sha256((where / "timings.parquet").read_bytes()).hexdigest()
    for kind, model, task, seed in cells:
        run = "-".join(filter(None, (session_id, kind, model.replace("/", "_"), task, str(seed))))
        score = 0.7 + 0.2 * chance.random()
        marks = {
            "<TASK>": task, "<MODEL>": model, "<SESSION>": session_id, "<SUITE>": f"suite-{number % SUITES}", "<RUN>": run,
            "<KEY>": f"key-{model}-{task}-{seed}", FIRST.isoformat(): started, "<SHA>": sha, str(SEED): str(seed),
            str(SCORE): repr(score), str(SECONDS): repr(100 * score),
        }  # fmt: skip
        whole, canonical = texts[kind]
        marks["<SUM>"] = hashlib.sha256(filled(canonical, marks).encode()).hexdigest()
        (where / f"{run}.json").write_text(filled(whole, marks), encoding="utf-8")


def campaign(folder, count, processes=2):
    """Fill `folder` with about `count` records."""
    asked = request(threads=1).canonical(
        dict.fromkeys(("bert", "distilbert", "albert"), "w"), dict.fromkeys(request().suite.tasks, "d"), "machine"
    )
    write = partial(write_session, folder, templates(), asked)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(write, range(round(count / RECORDS)), chunksize=8):
            pass
    make(folder, 10)
    return Store(Path(folder))


if __name__ == "__main__":
    campaign(sys.argv[1], int(sys.argv[2]))
