"""Small specs, records and stored sessions for tests: plausible values, real sidecars, nothing measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bertbench.records import Environment, Failure, Measurement, RunRecord, SessionRecord
from bertbench.specs import ModelSpec, TaskSpec
from bertbench.store import Store

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


def timing_rows(seconds, *, shapes=SHAPES, rounds=5, turns=7, passes=2, noise=0.01, seed=0):
    """Raw timings of models with `seconds` a pass each; turns share a drift, passes a little noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for shape in shapes:
        for round_number in range(rounds):
            for turn in range(turns):
                drift = 1 + 0.2 * generator.random()
                for order, (model, base) in enumerate(seconds.items()):
                    for index in range(passes + 1):
                        factor = 5.0 if index == 0 else drift * (1 + noise * generator.standard_normal())
                        place = {"round": round_number, "turn": turn, "order": order, "warmup": index == 0}
                        rows.append(_timing_row(shape, model, base * shape[0] * factor, place))
    return pd.DataFrame(rows)


def _timing_row(shape, model, seconds, place):
    batch, length = shape
    return place | {
        "session": SESSION_ID,
        "model": model,
        "backend": "eager",
        "seconds": seconds,
        "shape": f"{batch}x{length or 'natural'}",
        "scenario": "fixed" if length else "natural",
        "batch_size": batch,
        "sequence_length": length,
    }


def speed_record(model, rows, sidecar=None, **fields):
    """The speed record of a model that `timing_rows` has timed."""
    timed = rows[(rows["model"] == model) & ~rows["warmup"]]
    measurements = []
    for _, group in timed.groupby("shape", sort=False):
        first = group.iloc[0]
        length = first["sequence_length"]
        measurements.append(
            Measurement(
                "latency",
                "s",
                tuple(group.groupby("round")["seconds"].median().tolist()),
                statistic="round-median",
                scenario=first["scenario"],
                batch_size=int(first["batch_size"]),
                sequence_length=None if pd.isna(length) else int(length),
                n=len(group),
                n_unit="passes",
            )
        )
    settings = SETTINGS | {"shapes": list(dict.fromkeys(rows["shape"]))}
    sidecars = {"timings": sidecar} if sidecar else {}
    return record(
        "speed", model, **({"measurements": tuple(measurements), "settings": settings, "sidecars": sidecars} | fields)
    )


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
    from bertbench import plugins

    task = task or task_spec()
    measurements = []
    for split, rows in frame.groupby("split", sort=False):
        values = {}
        for name in task.metrics:
            metric = plugins.load("bertbench.metrics", "metric", name)
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


def stored_session(folder, *, records=(), timings=None, scored=(), session=None):
    """Write a session through the store and read it back.

    `records` are written as they are; `timings` (rows) gives every model in it a speed record; `scored` holds
    (model, predictions) or (model, predictions, fields of quality_record).
    """
    store = Store(folder)
    session = session or session_record()
    store.write_session(session)
    for entry in records:
        store.write_record(entry)
    if timings is not None:
        sidecar = store.write_sidecar(SESSION_ID, "timings", timings)
        for model in dict.fromkeys(timings["model"]):
            store.write_record(speed_record(model, timings, sidecar))
    for index, (model, frame, *fields) in enumerate(scored):
        sidecar = store.write_sidecar(SESSION_ID, f"predictions-{index}", frame)
        store.write_record(quality_record(model, frame, sidecar=sidecar, **(fields[0] if fields else {})))
    return next(store.sessions())


def replaced(stored, **fields):
    """A stored session whose session record has other fields."""
    return replace(stored, session=replace(stored.session, **fields))
