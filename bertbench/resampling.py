"""The bootstrap: values of metrics on resampled examples, the same examples for all models, seeds drawn too where enough.

Not aware of records, models or tasks; `bertbench.stats` makes intervals of the replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bertbench.errors import MeasurementError
from bertbench.stats import RESAMPLES, SEEDS_FOR_HIERARCHY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bertbench.stats import Counts, Floats

    Resampled = Callable[[Floats, Floats, Counts], Floats]

_CHUNK = 2_000_000  # drawn examples held at once: 16 MB


def bootstrap(
    metrics: Mapping[str, Resampled],
    predictions: Mapping[str, Floats],
    references: Floats,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[tuple[str, str], Floats]:
    """Values of every metric for every model on resampled examples, the same examples for all models.

    Of `SEEDS_FOR_HIERARCHY` seeds or more the seeds are drawn too, for each model by itself; fewer are averaged as they
    are. Examples that no prediction tells apart are drawn together, by one multinomial count: equal in distribution to
    drawing them one by one, and fast for classes.

    Args:
        metrics: by name, `Metric.resample`.
        predictions: by model, shape (seeds, n); equal examples in equal places for all.
        references: shape (n,).
        resamples: how many.
        seed: of the random generator.

    Returns:
        By (metric, model) the means over seeds, shape (resamples,); NaN where a metric is undefined.

    Source: Efron & Tibshirani 1993, chapters 6 and 8; hierarchical: Davison & Hinkley 1997, section 3.8.

    Raises:
        MeasurementError: there are no examples.
    """
    if not references.size:
        raise MeasurementError("no examples to resample")
    generator = np.random.default_rng(seed)
    stacked = np.vstack([*predictions.values(), references])
    distinct, sizes = np.unique(stacked, axis=1, return_counts=True)
    drawn_seeds = {model: _seed_weights(generator, len(of), resamples) for model, of in predictions.items()}
    found: dict[tuple[str, str], list[Floats]] = {}
    start = 0
    for counts in _draws(generator, sizes, resamples):
        row = 0
        for model, of in predictions.items():
            weights = drawn_seeds[model][start : start + len(counts)]
            for name, metric in metrics.items():
                scores = np.stack([metric(distinct[row + i], distinct[-1], counts) for i in range(len(of))], axis=1)
                found.setdefault((name, model), []).append((scores * weights).sum(axis=1))
            row += len(of)
        start += len(counts)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def bootstrap_sums(
    parts: Mapping[tuple[str, str], Sequence[Floats]],
    combine: Mapping[str, Callable[[Floats], Floats]],
    clusters: NDArray[np.int64] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[tuple[str, str], Floats]:
    """As `bootstrap`, of metrics that are functions of sums over examples; whole clusters of examples are drawn.

    Args:
        parts: by (metric, model), a seed each, what every example adds to the sums, shape (n, k).
        combine: by metric, sums of shape (r, k) to values (r,).
        clusters: shape (n,), the number of the cluster that an example is of; None: each is its own.
        resamples: how many.
        seed: of the random generator.

    Source: Davison & Hinkley 1997, sections 2.4 and 3.8 (clusters).
    """
    generator = np.random.default_rng(seed)
    n = len(next(iter(parts.values()))[0])
    of = np.arange(n) if clusters is None else clusters
    seeds = {model: len(of_seeds) for (_, model), of_seeds in parts.items()}
    weights = {model: _seed_weights(generator, count, resamples) for model, count in seeds.items()}
    sums = {key: [_by_cluster(one, of) for one in of_seeds] for key, of_seeds in parts.items()}
    found: dict[tuple[str, str], list[Floats]] = {key: [] for key in parts}
    start = 0
    for counts in _draws(generator, np.ones(int(of.max()) + 1, dtype=np.int64), resamples):
        for (name, model), of_seeds in sums.items():
            scores = np.stack([combine[name](counts @ one) for one in of_seeds], axis=1)
            found[name, model].append((scores * weights[model][start : start + len(counts)]).sum(axis=1))
        start += len(counts)
    return {key: np.concatenate(values) for key, values in found.items()}


def _by_cluster(parts: Floats, clusters: NDArray[np.int64]) -> Floats:
    """Sums of the parts of each cluster's examples, shape (clusters, k)."""
    found = np.zeros((int(clusters.max()) + 1, parts.shape[1]))
    np.add.at(found, clusters, parts)
    return found


def _seed_weights(generator: np.random.Generator, seeds: int, resamples: int) -> Floats:
    """How much each seed weighs in each resample, shape (resamples, seeds), rows of sum 1."""
    if seeds < SEEDS_FOR_HIERARCHY:
        return np.full((resamples, seeds), 1 / seeds)
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


def _draws(generator: np.random.Generator, sizes: Counts, resamples: int) -> Iterator[Counts]:
    """Counts of how often each kind of example is drawn, in chunks of shape (r, kinds)."""
    n, kinds = int(sizes.sum()), len(sizes)
    many = kinds > n // 4  # one binomial a kind is then dearer than one index an example
    rows = max(_CHUNK // (n if many else kinds), 1)
    owner = np.repeat(np.arange(kinds), sizes)
    for start in range(0, resamples, rows):
        r = min(rows, resamples - start)
        if many:
            drawn = owner[generator.integers(0, n, size=(r, n))] + np.arange(r)[:, None] * kinds
            yield np.bincount(drawn.ravel(), minlength=r * kinds).reshape(r, kinds)
        else:
            yield generator.multinomial(n, sizes / n, size=r)
