"""What a configuration alone says about a model: parameters, bytes, FLOPs. No weights are read, nothing is timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.errors import MeasurementError
from bertbench.models import components
from bertbench.models.architecture import empty_model, run_shapes
from bertbench.records.record import Measurement

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Floating-point operations of one forward pass: two for each multiply-add of every matrix product.
#
# Counted on torch's meta device, so nothing is computed. Element-wise work (activations, norms, softmax) and Fourier
# transforms are left out, as is usual: for BERT-base at 128 tokens they are far below 1 %. Equal FLOPs
# do not mean equal time.

# Architectures with BERT's layer: what factorizing, sharing and keeping of layers can be applied to.
BERT_LIKE = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "data2vec-text",
        "distilbert",
        "electra",
        "ernie",
        "ibert",
        "layoutlm",
        "megatron-bert",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "splinter",
        "xlm-roberta",
    }
)


def count_flops(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int:
    """Count the FLOPs of one forward pass over `batch_size` x `sequence_length` tokens, pooler included.

    Attention is run in its plain form: fused kernels hide their products from torch's counter.

    Raises:
        ConfigError: the model cannot be built.
        MeasurementError: it cannot run with this shape.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = empty_model(config)
    with FlopCounterMode(display=False) as counter:
        run_shapes(model, batch_size, sequence_length)
    return int(counter.get_total_flops())


def inner_size(config: PretrainedConfig) -> int | None:
    """Return the width of the feed-forward layer; None where the configuration has no such number."""
    # DistilBERT calls it hidden_dim.
    width = getattr(config, "hidden_dim", None) or getattr(config, "intermediate_size", None)
    return width if isinstance(width, int) else None


Shape = tuple[int, int]


def measure_size(
    config: PretrainedConfig, *, checkpoint_bytes: int | None, shapes: Sequence[Shape] = ((1, 128),)
) -> tuple[Measurement, ...]:
    """Measure size and work of the bare encoder with its pooler.

    Parameters come with the statistics 'unique', 'executed' and the same with '/<component>'; parameter bytes are those
    of fp32; `checkpoint_bytes` is what the caller found on disk, pre-training heads included. FLOPs are given for
    each of `shapes` (batch size, sequence length). What cannot be counted for an architecture is left out, and the
    note of the unique parameters says so.

    Raises:
        ConfigError: the model cannot be built.
    """
    model = empty_model(config)
    counts = components.count(model)
    work, missing = _flops(config, shapes)
    reasons = [reason for reason in (counts.reason, *missing) if reason]  # often the same one for every shape
    measurements = [
        *_parameters("unique", counts.unique, note="; ".join(dict.fromkeys(reasons)) or None),
        *([] if counts.executed is None else _parameters("executed", counts.executed)),
        Measurement("parameter_bytes", "byte", (components.parameter_bytes(model, "fp32"),)),
    ]
    if checkpoint_bytes is not None:
        measurements.append(Measurement("checkpoint_bytes", "byte", (checkpoint_bytes,)))
    return (*measurements, *work)


def _parameters(statistic: str, counts: dict[str, int], note: str | None = None) -> list[Measurement]:
    """Return the total and the components of one way of counting."""
    total = Measurement("parameters", "1", (sum(counts.values()),), statistic=statistic, note=note)
    parts = [
        Measurement("parameters", "1", (value,), statistic=f"{statistic}/{component}")
        for component, value in counts.items()
    ]
    return [total, *parts]


def _flops(config: PretrainedConfig, shapes: Sequence[Shape]) -> tuple[list[Measurement], list[str]]:
    """Count the FLOPs of each shape, and say why some are missing."""
    measurements, missing = [], []
    for batch_size, sequence_length in shapes:
        try:
            value = count_flops(config, batch_size, sequence_length)
        except MeasurementError as error:
            missing.append(str(error))
            continue
        measurements.append(Measurement("flops", "1", (value,), batch_size=batch_size, sequence_length=sequence_length))
    return measurements, missing
