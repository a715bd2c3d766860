"""How long things should take, from FLOPs, lengths and the machine's calibration: for plans, not for figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertbench.models.lengths import length_limit
from bertbench.models.loading import load_tokenizer, uses_token_types
from bertbench.models.sources import Encoder, Source
from bertbench.quality.job import Job
from bertbench.session.request import Request
from bertbench.specs import plugins
from bertbench.specs.tasks import TaskSpec
from bertbench.speed.backend_options import combinations
from bertbench.speed.calibration import Calibration, expected_seconds
from bertbench.speed.servant import USUAL_WARMUP
from bertbench.tasks.data import Examples

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LENGTH_SAMPLE = 400  # examples whose length is looked at
FIXED_SECONDS = {
    "size": 0.5,
    "speed": 8.0,
    "memory": 1.5,
    "load": 1.0,
    "step": 0.006,
}  # process starts, loading, saving


def seconds_per_sample(job: Job, examples: Examples, calibration: Calibration, *, training: bool) -> float:
    """Expected seconds of one example, in training or inference."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import count_flops

    config = config_of(job.source.spec, job.source.folder)
    tokens = mean_tokens(job, config, examples)
    return expected_seconds(count_flops(config, 1, tokens), calibration, kind="training" if training else "inference")


def mean_tokens(job: Job, config: PretrainedConfig, examples: Examples) -> int:
    """Mean length in tokens of a task's examples for a model, all windows of an example together, from a sample."""
    sample = min(LENGTH_SAMPLE, len(examples))
    encoded = encode_sample(job.source, job.task, job.recipe.max_length, config=config, examples=examples, count=sample)
    return max(4, round(sum(len(ids) for ids in encoded) / sample))


def encode_sample(
    source: Source, task: TaskSpec, max_length: int, *, config: PretrainedConfig, examples: Examples, count: int
) -> list[list[int]]:
    """Token ids of `count` examples, the same examples for every model; of a long one its windows."""
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    tokenizer = load_tokenizer(source.tokenizer, config, source.spec.name, split_words=kind.words)
    features = kind.encode(tokenizer, task, examples.take(count), max_length, token_types=uses_token_types(config))
    return [row["input_ids"] for row in features.rows]


def cost_steps(request: Request, encoders: Sequence[Encoder], calibration: Calibration) -> list[tuple[str, float]]:
    """Size, speed and memory with their expected times."""
    from bertbench.models.architecture import config_of
    from bertbench.models.size import count_flops

    timing, options = request.timing, request.options
    ways = len(combinations(options.backends, options.dtypes or (options.dtype,))[0])
    seconds = FIXED_SECONDS["speed"] + timing.rounds * len(encoders) * FIXED_SECONDS["load"]
    configs = [config_of(encoder.spec, encoder.source.folder) for encoder in encoders]
    for shape in timing.shapes:
        passes = (shape.turns or timing.turns) * ((shape.passes or timing.passes) + 1)
        warmups, all_models = shape.warmup_passes or timing.warmup_passes or USUAL_WARMUP, 0.0
        for config in configs:
            wanted = shape.sequence_length or 32
            length = min(wanted, length_limit(config) or wanted)
            all_models += expected_seconds(count_flops(config, shape.batch_size, length), calibration, kind="inference")
        seconds += timing.rounds * (warmups * all_models + max(passes * all_models, timing.min_shape_s))
    many = f"{len(encoders)} model{'s' if len(encoders) > 1 else ''}"
    on = f" in {ways} ways" if ways > 1 else ""
    steps = [
        ("size", f"counting parameters and FLOPs of {many}", FIXED_SECONDS["size"] * len(encoders)),
        (
            "speed",
            f"timing {many}{on} ({timing.rounds} rounds, shapes {', '.join(shape.label for shape in timing.shapes)})",
            seconds * ways,
        ),
        ("memory", f"measuring memory of {many}", FIXED_SECONDS["memory"] * len(encoders)),
    ]
    return [(label, expected) for kind, label, expected in steps if kind in request.kinds]
