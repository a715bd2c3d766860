"""What a configuration alone says about a model: parameters, bytes, FLOPs. No weights are read, nothing is timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from bertbench.errors import MeasurementError
from bertbench.models import components
from bertbench.models.architecture import empty_model, run_shapes
from bertbench.records.record import Measurement
from bertbench.units import percent

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Floating-point operations of one forward pass: two for each multiply-add of every matrix product.
#
# Counted on torch's meta device, so nothing is computed. Element-wise work (activations, norms, softmax) and Fourier
# transforms are left out, as is usual: for BERT-base at 128 tokens they are far below 1 %. Equal FLOPs
# do not mean equal time.
#
# Local attention counts as PyTorch computes it, eager or fused: all scores, of which a mask hides those outside of the
# windows. `outside_windows` says how many FLOPs a kernel that knows of windows would leave out. Attention that really
# goes by windows, as Longformer's, has no others to begin with.

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


LOCAL = "sliding_attention"  # transformers' word for a layer whose tokens attend to those near by


def count_flops(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int:
    """Count the FLOPs of one forward pass over `batch_size` x `sequence_length` tokens, pooler included.

    Attention is run in its plain form: fused kernels hide their products from torch's counter. Local attention counts
    in full, with the scores that its mask hides (see `outside_windows`).

    Raises:
        ConfigError: the model cannot be built.
        MeasurementError: it cannot run with this shape.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = empty_model(config)
    with FlopCounterMode(display=False) as counter:
        run_shapes(model, batch_size, sequence_length)
    return int(counter.get_total_flops())


def local_windows(config: PretrainedConfig) -> tuple[int, ...]:
    """Return the windows of the layers with local attention: how far from a token those are that it attends to."""
    text: Any = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if not kinds:
        return ()
    layers = getattr(text, "per_layer_config", None) or [text] * len(kinds)  # a layer may have a window of its own
    local = [layer for kind, layer in zip(kinds, layers, strict=False) if kind == LOCAL]
    return tuple(window for layer in local if isinstance(window := getattr(layer, "sliding_window", None), int))


def outside_windows(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int:
    """Count the FLOPs, among those of `count_flops`, of scores and contexts that local attention hides by a mask.

    0 where all layers attend to all tokens, or no two tokens are a window apart.
    """
    windows, text = local_windows(config), cast("Any", config.get_text_config())
    if not windows:
        return 0
    # Pairs of tokens in both orders, at one distance after the other: beyond, beyond - 1 … 1 of them.
    outside = (max(sequence_length - window - 1, 0) for window in windows)
    pairs = sum(beyond * (beyond + 1) for beyond in outside)
    heads = int(text.num_attention_heads)
    width = heads * int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    return 4 * batch_size * width * pairs  # two products of two FLOPs for each pair


def windows_note(config: PretrainedConfig, flops: int, batch_size: int, sequence_length: int) -> str | None:
    """Say how many of the counted FLOPs local attention computes in vain; None where it does not."""
    hidden = outside_windows(config, batch_size, sequence_length)
    if not hidden:
        return None
    return (
        f"FLOPs of {batch_size} x {sequence_length} tokens count local attention as PyTorch computes it, in full: "
        f"{percent(hidden / flops)} of them lie outside of the windows"
    )


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
        note = windows_note(config, value, batch_size, sequence_length)
        measurements.append(
            Measurement("flops", "1", (value,), batch_size=batch_size, sequence_length=sequence_length, note=note)
        )
    return measurements, missing
