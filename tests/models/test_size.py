import pytest
from transformers import AutoConfig

from bertbench.models.size import measure_size
from bertbench.records.record import RunRecord

SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
ALBERT = SMALL | {"embedding_size": 16, "intermediate_size": 64}


def measured(name="albert", config=None, **options):
    """A record that holds what was measured of a small model."""
    built = AutoConfig.for_model(name, **(config or ALBERT))
    found = measure_size(built, **({"checkpoint_bytes": None} | options))
    return RunRecord("run", "session", "size", "base", name, {}, "ok", "2026-01-01T00:00:00+00:00", measurements=found)


@pytest.mark.parametrize("statistic", ["unique", "executed"])
def test_components_add_up_to_the_total(statistic):
    """The measurements of components sum to that of all parameters, and none is zero."""
    parts = [item.values[0] for item in measured().measurements if item.statistic.startswith(f"{statistic}/")]
    assert sum(parts) == measured().find("parameters", statistic).values[0]
    assert all(parts)


def test_a_shared_layer_shows():
    """ALBERT's executed attention is its unique one times its layers."""
    record = measured()
    unique = record.find("parameters", "unique/attention").values[0]
    assert record.find("parameters", "executed/attention").values[0] == 3 * unique


def test_components_that_a_model_lacks_are_absent():
    """No projection and no head in a bare BERT: no measurement, rather than 0."""
    record = measured("bert", SMALL)
    assert record.find("parameters", "unique/embedding_projection") is None
    assert record.find("parameters", "unique/head") is None


def test_parameter_bytes_are_those_of_fp32():
    """Four bytes a parameter."""
    record = measured()
    unique = record.find("parameters", "unique").values[0]
    assert record.find("parameter_bytes", "value", unit="byte").values == (4 * unique,)


def test_checkpoint_bytes_are_reported_only_if_known():
    """The size on disk is what the caller found, else absent."""
    assert measured(checkpoint_bytes=1234).find("checkpoint_bytes").values == (1234,)
    assert measured().find("checkpoint_bytes") is None


def test_flops_are_given_for_every_shape():
    """Each shape has its own figure, marked with batch size and length; 1 x 128 unless asked otherwise."""
    assert measured().find("flops", batch_size=1, sequence_length=128) is not None
    record = measured(shapes=((1, 16), (4, 16)))
    one, four = (record.find("flops", batch_size=batch, sequence_length=16).values[0] for batch in (1, 4))
    assert four == 4 * one


def test_what_cannot_be_counted_is_left_out_with_a_note():
    """A shape that the model cannot take has no FLOPs; size is still measured and its note says why."""
    record = measured("bert", SMALL, shapes=((1, 16), (1, 9999)))
    assert record.find("flops", sequence_length=16) is not None
    assert record.find("flops", sequence_length=9999) is None
    assert "1 x 9999 tokens" in record.find("parameters", "unique").note
