"""Predictions that bertbench stored, as the folder that NeMo Evaluator's `nel compare` reads.

A bundle `eval-<name>.json` names the run and its benchmark; `results.jsonl` beside it has a line an example, paired by
`problem_idx`, with a reward of 1 for a right answer and 0 for a wrong one.
"""

import json

import pandas as pd


def write(predictions, folder, *, name, benchmark):
    """Write one model's predictions, a parquet sidecar, into a folder of its own; return which examples were right."""
    frame = pd.read_parquet(predictions).sort_values("example_id", kind="stable").reset_index(drop=True)
    right = (frame["prediction"] == frame["label"]).to_numpy()
    folder.mkdir(parents=True)
    lines = [
        json.dumps({"problem_idx": index, "repeat": 0, "reward": float(value), "expected_answer": str(label)})
        for index, (value, label) in enumerate(zip(right, frame["label"], strict=True))
    ]
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    scores = {"accuracy": {"value": float(right.mean())}}
    bundle = {"run_id": name, "config": {}, "benchmark": {"name": benchmark, "scores": scores}}
    (folder / f"eval-{name}.json").write_text(json.dumps(bundle), encoding="utf-8")
    return right
