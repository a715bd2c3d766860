"""The baseline that sees which words occur and no order: TF-IDF and a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.data import Examples

MOST_EXAMPLES = 5000


@dataclass
class BagOfWords:
    """A fitted linear model over the words of each input."""

    vectorizers: list[Any]
    model: Any
    trained_on: int

    @classmethod
    def fitted(cls, task: TaskSpec, train: Examples) -> BagOfWords | None:
        """Trained on at most 5,000 examples; None where there are no words or only one class."""
        from sklearn.linear_model import LogisticRegression, Ridge

        train = train.take(MOST_EXAMPLES)
        vectorizers = [_words_of(column) for column in zip(*train.inputs, strict=True)]
        if not any(vectorizers) or (not task.is_regression and len(set(train.labels)) == 1):
            return None
        found = cls(
            vectorizers, Ridge() if task.is_regression else LogisticRegression(max_iter=1000, C=10.0), len(train)
        )
        found.model.fit(found._seen(train), list(train.labels))
        return found

    def predict(self, examples: Examples) -> list[float]:
        """Class ids or numbers."""
        return [float(value) for value in self.model.predict(self._seen(examples))]

    def _seen(self, examples: Examples) -> Any:
        from scipy.sparse import hstack

        columns = zip(self.vectorizers, zip(*examples.inputs, strict=True), strict=True)
        return hstack([vectorizer.transform(column) for vectorizer, column in columns if vectorizer]).tocsr()


def _words_of(texts: Sequence[str]) -> Any:
    """What weighs the words of one text column; None if there are no words in it."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    except ValueError:  # an empty vocabulary
        return None
