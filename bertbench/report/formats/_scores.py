"""The scores of a report that may be published: measured, of which checkpoint and data, and what was left out and why.

A score that is published is read without the table around it. So what would be taken for something else stays out: figures of random
weights, and of an architecture that was trained from random weights where the released ones could not be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.report.caveats import BestOfTrials, SampleOnly, Stale, StartedFrom, TrainingCapped, TrainingResampled
from bertbench.safe_text import visible

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.report.row import Report, Row

SCORE = "score"
# What https://huggingface.co/tasks and https://huggingface.co/metrics call the kinds of tasks and the metrics.
HUB_TASKS = {"sequence-classification": "text-classification"}
HUB_METRICS = {
    "pearson": "pearsonr", "spearman": "spearmanr", "answer_f1": "f1", "entity_f1": "f1", "entity_precision": "precision",
    "entity_recall": "recall",
}  # fmt: skip
# Without which a score is taken for another.
SAID = (SampleOnly, Stale, TrainingCapped, TrainingResampled, StartedFrom, BestOfTrials)
TRAIN = "fine-tune"  # the mode of a run that trained its model
DOUBTS = frozenset({"not-learned", "indistinct", "guessed-outputs"})  # kinds of cautions with which a score says little


@dataclass(frozen=True)
class MeasuredScore:
    """One score with its row and the first of the runs that it is the mean of."""

    row: Row
    record: RunRecord
    value: float

    @property
    def metric(self) -> str:
        """The metric's name here; 'score' of a mean of metrics."""
        return str(self.row.quantity)

    @property
    def task(self) -> Mapping[str, Any]:
        """The task as it was when it was measured."""
        return self.record.task or {}

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Where the examples come from."""
        dataset: Mapping[str, Any] = self.task.get("dataset") or {}
        return dataset

    @property
    def was_trained_here(self) -> bool:
        """True of a model that was fine-tuned here; its weights are no released ones."""
        return self.record.settings.get("mode") == TRAIN

    @property
    def model_id(self) -> str:
        """The hub's id of the checkpoint that was evaluated as it is; else bertbench's name, and the task that was learnt."""
        if self.was_trained_here:
            return visible(f"{self.record.model_name}-{self.record.task_name}")
        return visible(str(self.record.checkpoint if self.revision else self.record.model_name))

    @property
    def revision(self) -> str | None:
        """The commit of the checkpoint that was evaluated as it is."""
        return None if self.was_trained_here else self.record.revision

    @property
    def primary(self) -> tuple[str, ...]:
        """The metrics whose mean is the task's score."""
        return tuple(self.task.get("primary_metrics", ()))

    @property
    def title(self) -> str:
        """The metric in words."""
        names = self.primary if self.metric == SCORE else (self.metric,)
        words = " and ".join(names).replace("_", " ").replace("f1", "F1")
        return f"mean of {words}" if len(names) > 1 else words

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the score who sees nothing else of it."""
        caveats = (caveat for caveat in self.row.caveats if isinstance(caveat, SAID))
        texts = [caveat.text for caveat in caveats]
        if self.was_trained_here:
            texts += [self._training, f"seeds: {len(self.row.run_ids)}"]
        texts += [str(caution) for caution in self.record.cautions if caution.kind in DOUBTS]
        return tuple(map(visible, texts))

    @property
    def is_of_first_split(self) -> bool:
        """True on the split that the task's score is of."""
        return self.row.split in tuple(self.task.get("evaluation_splits", ()))[:1]

    @property
    def is_of_all(self) -> bool:
        """True if no example of the split was left out."""
        return not any(isinstance(caveat, SampleOnly) for caveat in self.row.caveats)

    @property
    def _training(self) -> str:
        """How the model was trained here."""
        how = "distilled here" if "teaching" in self.record.settings else "fine-tuned here"
        if is_from_nothing(self.record):
            return f"{how} from random weights"
        return f"{how} from {self.record.checkpoint}" if self.record.revision else how

    @property
    def source(self) -> str:
        """Where the figure lies."""
        return visible(f"session {self.record.session_id}, runs {', '.join(self.row.run_ids)}")


@dataclass(frozen=True)
class Selection:
    """The scores of a report that may be published, and in words those that may not."""

    scores: tuple[MeasuredScore, ...]
    left_out: tuple[str, ...]

    def groups(self, *, by_task: bool) -> Iterator[tuple[MeasuredScore, ...]]:
        """Yield scores of the same model as it was evaluated and, if `by_task`, of the same task, in the report's order."""
        groups: dict[tuple[str | None, ...], list[MeasuredScore]] = {}
        for score in self.scores:
            key = (score.model_id, score.revision, score.row.session_id, score.row.task if by_task else None)
            groups.setdefault(key, []).append(score)
        yield from map(tuple, groups.values())


def select(report: Report, *, hub_only: bool) -> Selection:
    """Select the scores that were measured; `hub_only` leaves out those on data that is not on the hub."""
    records = {record.run_id: record for record in report.records}
    scores: list[MeasuredScore] = []
    left_out: dict[str, None] = {}
    for row in report.rows:
        record = next((records[run] for run in row.run_ids if run in records), None)
        if record is None or row.value is None or not _is_score(row, record):
            continue
        score = MeasuredScore(row, record, float(row.value))
        reason = _why_not(score, hub_only=hub_only)
        if reason is None:
            scores.append(score)
        else:
            left_out[f"{visible(str(row.model))} on {visible(str(row.task))}: {reason}"] = None
    return Selection(tuple(scores), tuple(left_out))


def _is_score(row: Row, record: RunRecord) -> bool:
    metrics = (record.task or {}).get("metrics", ())
    is_measured = record.kind == "quality" and row.statistic == "mean" and row.status == "ok"
    return is_measured and (row.quantity == SCORE or row.quantity in metrics)


def is_from_nothing(record: RunRecord) -> bool:
    """Tell whether training began with random weights."""
    return any(caution.kind == "random-start" for caution in record.cautions)


def _why_not(score: MeasuredScore, *, hub_only: bool) -> str | None:
    """Tell why a score is not published; None if it may be."""
    record = score.record
    if record.weights == "random" or (is_from_nothing(record) and record.model.get("checkpoint")):
        return "not of the released weights, which could not be had"
    if hub_only and not score.dataset.get("path"):
        return "its data is not on the hub"
    return None


def nothing_measured(selection: Selection) -> tuple[str, ...]:
    """Say in lines what is not in the text: what was left out, or that the report has no scores at all."""
    if not selection.scores and not selection.left_out:
        return ("nothing to publish: no scores were measured",)
    return tuple(f"left out: {reason}" for reason in selection.left_out)


def yaml_text(value: Any, lines: Iterable[str] = ()) -> str:
    """Write a value as YAML below `lines` of comments; texts in it are shown, not obeyed. An empty value is left out."""
    from bertbench.specs.yaml_files import to_yaml  # yaml: slow

    return "".join(f"# {line}\n" for line in lines) + (to_yaml(_shown(value)) if value else "")


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_shown(entry) for entry in value]
    return visible(value) if isinstance(value, str) else value
