"""Stored predictions as a folder that `nel compare` reads, without it."""

import json

import pandas as pd

from tests.peers import nemo_format


def test_folder_has_a_bundle_and_a_line_an_example(tmp_path):
    """Examples are numbered by their ids, not by their order, so that two models' lines are of the same examples."""
    rows = {"example_id": ["b", "a", "c"], "prediction": [1, 0, 1], "label": [1, 1, 1]}
    pd.DataFrame(rows).to_parquet(tmp_path / "predictions.parquet")
    right = nemo_format.write(tmp_path / "predictions.parquet", tmp_path / "base", name="base", benchmark="sst2")
    assert right.tolist() == [False, True, True]
    lines = [json.loads(line) for line in (tmp_path / "base" / "results.jsonl").read_text().splitlines()]
    assert [(line["problem_idx"], line["repeat"], line["reward"]) for line in lines] == [
        (0, 0, 0.0),
        (1, 0, 1.0),
        (2, 0, 1.0),
    ]
    bundle = json.loads((tmp_path / "base" / "eval-base.json").read_text())
    assert bundle["benchmark"] == {"name": "sst2", "scores": {"accuracy": {"value": 2 / 3}}}
