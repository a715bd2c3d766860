"""Makes a results folder of N records, ten a session, as `compare` on the base suite would have left it.

    python -m tests.bench.synthetic_store FOLDER 100000

Only the newest session has raw timings; the others' records name none.
"""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bertbench.records.files import SUM, _sum, to_json
from bertbench.records.store import Store
from bertbench.session.request import Options, Request
from bertbench.specs.catalog import Catalog
from tests.factories import failed, memory_record, predictions, quality_record, session_record, size_record, timing_rows
from tests.factories import speed_record as speed_of

MODELS = ("bert", "distilbert", "albert")
TASK = "sst2"
FIRST = datetime(2020, 1, 1, tzinfo=UTC)


def request(**options):
    """What every session was asked: three models, one task."""
    catalog = Catalog()
    suite = catalog.suite("base")
    tasks = tuple(catalog.task(name) for name in suite.tasks)
    models = tuple(catalog.model(name) for name in MODELS)
    return Request(
        "compare",
        ("compare",),
        suite,
        models,
        "bert",
        tasks,
        Options(**options),
        may_be_random=True,
        timing=suite.timing,
    )


def records(session_id, started, number, timings):
    """Ten records: size, speed and memory of three models, and one of quality that could not be had."""
    catalog = Catalog()
    common = {"session_id": session_id, "started_at": started}
    for model in MODELS:
        spec = catalog.model(model).model_dump(mode="json")
        for one in (size_record(model), speed_of(model, timings), memory_record(model)):
            yield replace(one, run_id=f"{session_id}-{one.kind}-{model}", model=spec, **common)
    if number % 2:
        spec = catalog.task(TASK).model_dump(mode="json")
        scored = quality_record("bert", predictions(0.8, n=40), seed=number)
        yield replace(scored, run_id=f"{session_id}-quality-bert-{TASK}-1", key=f"key-{number}", task=spec, **common)
    else:
        yield replace(failed("quality", task_name=TASK), run_id=f"{session_id}-quality-bert", **common)


def make(folder, count, *, environment_class=None):
    """Fill `folder` with `count` records, a tenth as many sessions; without syncing, which would take an hour."""
    store = Store(Path(folder))
    asked = request(threads=1).canonical(
        dict.fromkeys(MODELS, "w"), dict.fromkeys(request().suite.tasks, "d"), "machine"
    )
    timings = timing_rows({"bert": 0.05, "distilbert": 0.03, "albert": 0.06}, rounds=8, turns=3)
    text_of = {}
    sessions = -(-count // 10)
    for number in range(sessions):
        started = FIRST + timedelta(minutes=20 * number)
        session_id = f"{started:%Y%m%dT%H%M%S}-{number:06x}"
        where = store.folder(session_id)
        where.mkdir(parents=True)
        newest = number == sessions - 1
        # Of the old sessions a part is of other options, so that looking for one has to look.
        mine = asked if newest else {**asked, "options": {**asked["options"], "seeds": [number % 7 + 1]}}
        session = session_record(
            MODELS, request().suite.tasks if not text_of else text_of["tasks"], session_id=session_id, request=mine,
            started_at=started.isoformat(),
        )  # fmt: skip
        text_of["tasks"] = session.tasks
        (where / "session.json").write_text(to_json(session), encoding="utf-8")
        parity = number % 2
        if parity not in text_of:
            text_of[parity] = [
                (one.run_id, to_json(one)) for one in records("SESSION", FIRST.isoformat(), number, timings)
            ]
        for run_id, text in text_of[parity]:
            replaced = (
                text.replace("SESSION", session_id)
                .replace(FIRST.isoformat(), started.isoformat())
                .replace("key-", f"key-{number}-")
            )
            content = json.loads(replaced)
            content.pop(SUM)
            with_sum = json.dumps(content | {SUM: _sum(content)}, indent=1)
            (where / f"{run_id.replace('SESSION', session_id)}.json").write_text(with_sum, encoding="utf-8")
    sidecar = store.write_sidecar(session_id, "timings", timings)
    for model in MODELS:
        store.write_record(
            replace(
                speed_of(model, timings, sidecar),
                run_id=f"{session_id}-speed-{model}", session_id=session_id, started_at=started.isoformat(),
                model=Catalog().model(model).model_dump(mode="json"),
            )
        )  # fmt: skip
    return store


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]))
