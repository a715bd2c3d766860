"""`make bench-full`: how often intervals of scores hold the truth, over simulated models, through the program's own functions.

Between 93.5 and 98.5 %, a simulation's own chance allowed for. Near a perfect score counts come in steps: there more is allowed.
"""

import math

import numpy as np
import pytest

from tests.bench.scale import SCALE
from tests.bench.score_simulation import held_answers, held_pair, held_sample, held_single, held_trained, population

pytestmark = [pytest.mark.bench_full, pytest.mark.timeout(3600)]

LEAST, MOST = 0.935, 0.985
SESSIONS = SCALE.simulated_sessions // 2
METRICS = ("accuracy", "f1", "matthews_correlation", "exact_match", "entity_f1")


def judged(figures, name, held, *, most=MOST):
    """Judge the shares of sessions in which intervals held the truth, one a kind of interval."""
    shares = np.atleast_1d(np.mean(held, axis=0))
    chance = 2.6 * math.sqrt(0.05 * 0.95 / len(held))
    shown = ", ".join(f"{share:.1%}" for share in shares)
    holds = bool(((shares >= LEAST - chance) & (shares <= most + chance)).all())
    figures.judge(f"coverage, {name}", shown, f"{LEAST:.1%} to {most:.1%}", holds=holds)


@pytest.mark.parametrize("errors", [0.005, 0.03, 0.10])
@pytest.mark.parametrize("n", [100, 400, 872])
@pytest.mark.parametrize("metric", METRICS)
def test_coverage_of_a_score(metric, n, errors, figures):
    """The interval of one checkpoint's score."""
    generator = np.random.default_rng([n, int(1000 * errors)])
    held = [
        held_single(generator, metric, n, errors) for _ in range(SESSIONS if metric != "entity_f1" else SESSIONS // 2)
    ]
    judged(figures, f"{metric}, {n} examples, {errors:.1%} errors", held, most=1.0 if n * errors < 5 else MOST)


@pytest.mark.parametrize("errors", [0.03, 0.10])
@pytest.mark.parametrize("metric", ["f1", "matthews_correlation"])
def test_coverage_where_one_class_is_rare(metric, errors, figures):
    """A fifth of 400 examples is of the class that F1 is of."""
    generator = np.random.default_rng(int(1000 * errors))
    held = [held_single(generator, metric, 400, errors, 0.2) for _ in range(SESSIONS)]
    judged(figures, f"{metric}, 400 examples, a fifth positive, {errors:.1%} errors", held)


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (0.005, 0.005), (0.01, 0), (0.015, 0.015), (0.03, 0), (0.06, 0.04)]
)
@pytest.mark.parametrize("n", [100, 400, 872])
@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_coverage_of_a_pair(metric, n, lost, gained, figures):
    """The intervals of a difference and of a ratio of two models, of which few examples tell them apart."""
    generator = np.random.default_rng([n, int(1000 * lost), int(1000 * gained)])
    held = [held_pair(generator, metric, n, lost, gained) for _ in range(SESSIONS)]
    name = f"difference and ratio of {metric}, {n} examples, {lost:.1%} lost, {gained:.1%} gained"
    judged(figures, name, held, most=1.0 if n * (lost + gained) < 5 else MOST)


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.8])
@pytest.mark.parametrize(("paragraphs", "errors"), [(20, 0.1), (80, 0.03), (175, 0.005), (175, 0.1)])
def test_coverage_of_answers_by_paragraph(paragraphs, errors, alike, figures):
    """Five questions a paragraph that are wrong together the more the more they are alike."""
    generator = np.random.default_rng([paragraphs, int(1000 * errors), int(10 * alike)])
    held = [held_answers(generator, paragraphs, errors, alike) for _ in range(SESSIONS)]
    name = f"exact match, {paragraphs} paragraphs of five, {errors:.1%} errors, alike {alike}"
    judged(figures, name, held, most=1.0 if paragraphs * errors < 5 else MOST)


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("n", [100, 872, 5000])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_coverage_of_a_method(seeds, n, spread, figures):
    """The intervals of a trained model's score, difference and ratio hold what other seeds and other examples would give.

    Of 100 examples the difference is in steps, and seeds that do not differ are not known not to: up to 99.5 %.
    """
    generator = np.random.default_rng([seeds, n, int(1000 * spread)])
    held = [
        held_trained(generator, n, seeds, spread)
        for _ in range(SCALE.simulated_sessions // (4 if n < 5000 else 10) or 1)
    ]
    name = f"score, difference and ratio of {seeds} seeds, {n:,} examples, seeds apart by {100 * spread:g} points"
    judged(figures, name, held, most=0.995 if n == 100 else MOST)


@pytest.mark.parametrize("count", [128, 256, 512, 1024])
@pytest.mark.parametrize(("metric", "size"), [("accuracy", 9815), ("exact_match", 10_570), ("entity_f1", 9815)])
def test_coverage_of_a_sample(metric, size, count, figures):
    """The interval of a sample, questions by paragraph, holds the score of all examples: 95 % give or take 1.5.

    Of a finite set, an interval that speaks of the task holds a little more than 95 % as the sample grows.
    """
    stored = population(np.random.default_rng(size), metric, size)
    held = [held_sample(stored, metric, count, seed) for seed in range(2 * SESSIONS)]
    share, chance = np.mean(held), 2.6 * math.sqrt(0.05 * 0.95 / len(held))
    holds = 0.935 - chance <= share <= 0.965 + chance
    figures.judge(f"coverage, {metric}, {count:,} of {size:,}", f"{share:.1%}", "93.5% to 96.5%", holds=holds)
