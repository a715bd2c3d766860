"""What a configuration alone says about a model: parameters, bytes, FLOPs. No weights are read, nothing is timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.errors import MeasurementError
from bertbench.models import flops, parameters
from bertbench.models.architecture import empty_model
from bertbench.records.record import Measurement

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Shape = tuple[int, int]


def measure_size(
    config: PretrainedConfig, *, checkpoint_bytes: int | None, shapes: Sequence[Shape] = ((1, 128),)
) -> tuple[Measurement, ...]:
    """Size and work of the bare encoder with its pooler.

    Parameters come with the statistics 'unique', 'executed' and the same with '/<component>'; parameter bytes are those
    of fp32; `checkpoint_bytes` is what the caller found on disk, pre-training heads included. FLOPs are given for
    each of `shapes` (batch size, sequence length). What cannot be counted for an architecture is left out, and the
    note of the unique parameters says so.

    Raises:
        ConfigError: the model cannot be built.
    """
    model = empty_model(config)
    counts = parameters.count(model)
    work, missing = _flops(config, shapes)
    reasons = [reason for reason in (counts.reason, *missing) if reason]
    found = [
        *_parameters("unique", counts.unique, note="; ".join(dict.fromkeys(reasons)) or None),
        *([] if counts.executed is None else _parameters("executed", counts.executed)),
        Measurement("parameter_bytes", "byte", (parameters.parameter_bytes(model, "fp32"),)),
    ]
    if checkpoint_bytes is not None:
        found.append(Measurement("checkpoint_bytes", "byte", (checkpoint_bytes,)))
    return (*found, *work)


def _parameters(statistic: str, counts: dict[str, int], note: str | None = None) -> list[Measurement]:
    """The total and the components of one way of counting."""
    total = Measurement("parameters", "1", (sum(counts.values()),), statistic=statistic, note=note)
    parts = [
        Measurement("parameters", "1", (value,), statistic=f"{statistic}/{component}")
        for component, value in counts.items()
    ]
    return [total, *parts]


def _flops(config: PretrainedConfig, shapes: Sequence[Shape]) -> tuple[list[Measurement], list[str]]:
    """FLOPs per shape, and why some are missing."""
    found, missing = [], []
    for batch_size, sequence_length in shapes:
        try:
            value = flops.count(config, batch_size, sequence_length)
        except MeasurementError as error:
            missing.append(str(error))
            continue
        found.append(Measurement("flops", "1", (value,), batch_size=batch_size, sequence_length=sequence_length))
    return found, missing
