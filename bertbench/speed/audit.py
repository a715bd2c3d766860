"""Are a back-end's answers right? Outputs of workers compared with those of PyTorch in fp32 on the same inputs.

Two comparisons: what the timed passes themselves gave, and a set of inputs of many lengths in padded batches, so that a
back-end that ignores the mask or a batch's other rows is found out.

The measure is the *error share*: the sum of squared differences over the sum of squared deviations of the reference's
outputs from their mean per dimension; 0 is equal, 1 is no better than a constant. Encoders have a few dimensions of very
large values, which would hide an error from a cosine or from a difference relative to the largest value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertbench.models.token_ids import Encoded
from bertbench.records.record import Failure, Measurement
from bertbench.specs.timing import ShapeSpec
from bertbench.speed.blocks import SpeedTarget
from bertbench.speed.rounds import WorkerError
from bertbench.speed.servant import WorkerPlan
from bertbench.speed.workers import WorkerProcess, open_workers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BATCH = 8  # rows of unequal lengths together, so that each but the longest is padded
# Largest error share that is rounding, not a mistake. Seen with 12 layers: fp32 below 1e-10, fp16 1e-5, bf16 1e-3 and
# dynamic int8 0.01 to 0.1; ignoring padding gives 0.1 to 1.
LIMITS = {"fp32": 1e-6, "fp16": 1e-2, "bf16": 2e-2, "int8": 0.3}
# The same of back-ends that approximate by their definition, and what: GELU by tanh gave 3e-6 with 6 layers of trained weights.
APPROXIMATIONS = {"onnxruntime-fused": (1e-4, "GELU approximated by tanh")}

Score = Callable[[str, "Floats"], float | None]  # a model's name and its logits to the task's score


@dataclass(frozen=True)
class WorkerAnswers:
    """What a worker gave: its newest timed pass (the shape's label, the input's index, values) and the audited rows."""

    timed: tuple[str, int, Floats] | None
    rows: Sequence[Floats]


@dataclass(frozen=True)
class AuditResult:
    """The audit of one target: measurements, and why it fails, if it does."""

    measurements: tuple[Measurement, ...]
    failure: Failure | None


class Audit:
    """Collects outputs in the first round of each target and judges them afterwards.

    `inputs` holds the audited rows by model.
    """

    def __init__(self, targets: Sequence[SpeedTarget], inputs: Mapping[str, Sequence[Encoded]]) -> None:
        self.targets = {target.name: target for target in targets}
        self.inputs = inputs
        self.outputs: dict[str, WorkerAnswers] = {}

    def collect(self, number: int, workers: Sequence[WorkerProcess]) -> None:
        """Ask workers that have not been asked before; one that fails now is left to the timing to report."""
        del number
        for worker in workers:
            if worker.name in self.outputs or not worker.is_alive():
                continue
            rows = self.inputs[self.targets[worker.name].model_name]
            with suppress(WorkerError):
                # 10 times a pass's time limit: the rows make many batches.
                self.outputs[worker.name] = WorkerAnswers(
                    worker.ask("output"), worker.ask("outputs", rows, BATCH, times=10)
                )

    def add_references(self, shapes: Sequence[ShapeSpec], plain: Mapping[str, SpeedTarget], seed: int = 0) -> None:
        """Collect outputs of PyTorch in fp32 for models that were not timed so: `plain` holds such targets by model."""
        by_label = {shape.label: shape for shape in shapes}
        for model, target in plain.items():
            timed = next(
                (
                    self.outputs[name].timed
                    for name, other in self.targets.items()
                    if other.model_name == model and name in self.outputs
                ),
                None,
            )
            with (
                open_workers([WorkerPlan(target.name, target.folder, target.settings, seed)]) as (worker,),
                suppress(WorkerError),
            ):
                shape = by_label.get(timed[0]) if timed else None
                if shape is not None and shape.sequence_length is not None:
                    worker.turn(shape, 0, 1, 0.0)
                # This worker has inputs of fixed shapes only: a pass of natural length cannot be repeated.
                output = worker.ask("output") if shape is not None and shape.sequence_length is not None else None
                self.outputs[target.name] = WorkerAnswers(
                    output, worker.ask("outputs", self.inputs[model], BATCH, times=10)
                )

    def judge(self, name: str, reference: str, score: Score | None = None) -> AuditResult | None:
        """Judge target `name` against target `reference`; None if one of them gave no outputs."""
        answers, expected = self.outputs.get(name), self.outputs.get(reference)
        if answers is None or expected is None or not answers.rows:
            return None
        target = self.targets[name]
        shares = {"audited": error_share(answers.rows, expected.rows)}
        if answers.timed and expected.timed and answers.timed[:2] == expected.timed[:2]:  # of the same input
            shares["timed"] = error_share([answers.timed[2]], [expected.timed[2]])
        if not all(map(math.isfinite, shares.values())):
            return AuditResult((), _nonsense(target))
        n = len(answers.rows)
        measurements = [
            Measurement(
                "output_error",
                "1",
                (share,),
                statistic=statistic,
                n=n if statistic == "audited" else None,
                n_unit="examples",
            )
            for statistic, share in shares.items()
        ]
        largest = largest_difference(answers.rows, expected.rows)
        measurements.append(Measurement("output_difference", "1", (largest,), statistic="largest"))
        changed, what = changed_predictions(answers.rows, expected.rows)
        measurements.append(Measurement("changed_predictions", "1", (changed,), n=n, n_unit="examples", note=what))
        measurements += self.scored(name, score)
        return AuditResult(tuple(measurements), _verdict(target, shares))

    def scored(self, name: str, score: Score | None) -> list[Measurement]:
        """Compute the task's score of a target's logits; nothing without a task, a head or outputs."""
        outputs = self.outputs.get(name)
        if score is None or outputs is None or not outputs.rows or outputs.rows[0].ndim != 1:
            return []
        import numpy as np

        value = score(self.targets[name].model_name, np.stack(outputs.rows))
        n = len(outputs.rows)
        return (
            [] if value is None else [Measurement("score", "1", (value,), statistic="audited", n=n, n_unit="examples")]
        )


def _verdict(target: SpeedTarget, shares: Mapping[str, float]) -> Failure | None:
    settings = target.settings
    limit, explained_by = APPROXIMATIONS.get(settings.backend, (LIMITS[settings.dtype], settings.dtype))
    worst = max(shares, key=lambda statistic: shares[statistic])
    if shares[worst] <= limit:  # a NaN is not
        return None
    return Failure(
        "WrongOutput",
        f"{target.name}: wrong answers: the {worst} outputs differ from PyTorch's in fp32 by an error share of "
        f"{shares[worst]:.2g}, and {explained_by} explains {limit:g} at most",
        "do not use this back-end with this model; its speed is not reported",
    )


def _nonsense(target: SpeedTarget) -> Failure:
    return Failure(
        "WrongOutput",
        f"{target.name}: wrong answers: outputs that are not finite, or of another shape than PyTorch's in fp32",
        "do not use this back-end or number format with this model; its speed is not reported",
    )


def error_share(outputs: Sequence[Floats], expected: Sequence[Floats]) -> float:
    """Compute squared differences over the reference's squared deviations from its mean per dimension.

    Infinite if an output is not finite, or of another shape.

    Args:
        outputs: a row an array, (length, hidden) or (outputs,).
        expected: the reference's, of equal shapes.
    """
    import numpy as np

    if any(left.shape != right.shape for left, right in zip(outputs, expected, strict=True)):
        return float("inf")
    left, right = (
        np.concatenate([np.atleast_2d(row).reshape(-1, row.shape[-1]) for row in rows]) for rows in (outputs, expected)
    )
    if not np.isfinite(left).all():
        return float("inf")
    # A reference that is constant has no spread: its own size stands in.
    spread = float(((right - right.mean(axis=0)) ** 2).sum(dtype=float)) or float((right**2).sum(dtype=float))
    return float(((left - right) ** 2).sum(dtype=float)) / (spread or 1.0)


def largest_difference(outputs: Sequence[Floats], expected: Sequence[Floats]) -> float:
    """Find the largest absolute difference of any output, in the outputs' own units; for equal shapes only."""
    import numpy as np

    pairs = [(left, right) for left, right in zip(outputs, expected, strict=True) if left.shape == right.shape]
    return max((float(np.nan_to_num(np.abs(left - right), posinf=1e30).max()) for left, right in pairs), default=0.0)


def changed_predictions(outputs: Sequence[Floats], expected: Sequence[Floats]) -> tuple[float, str]:
    """Compute the share of rows whose prediction changed, and what a prediction is.

    With logits the class of the largest one, of a single output none (0). Without a head: which of the reference's rows
    is the nearest by the cosine of mean states, itself left out, as a search would use the encoder.
    """
    import numpy as np

    if outputs[0].ndim == 1:
        winners = [np.stack(rows).argmax(axis=1) for rows in (outputs, expected)]
        return float((winners[0] != winners[1]).mean()), "a prediction is the class"
    means = [np.nan_to_num(np.stack([row.mean(axis=0) for row in rows])) for rows in (outputs, expected)]
    # Mean states of all texts point in much the same direction; less their centre they differ.
    centre = means[1].mean(axis=0)
    queries, index = (_unit(states - centre) for states in means)
    nearest = []
    for rows in (queries, index):
        likeness = rows @ index.T
        np.fill_diagonal(likeness, -2.0)  # below any cosine: no row is its own neighbour
        nearest.append(likeness.argmax(axis=1))
    return float((nearest[0] != nearest[1]).mean()), "a prediction is the nearest other example by mean hidden state"


def _unit(rows: Floats) -> Floats:
    import numpy as np

    units: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # no division by zero
    return units
