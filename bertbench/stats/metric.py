"""What a metric is: a number from predictions and references, and the same number for resampled examples.

Predictions and references are floats of shape (n,), one an example; class ids are whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bertbench.errors import ConfigError, MeasurementError, UnknownNameError
from bertbench.specs import plugins
from bertbench.stats import own_metrics
from bertbench.stats.own_metrics import OwnMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    from bertbench.specs.tasks import TaskSpec

CLASSIFICATION = "classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class Metric:
    """One metric, as a file's `PLUGIN`.

    `function` takes predictions and references of shape (n,), n > 0, and may return NaN where the metric is undefined;
    `undefined` says when that is. `resampled`, where given, takes predictions (n,), references (n,) and counts (r, n) of
    how often each example was drawn, or how much it weighs, and returns the r values at once; it must agree with
    `function`. `influence`, where given, takes predictions and references and returns shape (n,), by how much each example
    moves the value: with weights w of sum n that is the value + (w * influence).sum() / n, to first order. It makes the
    intervals of very many examples quick. `classes` is the only number of them that the metric takes; None: any.
    """

    name: str
    title: str
    applies_to: frozenset[str]
    citation: str
    function: Callable[[Floats, Floats], float]
    resampled: Callable[[Floats, Floats, Counts | Floats], Floats] | None = None
    influence: Callable[[Floats, Floats], Floats] | None = None
    undefined: str | None = None
    classes: int | None = None

    def compute(self, predictions: Floats, references: Floats) -> float | None:
        """Compute the metric over all examples; None where it is undefined, for the reason in `undefined`.

        Args:
            predictions: shape (n,), class ids or numbers.
            references: shape (n,), the same of the data set.

        Raises:
            MeasurementError: no predictions, not one a reference, or not finite.
        """
        import numpy as np

        given, expected = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
        if given.ndim != 1 or given.shape != expected.shape:
            raise MeasurementError(f"{self.name}: predictions of shape {given.shape}, references of {expected.shape}")
        if not len(given):
            raise MeasurementError(f"{self.name}: no predictions", "evaluate at least one example")
        if not (np.isfinite(given).all() and np.isfinite(expected).all()):
            raise MeasurementError(f"{self.name}: predictions or references are not finite numbers")
        value = float(self.function(given, expected))
        return value if np.isfinite(value) else None

    def resample(self, predictions: Floats, references: Floats, counts: Counts | Floats) -> Floats:
        """Compute the metric for each row of `counts`, shape (r,); NaN where it is undefined.

        A metric without `resampled` is computed from examples written out as often as they were drawn; weights are then
        rounded at random to quarters, which adds a hundredth to the spread's square.

        Args:
            predictions: shape (n,).
            references: shape (n,).
            counts: shape (r, n), how often each example was drawn; floats where examples have weights.
        """
        import numpy as np

        if self.resampled is not None:
            return self.resampled(predictions, references, counts)
        if np.issubdtype(counts.dtype, np.floating):
            counts = np.floor(4 * counts + np.random.default_rng(0).random(counts.shape)).astype(np.int64)
        drawn = ((np.repeat(predictions, row), np.repeat(references, row)) for row in counts)
        values = [self.compute(*sides) if len(sides[0]) else None for sides in drawn]
        return np.array([np.nan if value is None else value for value in values])


def class_ids(values: Floats) -> NDArray[np.int64]:
    """Turn floats that hold class ids into integers.

    Raises:
        MeasurementError: a value is not a whole number.
    """
    import numpy as np

    ids = np.rint(values).astype(np.int64)
    if not np.array_equal(ids, values):
        raise MeasurementError("class ids must be whole numbers", "is this a regression task?")
    return ids


def binary_ids(values: Floats) -> NDArray[np.int64]:
    """Turn floats into the class ids of a task with the two classes 0 and 1.

    Raises:
        MeasurementError: there are other classes.
    """
    ids = class_ids(values)
    if ids.min() < 0 or ids.max() > 1:
        raise MeasurementError(
            f"f1 is that of class 1 of two, found class ids {ids.min()} to {ids.max()}",
            "take accuracy or matthews_correlation for more classes",
        )
    return ids


def correlations(left: Floats, right: Floats, counts: Counts | Floats) -> Floats:
    """Compute Pearson correlations of rows weighted by `counts`, shape (r,); NaN where all drawn of a side is equal.

    Centred and scaled row by row before anything is multiplied, so that nearly constant and huge values keep their digits.

    Args:
        left: shape (n,) or, where it differs by row, (r, n).
        right: as `left`.
        counts: shape (r, n).

    Source: Chan, Golub & LeVeque 1983, The American Statistician 37:242, the corrected two-pass algorithm.
    """
    import numpy as np

    ours, theirs = _standard(left, counts), _standard(right, counts)
    shared = (counts * ours * theirs).sum(axis=1)
    squares = [(counts * side**2).sum(axis=1) for side in (ours, theirs)]
    # 0 / 0 gives NaN, undefined; rounding may lead out of -1..1 by a hair.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(shared / np.sqrt(squares[0]) / np.sqrt(squares[1]), -1, 1))


def _standard(values: Floats, counts: Counts | Floats) -> Floats:
    """Centre values by their weighted mean in each row and divide them by the largest drawn there; shape (r, n).

    What was not drawn is 0, and so is a row of which all that was drawn is equal.
    """
    import numpy as np

    over = max(int(np.frexp(np.abs(values).max())[1]) - 900, 0)
    near = np.broadcast_to(np.ldexp(values, -over), counts.shape)  # a power of two: no sum overflows, no digit changes
    drawn, totals = counts > 0, counts.sum(axis=1, keepdims=True)
    first = np.take_along_axis(near, drawn.argmax(axis=1)[:, None], axis=1)
    centred = np.where(drawn, near - first, 0.0)  # exact where values are nearly equal
    is_equal = ~centred.any(axis=1)
    for _ in range(2):  # the second time takes away what rounding left of the mean
        centred = np.where(drawn, centred - (counts * centred).sum(axis=1, keepdims=True) / totals, 0.0)
    centred[is_equal] = 0.0
    largest = np.abs(centred).max(axis=1, keepdims=True)
    return np.asarray(centred / np.where(largest > 0, largest, 1.0))


def correlation_influence(left: Floats, right: Floats) -> Floats:
    """Compute by how much each pair moves the Pearson correlation of two sides that are not constant, shape (n,).

    Source: Devlin, Gnanadesikan & Kettenring 1975, Biometrika 62:531-545.
    """
    import numpy as np

    ones = np.ones((1, len(left)))
    ours, theirs = (side / np.sqrt((side**2).mean()) for side in (_standard(each, ones)[0] for each in (left, right)))
    value = (ours * theirs).mean()
    return np.asarray(ours * theirs - value * (ours**2 + theirs**2) / 2)


# Metrics of structured predictions (answers, tag sequences): a function of sums over examples.
#
# What an example adds to the sums is computed once; resampling then only weighs it, so that a bootstrap costs a matrix
# product.

# Predictions are texts, '' for no answer; references lists of acceptable texts, [] for unanswerable.
ANSWERS = "answers"
TAGS = "tags"  # predictions and references are lists of IOB2 tag names, one a word


@dataclass(frozen=True)
class SumMetric:
    """One metric, as a file's `PLUGIN`.

    `parts` takes predictions and references, n each, and gives what each example adds, shape (n, k); `combine` takes sums
    of shape (r, k) and gives r values, NaN where the metric is undefined; `undefined` says when that is.
    `of_unanswerable`: it is of questions that have no answer.
    """

    name: str
    title: str
    applies_to: frozenset[str]
    citation: str
    parts: Callable[[Sequence[Any], Sequence[Any]], Floats]
    combine: Callable[[Floats], Floats]
    undefined: str | None = None
    of_unanswerable: bool = False

    def compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> float | None:
        """Compute the metric over all examples; None where it is undefined, for the reason in `undefined`.

        Raises:
            MeasurementError: no predictions, or not one a reference.
        """
        import numpy as np

        if len(predictions) != len(references):
            raise MeasurementError(f"{self.name}: {len(predictions)} predictions, {len(references)} references")
        if not len(references):
            raise MeasurementError(f"{self.name}: no predictions", "evaluate at least one example")
        value = float(self.combine(self.parts(predictions, references).sum(axis=0, keepdims=True))[0])
        return value if np.isfinite(value) else None


# Whether the metrics of a task can be computed on it: found out from its YAML, before anything is loaded.


class Misfit(NamedTuple):
    """A metric that does not go with a task: what it is of, and what would go."""

    metric: str
    found: str
    expected: str


def metric_takes(task: TaskSpec) -> frozenset[str]:
    """Return what a metric of the task must be for.

    Raises:
        UnknownNameError: there is no such kind of task.
    """
    kinds: frozenset[str] = plugins.load("bertbench.tasks.kinds", "task kind", task.kind).metrics
    return kinds - {CLASSIFICATION if task.is_regression else REGRESSION}


def misfit(task: TaskSpec, metric: Metric | SumMetric | OwnMetric) -> Misfit | None:
    """Say why a metric cannot be computed on the task; None where it can.

    Raises:
        UnknownNameError: there is no such kind of task.
    """
    needed, classes = metric_takes(task), getattr(metric, "classes", None)
    if not needed & metric.applies_to:
        given = " and ".join(sorted(metric.applies_to))
        return Misfit(metric.name, f"is for {given}", f"a metric for {' or '.join(sorted(needed))}")
    if classes is not None and len(task.labels or ()) != classes:
        mismatch = f"is of {classes} classes, and there are {len(task.labels or ())}"
        return Misfit(metric.name, mismatch, "accuracy or matthews_correlation, which take any number")
    if getattr(metric, "of_unanswerable", False) and not task.unanswerable:
        return Misfit(metric.name, "is of questions without an answer", "'unanswerable: true', or to leave it out")
    return None


def load(task: TaskSpec, name: str) -> Metric | SumMetric | OwnMetric:
    """Load one of a task's metrics: bertbench's, or one of the user's own.

    Raises:
        UnknownNameError: there is no such metric.
        MeasurementError: it is the user's own, and not allowed or not to be loaded.
    """
    own = task.own_metric(name)
    if own is not None:
        return own_metrics.of(own)
    metric: Metric | SumMetric = plugins.load("bertbench.stats.metrics", "metric", name)
    return metric


def misfits(task: TaskSpec, *, runs_code: bool = True) -> Iterator[Misfit]:
    """Yield the metrics that do not go with the task; with `runs_code` those of the user's own are loaded.

    Raises:
        UnknownNameError: there is no such metric, or kind of task.
        MeasurementError: one of the user's own is not allowed, or cannot be loaded.
    """
    for name in task.metrics:
        if not runs_code and task.own_metric(name) is not None:
            continue
        problem = misfit(task, load(task, name))
        if problem is not None:
            yield problem


def check_metrics(task: TaskSpec, *, runs_code: bool = True) -> None:
    """Refuse a task with a metric that cannot be computed on it; without `runs_code` those of the user's own are not looked at.

    Raises:
        ConfigError: there is one, or a metric that does not exist, is not allowed or cannot be loaded.
    """
    try:
        problems = list(misfits(task, runs_code=runs_code))
    except MeasurementError as error:
        raise ConfigError(f"task {task.name}: {error.message}", error.hint) from None
    for problem in problems:
        raise ConfigError(
            f"task {task.name}, {task.kind}: metric {problem.metric} {problem.found}",
            f"expected in 'metrics' of the task's YAML: {problem.expected}",
        )


# When metrics have no value, in their own words.

NO_NUMBER = "its value is no finite number"


def why_undefined(names: Iterable[str], reasons: Mapping[str, str] = MappingProxyType({})) -> str:
    """Say why metrics are undefined, those of one reason together: 'pearson and spearman: a correlation needs …'.

    `reasons` are those of metrics of the user's own.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(reasons.get(name) or _words(name), []).append(name)
    return "; ".join(f"{' and '.join(of)}: {reason}" for reason, of in alike.items())


def _words(name: str) -> str:
    try:
        metric = plugins.load("bertbench.stats.metrics", "metric", name)
    except UnknownNameError:
        return "there is no such metric any more"
    return metric.undefined or NO_NUMBER
