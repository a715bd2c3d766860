"""optimum-benchmark's command on the released models, in PyTorch."""

import shutil

import pytest

from tests.peers.environments import ROUNDS, THREADS
from tests.peers.outputs import bertbench_latencies, optimum_latency
from tests.peers.turns import agreement, alternate

pytestmark = [pytest.mark.peers, pytest.mark.shared, pytest.mark.timeout(3600)]

MODELS = {"bert": "google-bert/bert-base-uncased", "distilbert": "distilbert/distilbert-base-uncased"}
CONFIG = """
defaults: [benchmark, {{backend: pytorch}}, {{scenario: inference}}, {{launcher: process}}, _self_]
name: {name}
launcher: {{start_method: spawn}}
backend:
  model: {checkpoint}
  task: feature-extraction
  device: cpu
  no_weights: true
  torch_dtype: float32
  intra_op_num_threads: {threads}
  inter_op_num_threads: 1
scenario:
  latency: true
  memory: false
  warmup_runs: 3
  iterations: 12
  duration: 0
  input_shapes: {{batch_size: 1, sequence_length: 128, max_position_embeddings: 1}}  # DistilBERT takes no position_ids
hydra: {{run: {{dir: {name}}}, job: {{chdir: true}}}}
"""


def test_ratio_of_models_agrees(peer, speed, tmp_path, note):
    """DistilBERT gains over BERT what `optimum-benchmark` finds as well, at 1x128 in fp32."""
    environment = peer("transformers-4")
    command = environment.python.with_name("optimum-benchmark")
    for name, checkpoint in MODELS.items():
        config = CONFIG.format(name=name, checkpoint=checkpoint, threads=THREADS)
        (tmp_path / f"{name}.yaml").write_text(config, encoding="utf-8")

    def mine():
        seconds = bertbench_latencies(speed("--models", ",".join(MODELS)))
        return {name: seconds[name, "eager"] for name in MODELS}

    def other():
        seconds = {}
        for name in MODELS:
            environment.run(command, "--config-dir", tmp_path, "--config-name", name, cwd=tmp_path)
            seconds[name] = optimum_latency((tmp_path / name / "benchmark_report.json").read_text(encoding="utf-8"))
            shutil.rmtree(tmp_path / name)  # it does nothing where a report lies
        return seconds

    pairs = alternate(mine, other, ROUNDS)
    note(
        f"optimum-benchmark, 1x128, PyTorch fp32, speed-up over bert ({environment.versions('optimum-benchmark', 'transformers')})"
    )
    agreed = agreement(pairs, "distilbert", "bert")
    note("  " + agreed.text("distilbert"))
    assert not agreed.is_refuted
