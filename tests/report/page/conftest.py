"""A results folder that has something for every chart, and its report."""

import shutil
from dataclasses import replace

import pytest

from bertbench.commands import report as command
from bertbench.records.record import Measurement
from bertbench.records.store import Store
from bertbench.specs.catalog import Catalog
from tests import factories

MODELS = ("bert", "distilbert", "<script>alert(1)</script>")
WAYS = (("eager", "fp32"), ("onnxruntime", "fp32"))
SHAPES = ((1, 128), (1, 32), (8, 128), (1, None))
TASKS = ("sst2", "mrpc")
DAYS = (10, 11, 12)


def _sizes(model, number, common):
    """Records of size, with components and operations, and of memory."""
    unique = 110_000_000 - number * 20_000_000
    parts = [
        Measurement("parameters", "1", (float(unique * share // 100),), statistic=f"{counted}/{name}")
        for counted in ("unique", "executed")
        for name, share in (("word_embeddings", 30), ("feed_forward", 70))
    ]
    work = [
        Measurement("flops", "1", (float(10**7 * batch * length),), batch_size=batch, sequence_length=length)
        for batch, length in SHAPES
        if length
    ]
    size = factories.size_record(model, unique=unique, **common("size", number))
    kept = [each for each in size.measurements if each.quantity != "flops" and "/" not in each.statistic]
    memory = factories.memory_record(model, peak=900e6 - 100e6 * number, **common("memory", number))
    resident = Measurement("peak_memory", "byte", (700e6 - 100e6 * number,), statistic="resident")
    yield replace(size, measurements=(*kept, *parts, *work))
    yield replace(memory, measurements=(*memory.measurements, resident))


def write_session(store, day, models=MODELS):
    """Write a session of a day: sizes, memory, times on two back-ends, and scores of two tasks with three seeds."""
    session_id, started = f"202611{day}T120000-abc0{day}", f"2026-11-{day}T12:00:00+00:00"

    def common(kind, *numbers):
        run = "-".join(map(str, (session_id, kind, *numbers)))
        return {"session_id": session_id, "run_id": run, "started_at": started}

    rows = factories.timing_rows(
        {(model, *way): 0.02 + 0.01 * number for number, model in enumerate(models) for way in WAYS},
        shapes=SHAPES,
        turns=2,
        seed=day,
    )
    request = {"session_id": session_id, "started_at": started, "argv": ("compare", "--models", ",".join(models))}
    store.write_session(factories.session_record(models, TASKS, **request))
    sidecar = store.write_sidecar(session_id, "timings", rows)
    ceiling = Measurement("ceiling", "FLOP/s", (3e12, 3.1e12), statistic="fp32")
    for number, model in enumerate(models):
        for record in _sizes(model, number, common):
            store.write_record(record)
        for way in WAYS:
            record = factories.speed_record(model, rows, sidecar, way, **common("speed", number, *way))
            store.write_record(replace(record, measurements=(*record.measurements, ceiling)))
        for task in TASKS:
            for seed in range(3):
                frame = factories.predictions(0.9 - 0.02 * number, seed=seed + 10 * number)
                scores = store.write_sidecar(session_id, f"predictions-{number}-{task}-{seed}", frame)
                about = common("quality", number, task, seed)
                spec = factories.task_spec(task)
                store.write_record(factories.quality_record(model, frame, spec, seed=seed, sidecar=scores, **about))


@pytest.fixture(scope="session")
def full_results(tmp_path_factory):
    """A results folder with three sessions of three models, one of which is named like an element of HTML."""
    folder = tmp_path_factory.mktemp("page") / "results"
    store = Store(folder)
    for day in DAYS:
        write_session(store, day)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def full_report(full_results):
    """The report on all of it."""
    return command._joined(list(Store(full_results).sessions()), Catalog())


@pytest.fixture
def size_report(tmp_path):
    """A report on sizes alone."""
    stored = factories.stored_session(tmp_path / "sizes", records=[factories.size_record("bert")])
    return command._joined([stored], Catalog())
