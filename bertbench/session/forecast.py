"""How long each step should take, from passes of the very models on this machine: to plan by, not figures.

A pass of one input and a larger one are timed, the least of several; what other lengths take follows from their FLOPs.

    pace = Pace(request.options, instruments.pass_seconds)
    pace.seconds(config, batch_size=1, tokens=128)

And what fits into a limited time: examples are evaluated in one random order, in growing blocks. Every task's first block comes
before any task's second, and each is twice what was done before. When a block does not fit into the time that is left, the task
waits; what is left at the end is shared out among those that wait. Time alone decides, never a score, so that a sample says of
the task what any random sample says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bertbench.models.lengths import length_limit
from bertbench.models.loading import load_tokenizer, uses_token_types
from bertbench.models.sources import Encoder, Source
from bertbench.quality.work import Work
from bertbench.records.record import Kind, digest
from bertbench.session.request import Options, Request
from bertbench.specs import plugins
from bertbench.specs.tasks import TaskSpec
from bertbench.specs.timing import ExecutionSettings, TimingSpec
from bertbench.speed.backend import combinations
from bertbench.speed.calibration import ProbedShape
from bertbench.speed.servant import USUAL_WARMUP
from bertbench.tasks.examples import Examples, SampleOrder
from bertbench.units import duration

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PassSeconds = Callable[[Any, Sequence[ProbedShape], ExecutionSettings], list[float]]

FIRST = 128  # examples of the first block
# Inputs a pass: one, and enough for full speed, as it is timed, trained and evaluated.
PROBED: tuple[tuple[int, Literal["timing", "training", "evaluating"]], ...] = (
    (1, "timing"), (8, "timing"), (8, "training"), (8, "evaluating"),
)  # fmt: skip
PROBED_TOKENS = 128
LENGTH_SAMPLE = 400  # examples whose length is looked at
MEMORY_PASSES = 4  # of inference and training steps of a memory step
# What does not grow with the model: process starts, loading, tokenizing and decoding one example, a training step, saving.
FIXED_SECONDS = {"size": 0.3, "speed": 6.0, "worker": 0.7, "memory": 0.1, "load": 0.4, "step": 0.006, "example": 0.0002}
LABELS = frozenset(
    {"id2label", "label2id", "num_labels", "architectures", "_name_or_path", "name_or_path", "problem_type"}
)


class Pace:
    """Seconds of passes by configuration: probed when first asked for, once for all tasks of an architecture.

    What will not be asked for is not probed: training and evaluating where `evaluates` is False, and then where `is_small`
    any pass of more than one short input, too.
    """

    def __init__(
        self, options: Options, pass_seconds: PassSeconds, *, evaluates: bool = True, is_small: bool = False
    ) -> None:
        self._settings = ExecutionSettings(options.device, "fp32", options.threads, attention=options.attention)
        self._pass_seconds = pass_seconds
        self._probed = PROBED if evaluates else PROBED[:1] if is_small else PROBED[:2]
        self._probes: dict[str, list[_Probe]] = {}

    def seconds(self, config: PretrainedConfig, *, batch_size: int, tokens: int) -> float:
        """Expect so many seconds for a pass of `batch_size` inputs of `tokens`."""
        flops = self._flops(config, batch_size, tokens)
        small, *larger = self._probe(config)[:2]
        large = larger[0] if larger else small
        flops_per_s = small.flops / small.seconds if flops <= small.flops else large.flops / large.seconds
        expected = flops / flops_per_s
        if small.flops < flops < large.flops:  # between both, as on a line through them
            share = (flops - small.flops) / (large.flops - small.flops)
            expected = small.seconds + (large.seconds - small.seconds) * share
        return expected

    def per_example(self, work: Work, examples: Examples, *, training: bool) -> float:
        """Expect so many seconds for one of many examples of a task, in a batch with others."""
        from bertbench.models.architecture import config_of

        config = config_of(work.source.spec, work.source.folder)
        tokens = mean_tokens(work, config, examples)
        _, _, of_training, of_evaluating = self._probe(config)
        known = of_training if training else of_evaluating
        seconds = known.seconds * self._flops(config, 1, tokens) / known.flops
        # What is trained on is tokenized once, and passed over in several epochs.
        return seconds if training else seconds + FIXED_SECONDS["example"]

    def _probe(self, config: PretrainedConfig) -> list[_Probe]:
        key = _key(config)
        if key not in self._probes:
            tokens = min(PROBED_TOKENS, length_limit(config) or PROBED_TOKENS)
            shapes = [ProbedShape(inputs, tokens, use) for inputs, use in self._probed]
            seconds = self._pass_seconds(config, shapes, self._settings)
            flops = [self._flops(config, shape.inputs, tokens) for shape in shapes]
            self._probes[key] = [_Probe(*pair) for pair in zip(flops, seconds, strict=True)]
        return self._probes[key]

    def _flops(self, config: PretrainedConfig, batch_size: int, tokens: int) -> float:
        """Count the FLOPs of a pass, once for an architecture; windows beyond the model's limit count in proportion."""
        from bertbench.models.size import count_flops

        within = min(tokens, length_limit(config) or tokens)
        key = (_key(config), batch_size, within)
        if key not in _counted:
            _counted[key] = count_flops(config, batch_size, within)
        return _counted[key] * tokens / within


# FLOPs by architecture, inputs and tokens, for all plans of a process: they are the same on every machine.
_counted: dict[tuple[str, int, int], float] = {}


class _Probe(NamedTuple):
    flops: float
    seconds: float


def _key(config: PretrainedConfig) -> str:
    """Identify an architecture and its sizes, whatever its labels."""
    values = {name: str(value) for name, value in config.to_dict().items() if name not in LABELS}
    return digest([config.model_type, values])


def is_small(timing: TimingSpec) -> bool:
    """Tell whether nothing is timed but passes of one input that are no longer than a probed one."""
    return all(
        shape.batch_size == 1 and (shape.sequence_length or PROBED_TOKENS + 1) <= PROBED_TOKENS
        for shape in timing.shapes
    )


def mean_tokens(work: Work, config: PretrainedConfig, examples: Examples) -> int:
    """Compute the mean length in tokens of a task's examples for a model, all windows of an example together, from a sample."""
    sample = min(LENGTH_SAMPLE, len(examples))
    encoded = encode_sample(
        work.source, work.task, work.recipe.max_length, config=config, examples=examples, count=sample
    )
    return max(4, round(sum(len(ids) for ids in encoded) / sample))


def encode_sample(
    source: Source, task: TaskSpec, max_length: int, *, config: PretrainedConfig, examples: Examples, count: int
) -> list[list[int]]:
    """Return the token ids of `count` examples, the same examples for every model; of a long one its windows."""
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    tokenizer = load_tokenizer(source.tokenizer, config, source.spec.name, split_words=kind.words)
    features = kind.encode(tokenizer, task, examples.take(count), max_length, token_types=uses_token_types(config))
    return [row["input_ids"] for row in features.rows]


def training_seconds(samples: int, recipe_epochs: float, batch_size: int, per_sample: float) -> float:
    """Expect so many seconds for fine-tuning on `samples` at `per_sample` seconds each."""
    seen = samples * recipe_epochs
    return seen * per_sample + math.ceil(seen / batch_size) * FIXED_SECONDS["step"]


@dataclass(frozen=True)
class PlanStep:
    """One line of a plan: what is done, and how many seconds it is expected to take."""

    label: str
    seconds: float
    kind: Kind = "quality"


def cost_steps(request: Request, encoders: Sequence[Encoder], pace: Pace) -> list[PlanStep]:
    """List size, speed and memory with their expected times."""
    from bertbench.models.architecture import config_of

    kinds = request.kinds
    configs = [config_of(encoder.spec, encoder.source.folder) for encoder in encoders]
    many = f"{len(encoders)} model{'s' if len(encoders) > 1 else ''}"
    steps: list[PlanStep] = []
    if "size" in kinds:
        steps.append(
            PlanStep(f"counting parameters and FLOPs of {many}", FIXED_SECONDS["size"] * len(encoders), "size")
        )
    if "speed" in kinds:
        ways = len(combinations(request.options.backends, request.options.dtypes or (request.options.dtype,))[0])
        on = f" in {ways} ways" if ways > 1 else ""
        shapes = ", ".join(shape.label for shape in request.timing.shapes)
        seconds = _timing_seconds(request, configs, pace) * ways
        label = f"timing {many}{on} ({request.timing.rounds} rounds, shapes {shapes})"
        steps.append(PlanStep(label, seconds, "speed"))
    if "memory" in kinds:
        seconds = sum(
            FIXED_SECONDS["memory"] + MEMORY_PASSES * _shape_seconds(config, pace, 1, PROBED_TOKENS)
            for config in configs
        )
        steps.append(PlanStep(f"measuring memory of {many}", seconds, "memory"))
    return steps


def _timing_seconds(request: Request, configs: Sequence[PretrainedConfig], pace: Pace) -> float:
    timing = request.timing
    seconds = FIXED_SECONDS["speed"] + timing.rounds * len(configs) * FIXED_SECONDS["worker"]
    for shape in timing.shapes:
        passes = (shape.turns or timing.turns) * ((shape.passes or timing.passes) + 1)
        warmups = shape.warmup_passes or timing.warmup_passes or USUAL_WARMUP
        length = shape.sequence_length or PROBED_TOKENS // 4
        all_models = sum(_shape_seconds(config, pace, shape.batch_size, length) for config in configs)
        seconds += timing.rounds * (warmups * all_models + max(passes * all_models, timing.min_shape_s))
    return seconds


def _shape_seconds(config: PretrainedConfig, pace: Pace, batch_size: int, length: int) -> float:
    return pace.seconds(config, batch_size=batch_size, tokens=min(length, length_limit(config) or length))


def steps_in_words(steps: Sequence[PlanStep]) -> list[str]:
    """Return the steps as lines for people, times in a column."""
    width = max((len(step.label) for step in steps), default=0)
    return [f"  {step.label.ljust(width)}  about {duration(step.seconds)}" for step in steps]


def some_of(count: int, all_there_are: int) -> str:
    """Write '1,024 of 10,570', or '872' of all."""
    return f"{all_there_are:,}" if count == all_there_are else f"{count:,} of {all_there_are:,}"


def more_in_words(max_minutes: float | None, rest_s: float, late_tasks: Sequence[str]) -> str | None:
    """Say what more time would add to what fits into the time limit: `rest_s` of evaluating, and training on some tasks."""
    if max_minutes is None or not (rest_s or late_tasks):
        return None
    # A longer session times models for longer, too.
    parts = [f"--max-minutes {math.ceil(max_minutes + 1.1 * rest_s / 60)} evaluates every example"] if rest_s else []
    if late_tasks:
        parts.append(f"--full also fine-tunes on {', '.join(dict.fromkeys(late_tasks))}")
    within = f"this fits into {max_minutes:g} minutes"
    return f"  {within}; more time makes it more precise and continues from what is done: {'; '.join(parts)}"


def share_out(seconds: float, needs: Sequence[float]) -> list[float]:
    """Share time among those who need it: equally, but what one does not need goes to the others.

    Who needs most has all that the others leave, as forecasts may be too low.
    """
    shares = [0.0] * len(needs)
    in_order = sorted(range(len(needs)), key=needs.__getitem__)
    for rank, index in enumerate(in_order):
        equal = seconds / (len(needs) - rank)
        shares[index] = equal if rank == len(needs) - 1 else min(needs[index], equal)
        seconds -= shares[index]
    return shares


@dataclass
class Sample:
    """How much of a task is evaluated: `done` examples of each split, or all that a smaller split has.

    `seconds` is what one example takes all of its models together. A task is 'open' until a block does not fit, and then
    waits for what is left in the end.
    """

    orders: tuple[SampleOrder, ...]
    seconds: float
    done: int = 0
    state: Literal["open", "waiting", "ended"] = "open"

    @classmethod
    def of(cls, work: Work, seconds: float) -> Sample:
        """Draw the order of a work's examples; `seconds` is what one takes."""
        kind = plugins.load("bertbench.tasks.kinds", "task kind", work.task.kind)
        return cls(tuple(SampleOrder.draw(len(split), kind.clusters(split)) for split in work.splits), seconds)

    @property
    def total(self) -> int:
        """Examples of the largest split."""
        return max(len(order.places) for order in self.orders)

    def next_block(self) -> int:
        """Return the size of the sample after the next block."""
        return self.within(self.done + max(FIRST, self.done))

    def within(self, count: int) -> int:
        """Return `count`, or all there are where hardly more is left than that."""
        return self.total if count + FIRST // 2 >= self.total else count

    def part(self, split: int, count: int) -> tuple[int, int]:
        """Return from where to where in the order of a split the sample of `count` lies beyond what is done."""
        order = self.orders[split]
        return order.at_least(self.done) if self.done else 0, order.at_least(count)

    def cost(self, count: int) -> float:
        """Expect so many seconds until `count` examples are done."""
        parts = (self.part(split, count) for split in range(len(self.orders)))
        return self.seconds * sum(end - start for start, end in parts)

    def affordable(self, seconds: float) -> int:
        """Return the largest sample whose examples beyond those done fit into `seconds`."""
        order = max(self.orders, key=lambda order: len(order.places))
        count = self.within(self.done + int(seconds / max(self.seconds, 1e-9)))
        while count > self.done and self.cost(count) > seconds:
            count = order.at_most(count - 1)
        return max(count, self.done)


def next_step(samples: Sequence[Sample], left_s: float | None) -> tuple[Sample, int] | None:
    """Choose which sample grows next, and to what size; None when nothing more fits into `left_s` (None: no limit)."""
    while candidates := [sample for sample in samples if sample.state == "open"]:
        sample = min(candidates, key=lambda sample: sample.done)
        if sample.done >= sample.total:
            sample.state = "ended"
            continue
        count = sample.next_block()
        if left_s is None or sample.cost(count) <= left_s:
            return sample, count
        sample.state = "waiting"
    while waiting := [sample for sample in samples if sample.state == "waiting"]:
        sample = waiting[0]
        count = sample.affordable((left_s or 0.0) / len(waiting))
        sample.state = "ended"
        if count > sample.done:
            return sample, count
    return None


def expected_counts(samples: Sequence[Sample], left_s: float | None) -> list[int]:
    """Expect how many examples of each will be done within `left_s`."""
    copies = [Sample(sample.orders, sample.seconds, sample.done) for sample in samples]
    while (step := next_step(copies, left_s)) is not None:
        sample, count = step
        if left_s is not None:
            left_s -= sample.cost(count)
        sample.done = count
    return [copy.done for copy in copies]
