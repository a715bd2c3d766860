"""The metrics as modules of the `evaluate` library, for code that expects those. Needs no hub.

Kept apart so that `evaluate`, which brings `datasets`, is loaded only where it is wanted. Example:

    module("f1").compute(predictions=[1, 0], references=[1, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertbench.specs import plugins
from bertbench.stats.metric import ANSWERS, CLASSIFICATION, SumMetric

if TYPE_CHECKING:
    import datasets
    import evaluate

    from bertbench.stats.metric import Metric


def module(name: str) -> evaluate.Metric:
    """An `evaluate.Metric` that computes the metric called `name`, e.g. {'f1': 0.667}; None where it is undefined.

    Raises:
        UnknownNameError: there is no such metric.
    """
    plugin: Metric | SumMetric = plugins.load("bertbench.stats.metrics", "metric", name)
    built: evaluate.Metric = _class(plugin)()
    return built


def _class(plugin: Metric | SumMetric) -> type:
    import evaluate
    import numpy as np

    columns = _columns(plugin)

    def _info(_: Any) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=plugin.title, citation=plugin.citation, features=columns)

    def _compute(_: Any, predictions: Any, references: Any) -> dict[str, float | None]:
        if isinstance(plugin, SumMetric):
            return {plugin.name: plugin.compute(predictions, references)}
        given, expected = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
        return {plugin.name: plugin.compute(given, expected)}

    return type(f"{plugin.name.title().replace('_', '')}", (evaluate.Metric,), {"_info": _info, "_compute": _compute})


def _columns(plugin: Metric | SumMetric) -> datasets.Features:
    """What a prediction and a reference are: numbers, a text and texts, or tags and tags."""
    import datasets

    if isinstance(plugin, SumMetric):
        texts = datasets.List(datasets.Value("string"))
        prediction = datasets.Value("string") if ANSWERS in plugin.applies_to else texts
        return datasets.Features({"predictions": prediction, "references": texts})
    number = datasets.Value("int64" if CLASSIFICATION in plugin.applies_to else "float64")
    return datasets.Features({"predictions": number, "references": number})
