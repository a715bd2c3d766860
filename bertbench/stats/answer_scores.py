"""Answers to questions on a text, compared as the official SQuAD scripts compare them.

Sources: Rajpurkar et al. 2016, arXiv:1606.05250 (v1.1) and 2018, arXiv:1806.03822 (v2.0). The two scripts differ only
where a prediction and a gold answer both have no words left once punctuation and articles are gone, e.g. 'The':

    v1.1   exact 1 if any gold answer is such a one, F1 0
    v2.0   such gold answers are dropped if there are others; if there are none, exact and F1 are 1

A question without gold answers exists only in v2.0. So data with one is scored by v2.0, data without by v1.1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bertbench.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

Score = Literal["exact", "f1"]
Script = Literal["v1.1", "v2.0"]

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def words(text: str) -> list[str]:
    """Return what of an answer is compared: lower case, no ASCII punctuation, no English articles, no white space.

    Punctuation goes first and leaves no gap: 'A-B' is the word 'ab'. Other punctuation, such as curly quotes, stays, and
    Unicode is not normalised: a letter with a combining accent (NFD) differs from the composed one (NFC).
    """
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]], score: Score, script: Script | None = None
) -> Floats:
    """Score each prediction by exact match or F1 with the gold answer nearest to it, shape (n,), 0..1.

    Args:
        predictions: '' for no answer.
        references: the gold answers; none where the question cannot be answered.
        score: 'exact' or 'f1'.
        script: whose rule; None is v2.0 where a question cannot be answered, else v1.1.
    """
    import numpy as np

    rule = script or ("v1.1" if answerable(references).all() else "v2.0")
    pair = _exact if score == "exact" else _f1 if rule == "v2.0" else _f1_of_common
    values = np.zeros(len(references))
    for row, (prediction, golds) in enumerate(zip(predictions, references, strict=True)):
        given, expected = words(prediction), [words(gold) for gold in golds]
        if rule == "v2.0":
            expected = [gold for gold in expected if gold] or [[]]
        values[row] = max(pair(given, gold) for gold in expected)
    return values


def answerable(references: Sequence[Sequence[str]]) -> Flags:
    """Tell which questions have an answer, shape (n,)."""
    import numpy as np

    return np.array([len(golds) > 0 for golds in references], dtype=bool)


def parts(
    predictions: Sequence[str], references: Sequence[Sequence[str]], score: Score, only: bool | None = None
) -> Floats:
    """Return scores and the number of questions they are of, shape (n, 2): of all or of the (un)answerable.

    Args:
        predictions: as `scores` takes them.
        references: as `scores` takes them.
        score: 'exact' or 'f1'.
        only: True for the answerable questions, False for the others, None for all.
    """
    import numpy as np

    values = scores(predictions, references, score)
    there = np.ones(len(values)) if only is None else (answerable(references) == only).astype(float)
    return np.stack([values * there, there], axis=1)


def mean(sums: Floats) -> Floats:
    """Compute mean scores from sums of `parts`, shape (r,); NaN where there is no such question."""
    import numpy as np

    total, number = sums[:, 0], sums[:, 1]
    # The inner choice keeps numpy from warning of 0 / 0.
    return np.asarray(np.where(number > 0, total / np.where(number > 0, number, 1), np.nan))


def best_threshold(
    predictions: Sequence[str], null_scores: Sequence[float], references: Sequence[Sequence[str]], score: Score
) -> tuple[float, float]:
    """Find the best mean score, 0..1, that leaving questions unanswered gives, and the threshold that does it.

    A question whose null score is above the threshold is left unanswered. Starting with none answered, questions are
    answered one by one as their null score rises, those of equal score in the order given; the first place with the
    highest score is taken, and its last question's null score is the threshold. Like the script this is taken from:

    * If leaving all unanswered is best, the threshold is 0, which leaves them so only where null scores are above 0.
    * The best place may lie amid questions of equal null score; the threshold then answers the rest of them too and the
      value is not quite reached. Of unequal null scores it always is.
    * A text other than '' is wrong where there is no answer, and no answer where there is one: even if the text or the
      gold answers have no words ('The'), unlike in `scores`.

    Args:
        predictions: the best texts other than no answer.
        null_scores: what speaks for no answer, e.g. the score of no answer less that of the text.
        references: the gold answers; none where the question cannot be answered.
        score: 'exact' or 'f1'.

    Raises:
        MeasurementError: no predictions, not one a reference and a null score, or a null score is NaN.
    """
    import numpy as np

    nulls = np.asarray(null_scores, dtype=float)
    if not len(predictions) == len(references) == len(nulls):
        counts = f"{len(predictions)} predictions, {len(nulls)} null scores, {len(references)} references"
        raise MeasurementError(f"best threshold: {counts}")
    if not len(predictions):
        raise MeasurementError("best threshold: no predictions", "evaluate at least one example")
    if np.isnan(nulls).any():
        raise MeasurementError(f"best threshold: the null score of example {int(np.isnan(nulls).argmax())} is NaN")
    there = answerable(references)
    wrong_if_answered = np.array([text != "" for text in predictions])
    gained = np.where(there, scores(predictions, references, score, "v2.0"), -wrong_if_answered.astype(float))
    order = np.argsort(nulls, kind="stable")
    # Summed from left to right as the script does: another order rounds F1 otherwise and may prefer another threshold.
    running = np.cumsum([float((~there).sum()), *gained[order]])
    best = int(running.argmax())
    return float(running[best]) / len(predictions), float(nulls[order[best - 1]]) if best else 0.0


def _exact(given: list[str], expected: list[str]) -> float:
    return float(given == expected)


def _f1(given: list[str], expected: list[str]) -> float:
    """Compute the harmonic mean of the shares of common words; 1 for two answers without words."""
    return _f1_of_common(given, expected) if given or expected else 1.0


def _f1_of_common(given: list[str], expected: list[str]) -> float:
    """Compute the harmonic mean of the shares of common words; 0 without any."""
    common = (Counter(given) & Counter(expected)).total()
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(expected)
    return 2 * precision * recall / (precision + recall)
