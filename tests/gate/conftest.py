"""A baseline in memory that tests change one thing of."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from bertbench.gate.baseline import Baseline, Checkpoint, Saved, StoredScore, Timed

MODEL, TASK = "distilbert", "sst2"
LOGS = (-0.70, -0.69, -0.71, -0.70, -0.695, -0.705, -0.70, -0.70)


def predictions(right, n=5000):
    """Two classes, of which the last examples are wrong."""
    labels = [index % 2 for index in range(n)]
    found = [label if index < right else 1 - label for index, label in enumerate(labels)]
    return pd.DataFrame({"example_id": [str(i) for i in range(n)], "prediction": found, "label": labels})


def checkpoint(**changes):
    """A fingerprint."""
    first = Checkpoint("d" * 64, ("no", "yes"), {"a.weight": (2, 3)}, (0.5, -0.5, 1.0, 2.0), (2, 2), "kept")
    return replace(first, **changes)


def baseline(**changes):
    """The baseline of two models."""
    score = StoredScore(
        MODEL,
        TASK,
        "sequence-classification",
        "validation",
        ("accuracy",),
        0.95,
        5000,
        0,
        "evaluate",
        None,
        checkpoint(),
    )
    first = Baseline(
        suite="base",
        reference="bert",
        tasks=(TASK,),
        session_id="s",
        created_at="2026-11-26T12:00:00+00:00",
        bertbench_version="1",
        environment_class="here",
        machine="a machine",
        options={"threads": 1},
        timing={"rounds": 8},
        models={"bert": {}, MODEL: {}},
        counts={MODEL: {"parameters unique": 66.0, "flops 1x128": 11.0}},
        weights={MODEL: {"b.weight": (4,)}},
        scores=(score,),
        times=(Timed(MODEL, "1x128", "eager fp32", LOGS),),
        peak_memory={"bert": {"1x128": 400e6}, MODEL: {"1x128": 200e6}},
    )
    return replace(first, **changes)


def saved(right=4750, **changes):
    """The same with predictions."""
    return Saved(baseline(**changes), {(MODEL, TASK): predictions(right)})


def make_checkpoint(folder):
    """A folder with a configuration and one small weight."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def before():
    """What was saved."""
    return saved()
