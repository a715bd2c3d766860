"""sentence-transformers' back-ends on all-MiniLM-L6-v2, and Spearman's correlation on STS-B."""

import json
from pathlib import Path

import numpy as np
import pytest

from bertbench.specs import plugins
from tests.peers.environments import ROUNDS, THREADS
from tests.peers.outputs import bertbench_latencies
from tests.peers.turns import agreement, alternate

pytestmark = [pytest.mark.peers, pytest.mark.shared, pytest.mark.timeout(3600)]

SIDE = Path(__file__).with_name("sentence_transformers_side.py")
MODEL, NAME = "sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6"
PASSES = 15
# By environment, their back-ends and those of bertbench that do the same.
SAME = {
    "transformers-4": {
        "torch": "eager",
        "onnx": "onnxruntime",
        "onnx-int8": "onnxruntime-int8",
        "openvino": "openvino",
    },
    "transformers-5": {"torch": "eager", "openvino": "openvino", "openvino-own": "openvino-bf16"},
}
PAIRS = """
import json, sys
from datasets import load_dataset
rows = load_dataset("nyu-mll/glue", "stsb", split="validation")
pairs = {"sentence1": rows["sentence1"][:], "sentence2": rows["sentence2"][:], "score": rows["label"][:]}
json.dump(pairs, open(sys.argv[1], "w", encoding="utf-8"))
"""
ENVIRONMENTS = pytest.mark.parametrize("name", sorted(SAME))


@pytest.fixture(scope="module")
def theirs(peer, tmp_path_factory):
    """Carries out orders in an environment: `theirs(name, do="time")`; the model is exported before the first one."""
    folders = {}

    def order(name, **words):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            order(name, do="export")
        folder = folders[name]
        asked = {"folder": str(folder / "model"), "model": MODEL, "backends": list(SAME[name])} | words
        asked |= {"threads": THREADS, "passes": PASSES}
        (folder / "order.json").write_text(json.dumps(asked), encoding="utf-8")
        peer(name).run(SIDE, folder / "order.json", folder / "answer.json", cwd=folder)
        return json.loads((folder / "answer.json").read_text(encoding="utf-8"))

    return order


@ENVIRONMENTS
def test_ratios_between_back_ends_agree(name, theirs, peer, speed, note):
    """What a back-end gains over PyTorch is the same by `SentenceTransformer.encode` and by `bertbench speed`."""
    same, versions = SAME[name], peer(name).versions("sentence-transformers", "transformers", "openvino")

    def mine():
        backends = bertbench_latencies(speed("--models", NAME, "--backends", ",".join(same.values())))
        return {backend: backends[NAME, own] for backend, own in same.items()}

    def other():
        return theirs(name, do="time")

    mine()  # exports
    theirs(name, do="time")
    pairs = alternate(mine, other, ROUNDS)
    note(f"sentence-transformers, all-MiniLM-L6-v2, 1x128, speed-up over torch ({versions})")
    compared = {backend: agreement(pairs, backend, "torch") for backend in same if backend != "torch"}
    for backend, agreed in compared.items():
        note("  " + agreed.text(f"{backend} / {same[backend]}"))
    assert not [backend for backend, agreed in compared.items() if agreed.is_refuted]


@ENVIRONMENTS
def test_spearman_agrees(name, theirs, peer, tmp_path, note):
    """Of their cosine similarities on STS-B bertbench's Spearman is their evaluator's, to the ninth digit."""
    pairs = tmp_path / "pairs.json"
    peer(None).run("-c", PAIRS, pairs, cwd=tmp_path)
    answers = theirs(name, do="similarities", pairs=str(pairs))
    gold = np.array(json.loads(pairs.read_text(encoding="utf-8"))["score"])
    metric, once = plugins.load("bertbench.stats.metrics", "metric", "spearman"), np.ones((1, len(gold)))
    cosines = {backend: np.array(answer["cosines"]) for backend, answer in answers.items()}
    own = {backend: metric.compute(values, gold) for backend, values in cosines.items()}
    ranked = {backend: float(metric.resampled(values, gold, once)[0]) for backend, values in cosines.items()}
    spearman = {backend: answer["spearman"] for backend, answer in answers.items()}
    note(f"Spearman on STS-B validation ({len(gold)} pairs, {name}; bertbench's of their cosines and theirs):")
    for backend, value in spearman.items():
        note(f"  {backend}: {own[backend]:.12f} and {value:.12f}")
    assert own == pytest.approx(spearman, abs=1e-9)
    assert ranked == pytest.approx(spearman, abs=1e-9)
