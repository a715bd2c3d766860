"""Report to the files of a Hub repository's folder `.eval_results`: YAML, one document a checkpoint and task.

Scores are shares of 1. The Hub takes them for data sets that are registered as benchmarks, by the `task_id` in the data set's
eval.yaml. What lies here is the subset's name: compare the two. No `source` is written, as it needs an address.

Source: https://huggingface.co/docs/hub/eval-results ("work in progress"), and `EvalResultEntry` in huggingface_hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.report.formats._scores import SCORE, MeasuredScore, nothing_measured, select, yaml_text
from bertbench.safe_text import visible

if TYPE_CHECKING:
    from bertbench.report.row import Report

DEFAULT = "default"  # what the Hub calls the only subset of a data set


@dataclass(frozen=True)
class EvalResultsExporter:
    """Gives a document a checkpoint and task, headed by the file that it belongs into."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the task's score, on the first of its splits: the Hub has one value a task."""
        selection = select(report, hub_only=True)
        parts = []
        for group in selection.groups(by_task=True):
            scores = [score for score in group if score.metric == SCORE and score.is_of_first_split]
            if scores:
                head = f"repository {scores[0].model_id}: .eval_results/{visible(str(scores[0].row.task))}.yaml"
                check = f"check task_id against eval.yaml of {visible(str(scores[0].dataset.get('path')))}"
                lines = (head, check, *(score.source for score in scores))
                parts.append(yaml_text([_entry(score) for score in scores], lines))
        return yaml_text(None, nothing_measured(selection)) + "---\n".join(parts)


def _entry(score: MeasuredScore) -> dict[str, Any]:
    dataset = {"id": score.dataset.get("path"), "task_id": score.dataset.get("subset") or DEFAULT}
    revision = score.dataset.get("revision")
    notes = (f"{score.title} as a share of 1", f"split {score.row.split}", *score.notes)
    return {
        "dataset": dataset | ({"revision": revision} if revision else {}),
        "value": score.value,
        "date": score.record.started_at,
        "notes": "; ".join(notes),
    }


PLUGIN = EvalResultsExporter()
