"""Report to Every Eval Ever: JSON Lines, each line a document of the schema for one checkpoint; of one checkpoint that is a document.

Times are those of measuring, so that equal reports give equal text. Who evaluated whose model is not known here: the relationship is
'other'. What the schema asks for and nobody has said is 'unknown'.

Source: https://github.com/evaleval/every_eval_ever, schemas/eval.schema.json, version 0.3.0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bertbench import __version__
from bertbench.report.formats._scores import HUB_METRICS, SCORE, MeasuredScore, nothing_measured, select
from bertbench.report.row import method_text
from bertbench.safe_text import json_text, visible
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.report.row import Report

SCHEMA = "0.3.0"
UNKNOWN = "unknown"
SPLITS = ("train", "val", "test")  # the schema's names; ours begin with them
LEVEL = 0.95  # of the intervals in all rows of a comparison


@dataclass(frozen=True)
class EveryEvalEverExporter:
    """Gives a document a checkpoint, with a result for every metric on every split."""

    def render(self, report: Report, *, layout: str, width: int | None) -> str:  # noqa: ARG002 (other exporters need it)
        """Write the metrics of the report, and scores that are means of several metrics.

        Raises:
            ValueError: a number is not finite.
        """
        lines = []
        for group in select(report, hub_only=False).groups(by_task=False):
            scores = [score for score in group if score.metric != SCORE or len(score.primary) > 1]
            if scores:
                lines.append(json.dumps(_document(scores), ensure_ascii=False, allow_nan=False))
        return "".join(f"{json_text(line)}\n" for line in lines)

    def remarks(self, report: Report) -> tuple[str, ...]:
        """Say what is not in the text, since JSON has no comments."""
        return nothing_measured(select(report, hub_only=False))


def _document(scores: Sequence[MeasuredScore]) -> dict[str, Any]:
    first, newest = scores[0], max(score.record.started_at for score in scores)
    made = str(int(datetime.fromisoformat(newest).timestamp()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"bertbench-{visible(str(first.row.suite))}/{first.model_id}/{made}",
        "evaluation_timestamp": newest,
        "retrieved_timestamp": made,
        "source_metadata": {
            "source_name": "bertbench",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "bertbench", "version": __version__},
        "model_info": _model(first),
        "evaluation_results": [_result(score) for score in scores],
    }


def _model(score: MeasuredScore) -> dict[str, Any]:
    engine = score.record.environment
    version = engine.packages.get("transformers") if engine else None
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "open_weights" if score.revision else UNKNOWN,
        "architecture": score.record.model.get("architecture"),
        "revision": score.revision,
        "fine_tuned_from": score.record.checkpoint if score.was_trained_here and score.record.revision else None,
    }
    return {
        "name": visible(str(score.record.model.get("title") or score.record.model_name)),
        "id": score.model_id,
        **({"inference_engine": {"name": "transformers", "version": version}} if version else {}),
        "additional_details": _texts(details),
    }


def _result(score: MeasuredScore) -> dict[str, Any]:
    row = score.row
    possible = quantity_of(score.metric).possible
    metric: dict[str, Any] = {
        "metric_id": "bertbench.score" if score.metric == SCORE else score.metric,
        "metric_name": score.title,
        "metric_kind": HUB_METRICS.get(score.metric, score.metric),
        "metric_unit": "proportion",
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": "-Infinity" if possible.low is None else possible.low,
        "max_score": "Infinity" if possible.high is None else possible.high,
    }
    details = {
        "session": row.session_id,
        "runs": " ".join(row.run_ids),
        "split": row.split,
        "device": row.device,
        "dtype": row.dtype,
        "notes": "; ".join(score.notes) or None,
    }
    uncertainty = _uncertainty(score)
    return {
        "evaluation_result_id": visible(f"{row.run_ids[0]}/{row.split}/{score.metric}"),
        "evaluation_name": visible(str(row.task)),
        "source_data": _data(score),
        "evaluation_timestamp": score.record.started_at,
        "metric_config": metric,
        "score_details": {
            "score": score.value,
            "details": _texts(details),
            **({"uncertainty": uncertainty} if uncertainty else {}),
        },
    }


def _uncertainty(score: MeasuredScore) -> dict[str, Any]:
    row = score.row
    counted = {} if row.n is None else {"num_samples": row.n}
    if row.low is None or row.high is None:
        return {}
    interval: dict[str, Any] = {"lower": row.low, "upper": row.high, "confidence_level": LEVEL}
    if row.method is not None:
        interval["method"] = method_text(row.method)
    return {"confidence_interval": interval, **counted}


def _data(score: MeasuredScore) -> dict[str, Any]:
    name = visible(str(score.task.get("title") or score.row.task))
    if not score.dataset.get("path"):
        return {"dataset_name": name, "source_type": "other"}
    details = _texts({"config": score.dataset.get("subset"), "revision": score.dataset.get("revision")})
    split = next((split for split in SPLITS if (score.row.split or "").startswith(split)), None)
    return {
        "dataset_name": name,
        "source_type": "hf_dataset",
        "hf_repo": visible(str(score.dataset["path"])),
        **({"hf_split": split} if split else {}),
        **({"samples_number": score.row.n} if score.row.n is not None and score.is_of_all else {}),
        **({"additional_details": details} if details else {}),
    }


def _texts(details: dict[str, Any]) -> dict[str, str]:
    """Keep what is there, as text: the schema takes no other values."""
    return {key: visible(str(value)) for key, value in details.items() if value is not None}


PLUGIN = EveryEvalEverExporter()
