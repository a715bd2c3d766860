"""The Bayesian bootstrap: values of metrics on examples of random weights, the same weights for all models.

Examples have Dirichlet weights, as if drawn from what the data leave possible, and a little prior mass stands for what was not
seen: half an example that each model alone gets wrong, half one that all get wrong, half one that all get right. So that all
right is not certainly all right: of a share this is Jeffreys' prior. `bertbench.stats.intervals` makes intervals of the
replicates.

Source: Rubin 1981, Annals of Statistics 9:130-134; the prior: Jeffreys 1946, Proc. Royal Society A 186:453.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from bertbench.errors import MeasurementError
from bertbench.stats.intervals import RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertbench.stats.intervals import Floats

PRIOR = 0.5  # of an example, as in Jeffreys' prior
PRIOR_OF_NONE = 1.0  # of one model of which none is wrong (right): the exact bound (Brown, Cai & DasGupta 2001)
MANY = 5000  # distinct examples from which sums over them are taken as normal
_CHUNK = 2_000_000  # weights held at once: 16 MB

Key = tuple[str, str]


class Resampled(Protocol):
    """What is needed of a metric; `bertbench.stats.metric.Metric` is one."""

    @property
    def influence(self) -> Callable[[Floats, Floats], Floats] | None:
        """By how much each example moves the value, if that is known."""

    def resample(self, predictions: Floats, references: Floats, counts: Floats) -> Floats:
        """Return the value for each row of weights."""

    def compute(self, predictions: Floats, references: Floats) -> float | None:
        """Return the value."""


class _Units(NamedTuple):
    """Distinct examples or clusters: a column (or row of sums) each, and how much each of them stands for."""

    values: Floats
    mass: Floats


def bootstrap(
    metrics: Mapping[str, Resampled],
    predictions: Mapping[str, Floats],
    references: Floats,
    *,
    classes: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
    many: int = MANY,
) -> dict[Key, Floats]:
    """Draw values of every metric for every model and seed on weighted examples, the same weights for all.

    Seeds are fixed: what they add to an interval is the work of `bertbench.stats.intervals`. Numbers have no prior mass; with
    more than `many` of them the values are normal, with the variance of the examples' influence.

    Args:
        metrics: by name.
        predictions: by model, shape (seeds, n); equal examples in equal places for all.
        references: shape (n,).
        classes: True for class ids, False for numbers.
        resamples: how many.
        seed: of the random generator.
        many: numbers, from which they are taken as normal.

    Returns:
        By (metric, model) shape (seeds, resamples); NaN where a metric is undefined.

    Raises:
        MeasurementError: there are no examples.
    """
    if not references.size:
        raise MeasurementError("no examples to resample")
    generator = np.random.default_rng(seed)
    if not classes and references.size > many and all(metric.influence for metric in metrics.values()):
        return _linear(generator, metrics, predictions, references, resamples)
    stacked = np.vstack([*predictions.values(), references])
    units = (
        _class_units(stacked, [len(of) for of in predictions.values()])
        if classes
        else _Units(stacked, np.ones(references.size))
    )
    by_key: dict[Key, list[Floats]] = {}
    for weights in _weights(generator, units.mass, resamples):
        row = 0
        for model, of in predictions.items():
            for name, metric in metrics.items():
                scores = [metric.resample(units.values[row + i], units.values[-1], weights) for i in range(len(of))]
                by_key.setdefault((name, model), []).append(np.stack(scores))
            row += len(of)
    return {key: np.concatenate(parts, axis=1) for key, parts in by_key.items()}


def bootstrap_sums(
    parts: Mapping[Key, Sequence[Floats]],
    combine: Mapping[str, Callable[[Floats], Floats]],
    clusters: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Key, Floats]:
    """Draw as `bootstrap` does, for metrics that are functions of sums over examples; whole clusters have a weight.

    With more than `MANY` distinct examples (clusters) the sums are normal.

    Args:
        parts: by (metric, model), a seed each, what every example adds to the sums, shape (n, k): what is right in the first
            column, what there is in the last.
        combine: by metric, sums of shape (r, k) to values (r,).
        clusters: shape (n,), the number of the cluster that an example is of; None: each is its own.
        resamples: how many.
        seed: of the random generator.

    Source: clusters: Davison & Hinkley 1997, section 3.8.
    """
    generator = np.random.default_rng(seed)
    sums = {
        key: [seed_parts if clusters is None else _by_cluster(seed_parts, clusters) for seed_parts in of]
        for key, of in parts.items()
    }
    units = _sum_units(sums)
    drawn = _weighted_sums(generator, units, resamples)
    replicates, column = {}, 0
    for (name, model), of in sums.items():
        width = of[0].shape[1]
        offsets = range(column, column + width * len(of), width)
        replicates[name, model] = np.stack([combine[name](drawn[:, offset : offset + width]) for offset in offsets])
        column += width * len(of)
    return replicates


def bootstrap_written(
    metrics: Mapping[str, Any],
    predictions: Mapping[str, Any],
    references: Any,
    clusters: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Key, Floats]:
    """Draw as `bootstrap_sums` does, where not all metrics are functions of sums: from examples written out, without a prior.

    Args:
        metrics: by name, with `parts` and `combine`, or with `resample`.
        predictions: by model, shape (seeds, n), of objects.
        references: shape (n,), of objects.
        clusters: shape (n,), the number of the cluster that an example is of; None: each is its own.
        resamples: how many.
        seed: of the random generator.
    """
    mass = np.ones(len(references) if clusters is None else int(clusters.max()) + 1)
    parts = {  # what examples add is dear to find, and the same in every draw
        (name, model): [metric.parts(list(seed_predictions), list(references)) for seed_predictions in of]
        for name, metric in metrics.items()
        if hasattr(metric, "parts")
        for model, of in predictions.items()
    }
    by_key: dict[Key, list[Floats]] = {}
    for drawn in _weights(np.random.default_rng(seed), mass, resamples):
        weights = drawn if clusters is None else drawn[:, clusters]
        for model, of in predictions.items():
            for name, metric in metrics.items():
                values = (
                    [metric.combine(weights @ seed_parts) for seed_parts in parts[name, model]]
                    if (name, model) in parts
                    else [metric.resample(seed_predictions, references, weights) for seed_predictions in of]
                )
                by_key.setdefault((name, model), []).append(np.stack(values))
    return {key: np.concatenate(values, axis=1) for key, values in by_key.items()}


def _linear(
    generator: np.random.Generator,
    metrics: Mapping[str, Resampled],
    predictions: Mapping[str, Floats],
    references: Floats,
    resamples: int,
) -> dict[Key, Floats]:
    """Draw normal values, jointly, from the covariance of influences. Source: Davison & Hinkley 1997, section 2.7."""
    sides = [
        (name, model, seed_predictions)
        for name in metrics
        for model, of in predictions.items()
        for seed_predictions in of
    ]
    values = [metrics[name].compute(seed_predictions, references) for name, _, seed_predictions in sides]
    known = [index for index, value in enumerate(values) if value is not None]
    drawn = np.full((len(sides), resamples), np.nan)
    if known:
        moved = [
            influence(sides[index][2], references)
            for index in known
            if (influence := metrics[sides[index][0]].influence)
        ]
        covariance = np.atleast_2d(np.cov(np.stack(moved))) / references.size
        means = [float(values[index] or 0.0) for index in known]
        drawn[known] = _normal(generator, np.array(means), covariance, resamples).T
    by_key: dict[Key, list[Floats]] = {}
    for (name, model, _), of_side in zip(sides, drawn, strict=True):
        by_key.setdefault((name, model), []).append(of_side)
    return {key: np.stack(of) for key, of in by_key.items()}


def _normal(generator: np.random.Generator, means: Floats, covariance: Floats, resamples: int) -> Floats:
    """Draw normal values, shape (resamples, k), also where some depend on others."""
    # By eigenvalues, since the covariance of what depends on each other is singular.
    return np.asarray(generator.multivariate_normal(means, covariance, resamples, check_valid="ignore", method="eigh"))


def _distinct(columns: Floats) -> tuple[Floats, Floats]:
    """Find the distinct columns of an array of shape (k, n), and how often each occurs."""
    group: NDArray[np.int64] = np.zeros(columns.shape[1], dtype=np.int64)
    # Renumbered after each row, so that no number outgrows its integer.
    for row in columns:
        values, inside = np.unique(row, return_inverse=True)
        group = np.unique(group * len(values) + inside, return_inverse=True)[1]
    _, first, counts = np.unique(group, return_index=True, return_counts=True)
    return columns[:, first], counts.astype(float)


def _class_units(stacked: Floats, seeds: Sequence[int]) -> _Units:
    """Return distinct rows of answers above labels, with the prior's, which are spread evenly over the classes.

    Args:
        stacked: shape (rows + 1, n), the labels last.
        seeds: by model, how many rows are its answers.
    """
    columns, counts = _distinct(stacked)
    classes = np.unique(stacked)
    # A wrong answer takes a second class.
    if len(classes) == 1:
        classes = np.append(classes, 0.0 if classes[0] else 1.0)
    owner = np.repeat(np.arange(len(seeds)), seeds)
    right = columns[:-1] == columns[-1]
    patterns, masses = _prior(len(seeds), none_wrong=bool(right.all()), none_right=not right.any())
    wrong = np.roll(classes, -1)
    prior = [np.where(pattern[owner][:, None], wrong, classes) for pattern in patterns]
    values = np.hstack([columns, *(np.vstack([answers, classes]) for answers in prior)])
    return _Units(values, np.concatenate([counts, np.repeat(masses, len(classes)) / len(classes)]))


def _prior(models: int, *, none_wrong: bool, none_right: bool) -> tuple[NDArray[np.bool_], Floats]:
    """Tell which models are wrong in each kind of unseen example, shape (kinds, models), and the mass of each kind."""
    patterns = np.vstack([np.ones((1, models)), np.zeros((1, models)), *([np.eye(models)] if models > 1 else [])]) > 0
    masses = np.full(len(patterns), PRIOR)
    if models == 1:
        masses[:] = PRIOR_OF_NONE if none_wrong else PRIOR, PRIOR_OF_NONE if none_right else PRIOR
    return patterns, masses


def _sum_units(sums: Mapping[Key, Sequence[Floats]]) -> _Units:
    """Return distinct rows of sums, a column each key's and seed's, with the prior's."""
    models = list(dict.fromkeys(model for _, model in sums))
    is_right = [np.all(seed_sums == seed_sums[:, -1:], axis=1) for of in sums.values() for seed_sums in of]
    patterns, masses = _prior(
        len(models),
        none_wrong=all(bool(right.all()) for right in is_right),
        none_right=all(
            not right[seed_sums[:, -1] > 0].any() for right, seed_sums in zip(is_right, _each(sums), strict=True)
        ),
    )
    wrong = {key: _wrong_unit(of) for key, of in sums.items()}
    prior = []
    for pattern in patterns:
        of_pattern = dict(zip(models, pattern, strict=True))
        # Of one metric all models have the same example before them, as large as it is to one that gets it wrong.
        size = {name: wrong[name, model][-1] for name, model in sums if of_pattern[model]}
        rows = [
            wrong[key] if of_pattern[key[1]] else np.full(of[0].shape[1], size.get(key[0], wrong[key][-1]))
            for key, of in sums.items()
            for _ in of
        ]
        prior.append(np.concatenate(rows))
    columns, counts = _distinct(np.hstack(list(_each(sums))).T)
    return _Units(np.vstack([columns.T, *prior]), np.concatenate([counts, masses]))


def _each(sums: Mapping[Key, Sequence[Floats]]) -> Iterator[Floats]:
    return (seed_sums for of in sums.values() for seed_sums in of)


def _wrong_unit(seeds: Sequence[Floats]) -> Floats:
    """Return what an unseen example adds that is not all right: half way from those seen to one wrong throughout.

    Of few clusters, most of them all right, those seen are not as bad as they come: their mean alone covers 88 to 92 %.
    """
    every = np.concatenate(list(seeds))
    sizes = every[every[:, -1] > 0, -1]
    unit = np.full(every.shape[1], sizes.mean() if len(sizes) else 0.0)
    unit[0] = 0.0
    imperfect = every[(every != every[:, -1:]).any(axis=1)]
    return np.asarray((unit + imperfect.mean(axis=0)) / 2 if len(imperfect) else unit)


def _weighted_sums(generator: np.random.Generator, units: _Units, resamples: int) -> Floats:
    """Draw sums over units of random weights, shape (resamples, columns)."""
    total = units.mass.sum()
    if len(units.mass) <= MANY:
        return np.concatenate([weights @ units.values for weights in _weights(generator, units.mass, resamples)])
    means = units.mass @ units.values / total
    away = (units.values - means) * np.sqrt(units.mass / total)[:, None]
    return np.asarray(total * _normal(generator, means, away.T @ away / (total + 1), resamples))


def _by_cluster(parts: Floats, clusters: NDArray[np.int64]) -> Floats:
    """Sum the parts of each cluster's examples, shape (clusters, k)."""
    totals = np.zeros((int(clusters.max()) + 1, parts.shape[1]))
    np.add.at(totals, clusters, parts)
    return totals


def _weights(generator: np.random.Generator, mass: Floats, resamples: int) -> Iterator[Floats]:
    """Yield Dirichlet weights that sum to the whole mass, in chunks of shape (r, kinds)."""
    rows = max(_CHUNK // len(mass), 1)
    for start in range(0, resamples, rows):
        # Gamma values, divided by their sum, are Dirichlet's.
        drawn = generator.standard_gamma(mass, size=(min(rows, resamples - start), len(mass)))
        drawn *= mass.sum() / drawn.sum(axis=1, keepdims=True)
        yield drawn
