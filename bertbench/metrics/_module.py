"""The metrics as modules of the `evaluate` library, for code that expects those. Needs no hub.

Kept apart so that `evaluate`, which brings `datasets`, is loaded only where it is wanted. Example:

    module("f1").compute(predictions=[1, 0], references=[1, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertbench import plugins
from bertbench.metrics._metric import CLASSIFICATION

if TYPE_CHECKING:
    import evaluate

    from bertbench.metrics._metric import Metric


def module(name: str) -> evaluate.Metric:
    """An `evaluate.Metric` that computes the metric called `name`, e.g. {'f1': 0.667}; None where it is undefined.

    Raises:
        UnknownNameError: there is no such metric.
    """
    plugin: Metric = plugins.load("bertbench.metrics", "metric", name)
    built: evaluate.Metric = _class(plugin)()
    return built


def _class(plugin: Metric) -> type:
    import datasets
    import evaluate
    import numpy as np

    dtype = "int64" if CLASSIFICATION in plugin.applies_to else "float64"

    def _info(_: Any) -> evaluate.MetricInfo:
        columns = {name: datasets.Value(dtype) for name in ("predictions", "references")}
        return evaluate.MetricInfo(
            description=plugin.title, citation=plugin.citation, features=datasets.Features(columns)
        )

    def _compute(_: Any, predictions: Any, references: Any) -> dict[str, float | None]:
        given, expected = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
        return {plugin.name: plugin.compute(given, expected)}

    return type(f"{plugin.name.title().replace('_', '')}", (evaluate.Metric,), {"_info": _info, "_compute": _compute})
