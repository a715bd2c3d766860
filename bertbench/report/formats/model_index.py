"""Report to the `model-index` of a model card: YAML for the front matter of a README.md on the Hub.

Scores are shares of 1. A model that was fine-tuned here has bertbench's name for it: put the id of your repository there. A
`source` needs an address, which only who publishes the runs has; sessions and runs stand in a comment.

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md, and `EvalResult` in huggingface_hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.report.formats._scores import (
    HUB_METRICS,
    HUB_TASKS,
    SCORE,
    MeasuredScore,
    nothing_measured,
    select,
    yaml_text,
)

if TYPE_CHECKING:
    from bertbench.report.row import Report


@dataclass(frozen=True)
class ModelIndexExporter:
    """Gives an entry a checkpoint, with a result a task and split and every metric of it that was measured."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the metrics of the report; a task's score is left out, since it is their mean."""
        selection = select(report, hub_only=True)
        groups = [[score for score in group if score.metric != SCORE] for group in selection.groups(by_task=False)]
        entries = [_entry(group) for group in groups if group]
        sources = tuple(dict.fromkeys(f"{group[0].model_id}: {score.source}" for group in groups for score in group))
        return yaml_text({"model-index": entries} if entries else None, (*sources, *nothing_measured(selection)))


def _entry(scores: Sequence[MeasuredScore]) -> dict[str, Any]:
    by_split: dict[tuple[str | None, str | None], list[MeasuredScore]] = {}
    for score in scores:
        by_split.setdefault((score.row.task, score.row.split), []).append(score)
    return {"name": scores[0].model_id, "results": [_result(group) for group in by_split.values()]}


def _result(scores: Sequence[MeasuredScore]) -> dict[str, Any]:
    first = scores[0]
    kind = str(first.task.get("kind"))
    task_type = HUB_TASKS.get(kind, kind)
    dataset = {
        "name": first.task.get("title"),
        "type": first.dataset.get("path"),
        "config": first.dataset.get("subset"),
        "split": first.row.split,
        "revision": first.dataset.get("revision"),
    }
    return {
        "task": {"type": task_type, "name": task_type.replace("-", " ").capitalize()},
        "dataset": {key: value for key, value in dataset.items() if value is not None},
        "metrics": [_metric(score) for score in scores],
    }


def _metric(score: MeasuredScore) -> dict[str, Any]:
    notes = f" ({'; '.join(score.notes)})" if score.notes else ""
    name = f"{score.title[:1].upper()}{score.title[1:]}{notes}"
    return {"type": HUB_METRICS.get(score.metric, score.metric), "value": score.value, "name": name}


PLUGIN = ModelIndexExporter()
