"""Small specs, records and stored sessions for tests: plausible values, real sidecars, nothing measured."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd

from bertbench.records.record import Environment, Failure, Measurement, RunRecord, SessionRecord
from bertbench.records.store import Store
from bertbench.session.options import StudyOptions
from bertbench.session.study import Study
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import ModelSpec
from bertbench.specs.tasks import TaskSpec
from bertbench.speed.calibration import TRAINING_PASSES

SESSION_ID = "20261124T120000-abc123"
STARTED = "2026-11-24T12:00:00+00:00"
SETTINGS = {"device": "cpu", "dtype": "fp32", "threads": 2, "backend": "eager", "attention": "sdpa"}
SHAPES = ((1, 128), (8, 128))


def environment(**fields):
    """A machine."""
    values = {
        "cpu": "Test CPU",
        "instruction_flags": ("avx2",),
        "usable_cores": 2,
        "memory_bytes": 8 * 2**30,
        "gpu": None,
        "system": "Linux 6",
        "python": "3.11.9",
        "packages": {"torch": "2.6.0", "transformers": "5.0.0"},
    }
    return Environment(**(values | fields))


def model_spec(name="bert", **fields):
    """A model with a checkpoint and nothing published."""
    values = {"name": name, "title": name.upper(), "architecture": "bert", "checkpoint": f"org/{name}"}
    return ModelSpec(**(values | fields))


def task_spec(name="sst2", **fields):
    """A classification task with accuracy as its score."""
    values = {
        "name": name,
        "title": name,
        "dataset": {"path": "org/data"},
        "inputs": ("sentence",),
        "labels": ("negative", "positive"),
        "metrics": ("accuracy",),
        "primary_metrics": ("accuracy",),
    }
    return TaskSpec(**(values | fields))


def record(kind, model="bert", **fields):
    """A finished record without measurements."""
    values = {
        "run_id": f"{kind}-{model}",
        "session_id": SESSION_ID,
        "suite": "base",
        "model": model_spec(model).model_dump(mode="json"),
        "status": "ok",
        "started_at": STARTED,
        "settings": SETTINGS,
        "checkpoint": f"org/{model}",
        "revision": "0" * 40,
        "weights": "pretrained",
        "environment": environment(),
    }
    return RunRecord(kind=kind, model_name=model, **(values | fields))


def failed(kind, model="bert", message="out of memory", status="failed", **fields):
    """A record of a run that gave nothing."""
    return record(kind, model, status=status, error=Failure("MeasurementError", message, "try less"), **fields)


def size_record(model="bert", unique=109_482_240, executed=None, checkpoint_bytes=None, flops=22.35e9, **fields):
    """Parameters with two components, bytes and FLOPs."""
    executed = executed or unique
    measurements = [
        Measurement("parameters", "1", (unique,), statistic="unique"),
        Measurement("parameters", "1", (executed,), statistic="executed"),
        Measurement("parameters", "1", (unique // 2,), statistic="unique/attention"),
        Measurement("parameter_bytes", "byte", (unique * 4,)),
        Measurement("flops", "1", (flops,), batch_size=1, sequence_length=128),
    ]
    if checkpoint_bytes:
        measurements.append(Measurement("checkpoint_bytes", "byte", (checkpoint_bytes,)))
    return record("size", model, measurements=tuple(measurements), **fields)


def memory_record(model="bert", peak=700e6, **fields):
    """Peak memory at one shape."""
    peaks = (Measurement("peak_memory", "byte", (peak,), statistic="peak", batch_size=1, sequence_length=128),)
    return record("memory", model, measurements=peaks, **fields)


def timing_rows(seconds, *, shapes=SHAPES, rounds=5, turns=7, passes=2, noise=0.01, seed=0, texts=False):
    """Raw timings of models with `seconds` a pass each; turns share a drift, passes a little noise.

    A key of `seconds` is a model, or a model with back-end and number format. A shape's length is a number, None for natural
    lengths, or 'split'; with `texts` the tokenizer takes a tenth of the model's time.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for shape in shapes:
        for round_number in range(rounds):
            for turn in range(turns):
                drift = 1 + 0.2 * generator.random()
                for order, (way, base) in enumerate(seconds.items()):
                    for index in range(passes + 1):
                        factor = 5.0 if index == 0 else drift * max(1 + noise * generator.standard_normal(), 0.01)
                        place = {"round": round_number, "turn": turn, "order": order, "warmup": index == 0}
                        rows.append(_timing_row(shape, way, base * shape[0] * factor, place, texts=texts))
    return pd.DataFrame(rows)


def _timing_row(shape, way, seconds, place, *, texts):
    batch, length = shape
    model, backend, dtype = (way, "eager", "fp32") if isinstance(way, str) else way
    timed = texts and not place["warmup"]
    return place | {
        "session": SESSION_ID,
        "model": model,
        "backend": backend,
        "dtype": dtype,
        "seconds": seconds,
        "shape": f"{batch}x{length or 'natural'}",
        "scenario": {None: "natural", "split": "offline"}.get(length, "fixed"),
        "batch_size": batch,
        "sequence_length": length if isinstance(length, int) else None,
        "tokenization_seconds": 0.1 * seconds if timed else None,
        "end_to_end_seconds": 1.1 * seconds if timed else None,
    }


def speed_record(model, rows, sidecar=None, way=("eager", "fp32"), **fields):
    """The speed record of a model that `timing_rows` has timed on a back-end in a number format."""
    of_way = (rows["backend"] == way[0]) & (rows["dtype"] == way[1])
    timed = rows[of_way & (rows["model"] == model) & ~rows["warmup"]]
    measurements = [one for _, group in timed.groupby("shape", sort=False) for one in _latencies(group)]
    several = len(rows.groupby(["backend", "dtype"])) > 1
    settings = SETTINGS | {
        "shapes": list(dict.fromkeys(rows["shape"])),
        "backend": way[0],
        "dtype": way[1],
        "reference": " ".join(rows.iloc[0][["model", "backend", "dtype"]]) if several else rows.iloc[0]["model"],
    }
    values = {
        "run_id": "-".join(("speed", model, *(way if several else ()))),
        "measurements": tuple(measurements),
        "settings": settings,
        "sidecars": {"timings": sidecar} if sidecar else {},
    }
    return record("speed", model, **(values | fields))


def _latencies(timed):
    """The measurements of one shape: round medians of every part that was timed, and of a whole split the sums."""
    first = timed.iloc[0]
    length = first["sequence_length"]
    place = {"scenario": first["scenario"], "batch_size": int(first["batch_size"])}
    parts = {"": "seconds", "tokenization/": "tokenization_seconds", "end-to-end/": "end_to_end_seconds"}
    for prefix, column in parts.items():
        if timed[column].isna().all():
            continue
        by_round = timed.groupby("round")[column]
        yield Measurement(
            "latency",
            "s",
            tuple(by_round.median().tolist()),
            statistic=f"{prefix}round-median",
            sequence_length=None if pd.isna(length) else int(length),
            n=len(timed),
            n_unit="passes",
            **place,
        )
        if first["scenario"] == "offline":
            name = prefix.rstrip("/") or "model"
            sums = tuple(by_round.sum().tolist())
            yield Measurement("inference_time", "s", sums, statistic=name, n=len(timed), n_unit="examples", **place)


def predictions(accuracy, n=400, seed=0, labels=None, split="validation"):
    """Predictions of a model that gets about `accuracy` of n binary examples right."""
    generator = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(0, 2, n) if labels is None else np.asarray(labels)
    right = generator.random(n) < accuracy
    return pd.DataFrame(
        {
            "example_id": [f"e{index:05d}" for index in range(n)],
            "split": split,
            "prediction": np.where(right, truth, 1 - truth).astype(float),
            "label": truth.astype(float),
        }
    )


def quality_record(model, frame, task=None, seed=1, sidecar=None, **fields):
    """The quality record that belongs to some predictions; every metric of the task, score and training time."""
    from bertbench.specs import plugins

    task = task or task_spec()
    measurements = []
    for split, rows in frame.groupby("split", sort=False):
        values = {}
        for name in task.metrics:
            metric = plugins.load("bertbench.stats.metrics", "metric", name)
            values[name] = metric.compute(rows["prediction"].to_numpy(), rows["label"].to_numpy())
        if all(values[name] is not None for name in task.primary_metrics):
            values["score"] = float(np.mean([values[name] for name in task.primary_metrics]))
        measurements += [
            Measurement(name, "1", (value,), split=split, n=len(rows), n_unit="examples")
            for name, value in values.items()
            if value is not None
        ]
    measurements.append(Measurement("training_time", "s", (60.0 + seed,), n=1000, n_unit="samples"))
    values = {
        "run_id": f"quality-{model}-{task.name}-{seed}",
        "task_name": task.name,
        "task": task.model_dump(mode="json"),
        "seed": seed,
        "weights": "fine-tuned",
        "measurements": tuple(measurements),
        "settings": SETTINGS | {"mode": "fine-tune", "train_samples": 3000, "epochs": 3},
        "sidecars": {"predictions": sidecar} if sidecar else {},
    }
    return record("quality", model, **(values | fields))


def session_record(models=("bert", "distilbert"), tasks=("sst2",), **fields):
    """A complete session."""
    values = {
        "session_id": SESSION_ID,
        "command": "compare",
        "argv": ("compare",),
        "suite": "base",
        "models": tuple(models),
        "reference": models[0],
        "tasks": tuple(tasks),
        "request": {},
        "started_at": STARTED,
        "complete": True,
        "environment_class": environment().environment_class,
    }
    return SessionRecord(**(values | fields))


def move_session(store, target, session_id):
    """Move the one session of a results folder into another one, where it has another id."""
    (stored,) = Store(store).sessions()
    moved = Store(target)
    moved.write_session(replace(stored.session, session_id=session_id))
    for entry in stored.records:
        for sidecar in entry.sidecars.values():
            shutil.copyfile(stored.folder / sidecar.name, moved.folder(session_id) / sidecar.name)
        moved.write_record(replace(entry, session_id=session_id))
    shutil.rmtree(store)


def stored_session(folder, *, records=(), timings=None, scored=(), session=None, make=None):
    """Write a session through the store and read it back.

    `records` are written as they are; `timings` (rows) gives every model and way of running it a speed record; `scored`
    holds (model, predictions) or (model, predictions, fields of quality_record, or of what `make`s records instead).
    """
    store = Store(folder)
    session = session or session_record()
    store.write_session(session)
    for entry in records:
        store.write_record(entry)
    if timings is not None:
        sidecar = store.write_sidecar(SESSION_ID, "timings", timings)
        for model, *way in timings[["model", "backend", "dtype"]].drop_duplicates().itertuples(index=False):
            store.write_record(speed_record(model, timings, sidecar, tuple(way)))
    for index, (model, frame, *fields) in enumerate(scored):
        sidecar = store.write_sidecar(SESSION_ID, f"predictions-{index}", frame)
        store.write_record((make or quality_record)(model, frame, sidecar=sidecar, **(fields[0] if fields else {})))
    return next(store.sessions())


def replaced(stored, **fields):
    """A stored session whose session record has other fields."""
    return replace(stored, session=replace(stored.session, **fields))


def study(store, command="run", say=lambda _: None, kind=Study, **options):
    """What a command measures with, on this store, in silence."""
    return kind(command, StudyOptions(**options), Catalog(), store, say, contextlib.nullcontext)


def answered(measure, store, command="run", **fields):
    """A study whose requests `measure` answers, with a stored session or an error that it raises."""

    class Answered(Study):
        def measure_or_read(self, request):
            return measure(request)

    return study(store, command, kind=Answered, **fields)


def passes_at(flops_per_second):
    """A machine on which every pass reaches this rate, as `session.steps.Instruments` asks for it."""

    def pass_seconds(config, shapes, settings):
        from bertbench.models.size import count_flops

        return [
            count_flops(config, *shape[:2]) / flops_per_second * (TRAINING_PASSES if shape.use == "training" else 1)
            for shape in shapes
        ]

    return pass_seconds
