"""Scores of simulated models: known truths, the program's own replicates and intervals.

A model is a table of probabilities (classes), or gets each question of a paragraph right with a probability that the paragraph
shares. Trained seeds differ in their true accuracy by `spread`; which examples they get wrong is shared by `alike`.
"""

import numpy as np
from scipy.stats import norm

from bertbench.report.compare.replicates import Group, of_task, plugins_of
from bertbench.report.compare.scores import SplitScores
from bertbench.tasks.examples import SampleOrder


def split_scores(predictions, labels, metrics, *, clusters=None, trained=0):
    """What is known of a simulated task: by model predictions of shape (seeds, n); all metrics make the score."""
    plugins = plugins_of(set(metrics))
    models = list(predictions)
    scores = SplitScores("simulated", None, tuple(metrics), models[-1], dict.fromkeys(models, trained))
    for model, of in predictions.items():
        for name, metric in plugins.items():
            scores.by_seed[name, model] = [metric.compute(list(one), list(labels)) for one in of]
        scores.by_seed["score", model] = np.mean([scores.by_seed[name, model] for name in metrics], axis=0).tolist()
    scores.values = {key: float(np.mean(of)) for key, of in scores.by_seed.items()}
    scores.groups = [Group(predictions, labels, clusters)]
    scores.drawer = of_task(plugins, scores.primary, "simulated")
    return scores


def classes(generator, n, errors, positive=0.5):
    """Labels and answers of a classifier that is wrong with probability `errors` whatever the label."""
    labels = (generator.random(n) < positive).astype(float)
    return np.abs(labels - (generator.random(n) < errors))[None], labels


def true_value(metric, errors, positive=0.5):
    """Accuracy, F1 or Matthews correlation of such a classifier on endlessly many examples."""
    hit, missed = positive * (1 - errors), positive * errors
    false, passed = (1 - positive) * errors, (1 - positive) * (1 - errors)
    if metric == "f1":
        return 2 * hit / (2 * hit + missed + false)
    if metric == "matthews_correlation":
        sides = (hit + missed) * (hit + false) * (passed + missed) * (passed + false)
        return (hit * passed - missed * false) / np.sqrt(sides)
    return 1 - errors


def pair(generator, n, lost, gained, right=0.9):
    """Labels and answers of a model and a reference: shares `lost` and `gained` are right by one of them alone."""
    drawn = generator.random(n)
    ours = np.where(drawn < lost, 0, np.where(drawn < lost + gained, 1, generator.random(n) < right))
    theirs = np.where(drawn < lost, 1, np.where(drawn < lost + gained, 0, ours))
    labels = generator.integers(0, 2, n).astype(float)
    return {name: np.abs(labels - (1 - of))[None] for name, of in (("ours", ours), ("theirs", theirs))}, labels


def answers(generator, paragraphs, errors, alike=0.3, each=5):
    """Answers, gold answers and paragraphs: `each` questions a paragraph, right together the more the more `alike`."""
    hard = np.repeat(generator.standard_normal(paragraphs), each)
    felt = np.sqrt(alike) * hard + np.sqrt(1 - alike) * generator.standard_normal(len(hard))
    given, golds = np.empty((1, len(hard)), dtype=object), np.empty(len(hard), dtype=object)
    for place, is_wrong in enumerate(felt < norm.ppf(errors)):
        given[0, place], golds[place] = "a blue cup" if is_wrong else "red box", ["red box"]
    return given, golds, np.repeat(np.arange(paragraphs), each)


def sentences(generator, n, errors, entities=1.5):
    """Tags given and true: each entity of a sentence is missed with probability `errors`."""
    given, golds = np.empty((1, n), dtype=object), np.empty(n, dtype=object)
    for place, count in enumerate(generator.poisson(entities, n)):
        golds[place] = ["B-PER", "O"] * int(count) + ["O"]
        missed = generator.random(len(golds[place])) < errors
        given[0, place] = ["O" if wrong else tag for tag, wrong in zip(golds[place], missed, strict=True)]
    return given, golds


def trained(generator, n, seeds, spread, models=("ours", "theirs"), right=(0.9, 0.88), alike=0.75):
    """Answers of several trained seeds of two models to examples that are as hard for one as for the other."""
    hard = generator.standard_normal(n)
    labels = generator.integers(0, 2, n).astype(float)
    found = {}
    for model, share in zip(models, right, strict=True):
        own = np.clip(share + spread * generator.standard_normal((seeds, 1)), 0.01, 0.999)
        felt = np.sqrt(alike) * hard + np.sqrt(1 - alike) * generator.standard_normal((seeds, n))
        found[model] = np.where(felt < norm.ppf(own), labels, 1 - labels)
    return found, labels


def covers(estimate, truth):
    """True if there is an interval and the truth lies in it."""
    return estimate.low is not None and estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


def held_single(generator, metric, n, errors, positive=0.5):
    """Whether the interval of one model's score holds the truth; answers and tags are of `errors` too."""
    if metric == "exact_match":
        given, golds, _ = answers(generator, n, errors, each=1)
        return covers(split_scores({"a": given}, golds, (metric,)).estimate("score", "a", None), 1 - errors)
    if metric == "entity_f1":
        given, golds = sentences(generator, n, errors)
        truth = 2 * (1 - errors) / (2 - errors)  # every entity found is right, and recall is 1 - errors
        return covers(split_scores({"a": given}, golds, (metric,)).estimate("score", "a", None), truth)
    given, labels = classes(generator, n, errors, positive)
    found = split_scores({"a": given}, labels, (metric,)).estimate("score", "a", n)
    return covers(found, true_value(metric, errors, positive))


def held_pair(generator, metric, n, lost, gained):
    """Whether the intervals of a pair's difference and ratio hold the truth: classes are balanced, so F1 is the accuracy."""
    predictions, labels = pair(generator, n, lost, gained)
    scores = split_scores(predictions, labels, (metric,))
    both = 0.9 * (1 - lost - gained)
    ours, theirs = both + gained, both + lost
    return covers(scores.difference("ours", "theirs"), ours - theirs), covers(
        scores.ratio("score", "ours"), ours / theirs
    )


def held_answers(generator, paragraphs, errors, alike):
    """Whether the interval of exact match over paragraphs holds the truth."""
    given, golds, clusters = answers(generator, paragraphs, errors, alike)
    scores = split_scores({"a": given}, golds, ("exact_match",), clusters=clusters)
    return covers(scores.estimate("score", "a", None), 1 - errors)


def held_trained(generator, n, seeds, spread):
    """Whether the intervals of a trained model's score, difference and ratio hold what its method gives."""
    predictions, labels = trained(generator, n, seeds, spread)
    scores = split_scores(predictions, labels, ("accuracy",), trained=seeds)
    found = scores.estimate("score", "ours", n), scores.difference("ours", "theirs"), scores.ratio("score", "ours")
    return [covers(one, truth) for one, truth in zip(found, (0.9, 0.02, 0.9 / 0.88), strict=True)]


def population(generator, metric, size):
    """Answers to all examples of a split, as a store holds them: given, true, and the paragraph of each or None."""
    if metric == "exact_match":
        each = 1 + generator.poisson(4, size // 5)  # questions a paragraph
        hard = np.repeat(generator.standard_normal(len(each)), each)
        felt = np.sqrt(0.2) * hard + np.sqrt(0.8) * generator.standard_normal(len(hard))
        given, golds = np.empty((1, len(hard)), dtype=object), np.empty(len(hard), dtype=object)
        for place, is_wrong in enumerate(felt < norm.ppf(0.19)):
            given[0, place], golds[place] = "a blue cup" if is_wrong else "red box", ["red box"]
        return given, golds, np.repeat(np.arange(len(each)), each)
    if metric == "entity_f1":
        return *sentences(generator, size, 0.08), None
    return *classes(generator, size, 0.08), None


def held_sample(stored, metric, count, seed):
    """Whether the interval of a sample of so many holds the score of all: drawn and scored as the program does."""
    given, golds, clusters = stored
    order = SampleOrder.draw(len(golds), None if clusters is None else [str(name) for name in clusters], seed)
    taken = np.array(sorted(order.places[: order.at_least(count)]))
    part = split_scores(
        {"a": given[:, taken]}, golds[taken], (metric,), clusters=None if clusters is None else clusters[taken]
    )
    truth = plugins_of({metric})[metric].compute(list(given[0]), list(golds))
    return covers(part.estimate("score", "a", len(taken) if clusters is None and metric == "accuracy" else None), truth)
