import json

import pytest

from bertbench.errors import CheckpointError
from bertbench.models.checkpoints import PROCESS_BYTES, predicted_bytes, read_config
from bertbench.specs.timing import ExecutionSettings, ShapeSpec

BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}


def test_read_config(tmp_path):
    """A missing or damaged config is an error that names the folder."""
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="no object"):
        read_config(tmp_path)


def test_predicted_bytes(tmp_path):
    """Weights count in the format they are run in, activations grow with the shape, plain attention with its square."""
    (tmp_path / "config.json").write_text(json.dumps(BASE | {"dtype": "float32"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 4000)
    small, large = ShapeSpec(), ShapeSpec(batch_size=32)
    fp32 = predicted_bytes(tmp_path, ExecutionSettings(), [small])
    assert fp32 > 4000 + PROCESS_BYTES
    assert (
        predicted_bytes(tmp_path, ExecutionSettings(dtype="bf16"), [small]) - PROCESS_BYTES
        == (fp32 - PROCESS_BYTES) / 2
    )
    both = predicted_bytes(tmp_path, ExecutionSettings(), [small, large])
    assert both - PROCESS_BYTES - 4000 == 32 * (fp32 - PROCESS_BYTES - 4000)
    plain = predicted_bytes(tmp_path, ExecutionSettings(attention="eager"), [small])
    assert plain - fp32 == 2 * 12 * 128 * 128 * 4
