"""bertbench's metrics as modules of `evaluate`: the very objects that runs compute their scores with, for programs of others.

    import bertbench
    f1 = bertbench.load_metric("f1")
    f1.compute(predictions=[0, 1, 1], references=[0, 1, 0])    # {'f1': 0.666…}

`compute` on whole lists takes them as they are. `evaluate` itself would write them to a table first, which costs time and rounds
nothing; that way is left for `add` and `add_batch`, in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import datasets
import evaluate

from bertbench.specs import plugins
from bertbench.stats.metric import ANSWERS, CLASSIFICATION, REGRESSION, Metric, SumMetric

_TEXT = datasets.Value("string")
_FEATURES: dict[str, tuple[Any, Any]] = {
    CLASSIFICATION: (datasets.Value("int64"), datasets.Value("int64")),
    REGRESSION: (datasets.Value("float64"), datasets.Value("float64")),
    ANSWERS: (_TEXT, datasets.Sequence(_TEXT)),
}
_TAGS = (datasets.Sequence(_TEXT), datasets.Sequence(_TEXT))
_INPUTS = {
    CLASSIFICATION: "predictions, references: class ids, one an example",
    REGRESSION: "predictions, references: numbers, one an example",
    ANSWERS: "predictions: texts, '' for no answer; references: lists of acceptable texts, [] for unanswerable",
}


class BertbenchMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate is not typed
    """A metric of bertbench's; `config_name` is its name."""

    def __init__(self, config_name: str | None = None, *, keep_in_memory: bool = True, **options: Any) -> None:
        self.metric: Metric | SumMetric = plugins.load("bertbench.stats.metrics", "metric", config_name or "accuracy")
        super().__init__(config_name=self.metric.name, keep_in_memory=keep_in_memory, **options)
        self.info.module_name = self.metric.name

    def _info(self) -> evaluate.MetricInfo:
        kind = next(iter(self.metric.applies_to))
        predictions, references = _FEATURES.get(kind, _TAGS)
        return evaluate.MetricInfo(
            description=self.metric.title + (f"; undefined: {self.metric.undefined}" if self.metric.undefined else ""),
            citation=self.metric.citation,
            inputs_description=_INPUTS.get(kind, "predictions, references: lists of IOB2 tags, one a word"),
            features=datasets.Features({"predictions": predictions, "references": references}),
        )

    def _build_data_dir(self) -> str:
        """Return a folder for tables, which is made only where they are not kept in memory."""
        return str(self._data_dir_root if self.keep_in_memory else super()._build_data_dir())

    def compute(self, *, predictions: Any = None, references: Any = None, **others: Any) -> Any:
        """Compute the metric by name, over what is given, or what was added before; NaN where it is undefined.

        Raises:
            MeasurementError: no predictions, not one a reference, or not of the metric's kind.
        """
        if self.writer is None and predictions is not None and references is not None and not others:
            return self._compute(predictions, references)
        return super().compute(predictions=predictions, references=references, **others)

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        value = self.metric.compute(predictions, references)  # type: ignore[arg-type]  # each checks its own kind
        return {self.metric.name: float("nan") if value is None else value}


@lru_cache(maxsize=64)
def load(name: str) -> BertbenchMetric:
    """Load one of bertbench's metrics by name.

    Raises:
        UnknownNameError: there is no such metric.
    """
    return BertbenchMetric(name)
