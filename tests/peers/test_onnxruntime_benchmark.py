"""ONNX Runtime's own benchmark of transformers, which runs beside bertbench in one environment."""

import pytest

from tests.peers.environments import ROUNDS, THREADS
from tests.peers.outputs import bertbench_latencies, onnxruntime_latencies
from tests.peers.turns import agreement, alternate

pytestmark = [pytest.mark.peers, pytest.mark.shared, pytest.mark.timeout(3600)]

# Its names of models and ours. It knows no other BERT of this size.
SAME = {"bert-base-cased": "bert-base-cased", "distilbert-base-uncased": "distilbert", "albert-base-v2": "albert"}
BERT = "bert-base-cased"


def test_ratios_between_models_agree(peer, speed, tmp_path, note):
    """DistilBERT and ALBERT gain over BERT what `onnxruntime.transformers.benchmark` finds as well, at 1x128 in fp32."""
    pytest.importorskip("onnxruntime", reason="needs the extra peers")
    environment = peer(None)
    words = ("--models", *SAME, "--batch_sizes", 1, "--sequence_lengths", 128, "--num_threads", THREADS)
    words += ("--test_times", 20, "--precision", "fp32")
    # The exported file as it is, as here: its own script fuses operators, which bertbench leaves to the runtime.
    words += ("--optimizer_info", "no_opt", "--onnx_dir", tmp_path / "onnx", "--cache_dir", tmp_path / "cache")

    def mine():
        options = ("--models", ",".join(SAME.values()), "--reference", BERT, "--backends", "onnxruntime")
        seconds = bertbench_latencies(speed(*options))
        return {theirs: seconds[own, "onnxruntime"] for theirs, own in SAME.items()}

    def other():
        details = tmp_path / "details.csv"
        details.unlink(missing_ok=True)
        environment.run("-m", "onnxruntime.transformers.benchmark", *words, "--detail_csv", details, cwd=tmp_path)
        return onnxruntime_latencies(details.read_text(encoding="utf-8"))

    mine(), other()  # exports
    pairs = alternate(mine, other, ROUNDS)
    note(
        f"onnxruntime.transformers.benchmark, 1x128, fp32, speed-up over {BERT} ({environment.versions('onnxruntime', 'transformers')})"
    )
    compared = {name: agreement(pairs, name, BERT) for name in SAME if name != BERT}
    for name, agreed in compared.items():
        note("  " + agreed.text(name))
    assert not [name for name, agreed in compared.items() if agreed.is_refuted]
