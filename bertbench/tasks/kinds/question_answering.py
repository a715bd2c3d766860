"""Extractive question answering: the answer is a span of the context, or, where the task says so, there may be none.

A context beyond the limit is taken in windows that share `stride` tokens. Every window proposes its spans, scored by the sum
of the start's and the end's logit; no answer is scored by the same sum at the first token, the least of all windows. The
answer is the best span, unless no answer scores more than `threshold` above it.

Source: arXiv:1810.04805 sections 4.2 and 4.3 and its run_squad; questions are cut to 64 tokens as there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bertbench.records.record import Measurement, digest
from bertbench.stats.answer_scores import best_threshold
from bertbench.tasks.answer_places import NOWHERE as WITHOUT_PLACE
from bertbench.tasks.answer_places import Answer, answers_of
from bertbench.tasks.kind import Decoded, Features, Reading, RowError, label_of, portions, text_of
from bertbench.tasks.kinds.token_classification import check_fast, overlap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples

QUESTION_TOKENS = 64
N_BEST = 20  # run_squad's n_best_size
STORED = 5  # of these, with a run's predictions
CHUNK = 500  # contexts that are tokenized at once
NOWHERE = -1  # outside of the context


class Span(NamedTuple):
    """A proposed answer: its score and the characters of the context that it takes."""

    score: float
    start: int
    end: int


class QuestionAnswering:
    """How questions become inputs, and outputs answers. Inputs are (question, context); labels tuples of (text, start)."""

    name = "question-answering"
    metrics = frozenset({"answers"})
    words = False

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the columns of question, context and answers."""
        return (*task.inputs, task.label)

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[str, str]:
        """Return question and context.

        Raises:
            RowError: they are no texts.
        """
        return text_of(row, task.inputs[0]), text_of(row, task.inputs[1])

    def example(
        self, task: TaskSpec, row: Mapping[str, Any], reading: Reading | None = None
    ) -> tuple[tuple[str, str], tuple[Answer, ...]]:
        """Return question, context and acceptable answers: {text: [...], answer_start: [...]}, as SQuAD has them.

        Raises:
            RowError: no text, no such answers, an empty one, or none where there must be one.
        """
        question, context = self.inputs(task, row)
        answers = answers_of(label_of(row, task.label), task.label, context, reading or Reading())
        if not answers and not task.unanswerable:
            raise RowError("no answer", "set 'unanswerable: true' in the task's YAML if questions may have none")
        return (question, context), answers

    def clusters(self, examples: Examples) -> list[str]:
        """Return a mark of each example's paragraph, of which several questions are asked."""
        return [digest(context)[:16] for _, context in examples.inputs]

    def encode(
        self,
        tokenizer: Any,
        task: TaskSpec,
        examples: Examples,
        max_length: int,
        *,
        token_types: bool,
        order: Sequence[int] | None = None,
        training: bool = False,
    ) -> Features:
        """Build windows; `spots[i]` is an array (tokens, 2) of the characters of the context, -1 outside of it.

        Raises:
            CheckpointError: the tokenizer is not a fast one.
        """
        check_fast(tokenizer)
        features = Features()
        longest = question_limit(max_length)
        for start, part in portions(examples.inputs, CHUNK):
            questions, cut = _cut(tokenizer, [question for question, _ in part], longest)
            features.cut += cut
            encoded = tokenizer(
                questions,
                [context for _, context in part],
                truncation="only_second",
                max_length=max_length,
                stride=overlap(tokenizer, task.stride, max_length, pair=True, first=longest),
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_token_type_ids=token_types,
                return_attention_mask=True,  # whatever the tokenizer is said to give: batches are padded
            )
            keys = [key for key in ("input_ids", "token_type_ids", "attention_mask") if key in encoded]
            for i, of_chunk in enumerate(encoded["overflow_to_sample_mapping"]):
                answers = examples.labels[start + of_chunk] if training else ()
                if training and answers and not with_place(answers):
                    continue  # it has an answer, of which nobody knows where it stands
                features.rows.append({key: encoded[key][i] for key in keys})
                features.owners.append(start + of_chunk)
                features.spots.append(_places(encoded["offset_mapping"][i], encoded.sequence_ids(i)))
                if training:
                    features.targets.append(_target(features.spots[-1], with_place(answers)))
        return features

    def outputs(self, output: Any) -> Any:
        """Return start and end logits, (rows, tokens, 2)."""
        import torch

        return torch.stack((output.start_logits, output.end_logits), dim=-1)

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Any],
        order: Sequence[int] | None,
    ) -> Decoded:
        """Answers at a threshold of 0; scores are the best span's, that of no answer, and the answer's probability."""
        spans: list[list[Span]] = [[] for _ in range(len(examples))]
        null = [float("inf")] * len(examples)
        for owner, places, logits in zip(features.owners, features.spots, outputs, strict=True):
            spans[owner] += best_spans(logits, places, task.answer_length)
            null[owner] = min(null[owner], float(logits[0].sum()))
        texts, scores, listed = [], [], []
        for (_, context), proposed, without in zip(examples.inputs, spans, null, strict=True):
            ranked = sorted(proposed, key=lambda span: -span.score)[:N_BEST]
            proposals = [(context[span.start : span.end], span.score) for span in ranked] or [("", without)]
            texts.append(proposals[0][0])
            scores.append([proposals[0][1], without, _probability([score for _, score in proposals])])
            listed.append(json.dumps(proposals[:STORED], ensure_ascii=False))
        answers = texts
        if task.unanswerable:
            answers = ["" if without > best else text for text, (best, without, _) in zip(texts, scores, strict=True)]
        return Decoded(answers, scores, {"n_best": listed})

    def figures(self, task: TaskSpec, examples: Examples, decoded: Decoded) -> list[Measurement]:
        """Find the best threshold on these very examples, where questions may have no answer."""
        if not task.unanswerable:
            return []
        texts = [json.loads(proposals)[0][0] for proposals in decoded.extra["n_best"]]
        return _best_thresholds(examples, texts, [without - best for best, without, _ in decoded.scores])

    def references(self, task: TaskSpec, examples: Examples) -> list[list[str]]:
        """Return the acceptable answers of each question; none where it has no answer."""
        return [[text for text, _ in answers] for answers in examples.labels]

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[str]]:
        """Predict no answer where that is allowed, else the first words of the context, as many as answers have."""
        if task.unanswerable:
            return "never an answer", [""] * len(examples)
        lengths = sorted(len(answers[0][0].split()) for answers in train.labels if answers)
        usual = lengths[len(lengths) // 2] if lengths else 2
        return f"the context's first {usual} words", [
            " ".join(context.split()[:usual]) for _, context in examples.inputs
        ]


def question_limit(max_length: int) -> int:
    """Return how many tokens are left of a question where inputs have at most `max_length`."""
    return min(QUESTION_TOKENS, max_length // 2)


def _cut(tokenizer: Any, questions: Sequence[str], most: int) -> tuple[list[str], int]:
    """Cut questions to `most` tokens, after the white space before them, and count those that lost something."""
    stripped = [question.lstrip() for question in questions]
    encoded = tokenizer(stripped, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    shortened = [
        question[: offsets[most - 1][1]] if len(offsets) > most else question
        for question, offsets in zip(stripped, encoded["offset_mapping"], strict=True)
    ]
    return shortened, sum(len(offsets) > most for offsets in encoded["offset_mapping"])


def _places(offsets: Sequence[tuple[int, int]], sides: Sequence[int | None]) -> NDArray[np.int32]:
    """Return the characters by token, (tokens, 2); -1 for what is not of the context."""
    import numpy as np

    places = np.array(offsets, dtype=np.int32).reshape(-1, 2)
    places[[side != 1 for side in sides]] = NOWHERE
    return places


def with_place(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers whose offset in the context is known."""
    return [answer for answer in answers if answer[1] != WITHOUT_PLACE]


def _target(places: NDArray[np.int32], answers: Sequence[Answer]) -> dict[str, int]:
    """Find the tokens of the first answer; the first token of all where the window does not hold it whole."""
    import numpy as np

    if answers:
        text, start = answers[0]
        end = start + len(text)
        inside = places[:, 0] != NOWHERE
        first = np.flatnonzero(inside & (places[:, 1] > start))
        last = np.flatnonzero(inside & (places[:, 0] < end))
        if len(first) and len(last) and places[first[0], 0] <= start and places[last[-1], 1] >= end:
            return {"start_positions": int(first[0]), "end_positions": int(last[-1])}
    return {"start_positions": 0, "end_positions": 0}


def best_spans(logits: NDArray[np.float32], places: NDArray[np.int32], most_tokens: int) -> list[Span]:
    """Find the N_BEST spans of a window, the best first: of the context, forwards, of at most `most_tokens` tokens.

    Args:
        logits: start and end, shape (tokens, 2).
        places: characters of the context by token, shape (tokens, 2), -1 elsewhere.
        most_tokens: length of the longest.
    """
    import numpy as np

    inside = np.flatnonzero(places[:, 0] != NOWHERE)
    if not len(inside):
        return []
    starts, ends = logits[inside, 0], logits[inside, 1]
    count, width = len(inside), min(most_tokens, len(inside))
    # Ends beyond the window score -inf, so that every start has `width` spans.
    ahead = np.full(count + width - 1, -np.inf, dtype=np.float32)
    ahead[:count] = ends
    # (tokens, length of the span - 1)
    scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(ahead, width)
    flat = scores.ravel()
    best = np.argpartition(-flat, min(N_BEST, len(flat)) - 1)[:N_BEST]
    spans = []
    for index in sorted(best.tolist(), key=lambda index: -flat[index]):
        first, more = divmod(index, width)
        if np.isfinite(flat[index]):
            spans.append(Span(float(flat[index]), int(places[inside[first], 0]), int(places[inside[first + more], 1])))
    return spans


def _probability(scores: Sequence[float]) -> float:
    """Compute the first score's share after a softmax over all."""
    import numpy as np

    weights = np.exp(np.asarray(scores) - max(scores))  # of differences, since exp of a logit may overflow
    return float(weights[0] / weights.sum())


def _best_thresholds(examples: Examples, texts: Sequence[str], differences: Sequence[float]) -> list[Measurement]:
    """Find the best scores of any threshold on these examples: an upper bound, chosen with the answers known."""
    references = [[text for text, _ in answers] for answers in examples.labels]
    measurements = []
    sorts: tuple[tuple[str, Literal["exact", "f1"]], ...] = (("exact_match", "exact"), ("answer_f1", "f1"))
    for quantity, score in sorts:
        value, threshold = best_threshold(list(texts), list(differences), references, score)
        note = f"at the best threshold for no answer, {threshold:.2f}, chosen on these examples"
        measurements.append(
            Measurement(
                quantity,
                "1",
                (value,),
                statistic="best-threshold",
                split=examples.split,
                n=len(examples),
                n_unit="examples",
                note=note,
            )
        )
    return measurements


PLUGIN = QuestionAnswering()
