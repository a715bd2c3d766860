"""The baseline that sees which words occur and no order: TF-IDF and a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertbench.data import Examples
    from bertbench.specs import TaskSpec

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
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge

        train = train.take(MOST_EXAMPLES)
        if not task.is_regression and len(set(train.labels)) == 1:
            return None
        vectorizers = [TfidfVectorizer(sublinear_tf=True) for _ in task.inputs]
        model = Ridge() if task.is_regression else LogisticRegression(max_iter=1000, C=10.0)
        found = cls(vectorizers, model, len(train))
        try:
            for vectorizer, column in zip(vectorizers, zip(*train.inputs, strict=True), strict=True):
                vectorizer.fit(column)
        except ValueError:  # no words at all
            return None
        model.fit(found._seen(train), list(train.labels))
        return found

    def predict(self, examples: Examples) -> list[float]:
        """Class ids or numbers."""
        return [float(value) for value in self.model.predict(self._seen(examples))]

    def _seen(self, examples: Examples) -> Any:
        from scipy.sparse import hstack

        columns = zip(*examples.inputs, strict=True)
        parts = [vectorizer.transform(column) for vectorizer, column in zip(self.vectorizers, columns, strict=True)]
        return hstack(parts).tocsr()
