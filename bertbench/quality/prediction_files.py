"""Predictions of test sets in the formats that leaderboards and official scripts take.

Of labels nothing is asked: they may be hidden.

Sources: gluebenchmark.com/faq (index and prediction, tab-separated; names of files and classes); evaluate-v2.0.py of SQuAD
({id: answer}, and {id: how much likelier no answer is}); conlleval (columns separated by blanks, an empty line after each
sentence).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.models.products import TOKENS_PER_BATCH, useful_threads
from bertbench.quality.evaluate import predict
from bertbench.records.progress import Progress, silent
from bertbench.specs.tasks import QUESTIONS, SEQUENCES, SubmissionSpec, TaskSpec
from bertbench.tasks.examples import HIDDEN

if TYPE_CHECKING:
    from bertbench.quality.work import Prepared, Work
    from bertbench.tasks.examples import Examples
    from bertbench.tasks.kind import Decoded

DECIMALS = 3  # of numbers, as in the sample submission


@dataclass(frozen=True)
class Predictor:
    """A trained model that predicts one test set after another."""

    work: Work
    ready: Prepared

    def files(self, wanted: SubmissionSpec, examples: Examples, progress: Progress = silent) -> dict[str, str]:
        """Predict `examples`, and return the text of each file that the predictions go into.

        Raises:
            MeasurementError: an output is not finite.
        """
        return files_of(self.work.task, wanted, examples, self._decoded(examples, progress))

    def _decoded(self, examples: Examples, progress: Progress) -> Decoded:
        import torch

        work, ready = self.work, self.ready
        torch.set_num_threads(useful_threads(ready.model, TOKENS_PER_BATCH, work.threads))
        features = ready.features(work.task, examples)
        label = f"predicting {examples.split} with {work.source.spec.name}"
        outputs = predict(ready.model, ready.kind, features, ready.pad, label, progress)
        return ready.kind.decode(work.task, examples, features, outputs, ready.order(work.task))


def files_of(task: TaskSpec, wanted: SubmissionSpec, examples: Examples, decoded: Decoded) -> dict[str, str]:
    """Write the text of each file, by name."""
    if task.kind == SEQUENCES:
        return {wanted.file: tab_separated(examples.ids, decoded.predictions, _shown(task, wanted))}
    if task.kind == QUESTIONS:
        files = {wanted.file: _json(dict(zip(examples.ids, decoded.predictions, strict=True)))}
        if wanted.null_odds:
            odds = [without - best for best, without, _ in decoded.scores]
            files[wanted.null_odds] = _json(dict(zip(examples.ids, odds, strict=True)))
        return files
    return {wanted.file: columns(task, examples, decoded.predictions)}


def tab_separated(ids: Sequence[str], predictions: Sequence[float], shown: Callable[[float], str]) -> str:
    """Write a header and one line an example: its index and the prediction."""
    lines = [f"{index}\t{shown(value)}\n" for index, value in zip(ids, predictions, strict=True)]
    return "".join(["index\tprediction\n", *lines])


def _shown(task: TaskSpec, wanted: SubmissionSpec) -> Callable[[float], str]:
    """Return what writes a prediction: as a number within the bounds, or as a class's id or name."""
    labels = task.labels
    if labels is None:
        low, high = wanted.bounds or (float("-inf"), float("inf"))
        return lambda value: f"{min(max(value, low), high):.{DECIMALS}f}"
    if wanted.classes == "names":
        return lambda value: labels[int(value)]
    return lambda value: str(int(value))


def columns(task: TaskSpec, examples: Examples, predictions: Sequence[Sequence[str]]) -> str:
    """Write a line a word: the word, its tag where known, the predicted one; an empty line ends each sentence."""
    names, lines = task.labels or (), []
    for (words,), gold, tags in zip(examples.inputs, examples.labels, predictions, strict=True):
        known = [()] * len(words) if gold == HIDDEN else [(names[tag],) for tag in gold]
        for word, of_word, tag in zip(words, known, tags, strict=True):
            lines.append(" ".join(("_".join(word.split()) or "_", *of_word, tag)))
        lines.append("")
    return "".join(f"{line}\n" for line in lines)


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
