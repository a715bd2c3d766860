"""Weights: what is missing, left over, not finite or never trained."""

import pytest
import torch

from bertbench.quality.doctor.examination import OF_CHECKPOINT
from bertbench.quality.doctor.weights import head, loading, values
from tests.quality.doctor.subjects import change_config, checkpoint, pair

pytestmark = pytest.mark.usefixtures("one_thread")


def test_trained_checkpoint_is_well(trained):
    """Nothing is found in what was fine-tuned."""
    assert [check(checkpoint(trained)).status for check in OF_CHECKPOINT] == ["ok"] * len(OF_CHECKPOINT)
    assert head(pair(trained)).status == "ok"


@pytest.mark.parametrize("architecture", ["bert", "roberta", "albert", "distilbert"])
def test_random_weights_are_told(tiny, architecture):
    """Norms of 1 and biases of 0 are those of a model that was never trained, in every architecture."""
    subject = checkpoint(tiny(architecture))
    assert loading(subject).status == "ok"
    found = values(subject)
    assert found.status == "problem"
    assert "never trained" in found.found


def test_one_trained_bias_is_enough(tiny, edit_weights):
    """One step of training touches them all; what is touched is not called random."""
    folder = tiny()
    edit_weights(folder, lambda tensors: tensors["encoder.layer.0.output.LayerNorm.bias"].add_(0.01))
    assert values(checkpoint(folder)).status == "ok"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_told(trained, edit_weights, bad):
    """The first weight that holds one is named."""
    name = "encoder.layer.1.output.dense.weight"
    edit_weights(trained, lambda tensors: tensors[f"bert.{name}"][0].fill_(bad))
    found = values(checkpoint(trained))
    assert (found.status, found.found) == ("problem", f"1 weights hold NaN or infinite values, first {name}")


def test_matrix_of_one_value_is_told(trained, edit_weights):
    """A layer of zeros lets nothing through."""
    name = "encoder.layer.0.attention.self.query.weight"
    edit_weights(trained, lambda tensors: tensors[f"bert.{name}"].zero_())
    assert name in values(checkpoint(trained)).found


def test_missing_weights_are_told(trained, edit_weights):
    """A checkpoint with other names for its weights gives a random encoder."""
    edit_weights(trained, lambda tensors: tensors.pop("bert.encoder.layer.0.output.dense.weight"))
    found = loading(checkpoint(trained))
    assert found.status == "problem"
    assert found.found.startswith("1 weights of the encoder are missing")


def test_layers_without_a_place_are_told(trained):
    """A config.json with fewer layers than the weights drops the upper ones in silence."""
    change_config(trained, num_hidden_layers=1)
    found = loading(checkpoint(trained))
    assert found.status == "problem"
    assert "not used, first bert.encoder.layer.1." in found.found


@pytest.mark.parametrize("architecture", ["bert", "roberta", "albert", "distilbert"])
def test_pretraining_heads_are_no_finding(tiny, architecture):
    """The head of masked words is left over, as it should be."""
    assert loading(checkpoint(tiny(architecture, head="masked-lm"))).status == "ok"


def test_leftovers_outside_layers_are_no_finding(trained, edit_weights):
    """Old checkpoints carry buffers."""
    edit_weights(trained, lambda tensors: tensors.update({"bert.embeddings.position_ids": torch.arange(4)}))
    assert loading(checkpoint(trained)).status == "ok"


def test_model_without_checkpoint_is_random_by_design():
    """Training from scratch is no problem."""
    assert loading(checkpoint(None)).found.startswith("no checkpoint")
    assert values(checkpoint(None)) is None


def test_untrained_head_is_told(trained, edit_weights):
    """A head whose biases are all 0 is as it was made."""
    edit_weights(trained, lambda tensors: tensors["classifier.bias"].zero_())
    assert head(pair(trained)).status == "warning"


def test_head_of_nan_is_told(trained, edit_weights):
    """It loads, and is of no use."""
    edit_weights(trained, lambda tensors: tensors["classifier.weight"].fill_(torch.nan))
    assert head(pair(trained)).found == "1 weights of the head hold NaN or infinite values, first classifier.weight"
