"""Token classification: a tag for every word, entities marked in IOB2 (CoNLL-2003 and its like).

A word's tag is that of its first sub-token, as in BERT's paper (arXiv:1810.04805, section 5.3); the others take no part in
the loss. A sentence beyond the limit is taken in windows that overlap; a word that several windows hold is judged in the one
where it has the most context on its poorer side. A word that gives no token counts as O.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError
from bertbench.tasks.kind import Decoded, Features, Reading, RowError, check_text_length, label_index, list_of, portions

if TYPE_CHECKING:
    from bertbench.records.record import Measurement
    from bertbench.specs.tasks import TaskSpec
    from bertbench.tasks.examples import Examples

IGNORED = -100  # torch's cross entropy leaves such targets out
OUTSIDE = "O"
CHUNK = 1000  # sentences that are tokenized at once


class TokenClassification:
    """How words become inputs, and outputs become tags. Labels are tuples of places in the task's labels."""

    name = "token-classification"
    metrics = frozenset({"tags"})
    words = True

    def columns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the columns of the words and their tags."""
        return (task.inputs[0], task.label)

    def inputs(self, task: TaskSpec, row: Mapping[str, Any]) -> tuple[tuple[str, ...]]:
        """Return the words.

        Raises:
            RowError: it is no list of words.
        """
        words = list_of(row, task.inputs[0])
        odd = [word for word in words if not isinstance(word, str)]
        if odd:
            raise RowError(f"column '{task.inputs[0]}': expected words, found {odd[0]!r:.40}", "give a list of words")
        check_text_length(task.inputs[0], sum(map(len, words)))
        return (tuple(words),)

    def example(
        self, task: TaskSpec, row: Mapping[str, Any], reading: Reading | None = None
    ) -> tuple[tuple[tuple[str, ...]], tuple[int, ...]]:
        """Return words and the places of their tags among the task's labels.

        Raises:
            RowError: no lists, lists of unequal length, or tags that are not the task's.
        """
        words, tags = list_of(row, task.inputs[0]), list_of(row, task.label)
        if len(words) != len(tags):
            raise RowError(
                f"{len(words)} words in '{task.inputs[0]}' but {len(tags)} tags in '{task.label}'",
                "every word needs one tag",
            )
        return self.inputs(task, row), tuple(label_index(tag, task.labels or (), "tag", reading) for tag in tags)

    def clusters(self, examples: Examples) -> None:
        """Return None: a sentence is an example, and each stands alone."""
        del examples

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
        """Build windows of words; `spots[i]` holds by token the word that it begins, or -1.

        Raises:
            CheckpointError: the tokenizer is not a fast one, which alone tells words from tokens.
        """
        check_fast(tokenizer)
        features = Features()
        output_of = {label: output for output, label in enumerate(order or range(len(task.labels or ())))}
        words_with_tokens: dict[int, set[int]] = defaultdict(set)  # by sentence the words that gave tokens
        for start, part in portions(examples.inputs, CHUNK):
            words = [list(inputs[0]) for inputs in part]
            encoded = tokenizer(
                words,
                is_split_into_words=True,
                truncation=True,
                max_length=max_length,
                stride=overlap(tokenizer, task.stride, max_length),
                return_overflowing_tokens=True,
                return_token_type_ids=token_types,
                return_attention_mask=True,  # whatever the tokenizer is said to give: batches are padded
            )
            keys = [key for key in ("input_ids", "token_type_ids", "attention_mask") if key in encoded]
            for i, of_chunk in enumerate(encoded["overflow_to_sample_mapping"]):
                earlier = words_with_tokens[start + of_chunk]
                features.rows.append({key: encoded[key][i] for key in keys})
                features.owners.append(start + of_chunk)
                features.spots.append(_beginnings(encoded.word_ids(i), earlier))
                earlier.update(word for word in encoded.word_ids(i) if word is not None)
                if training:
                    tags = examples.labels[start + of_chunk]
                    labels = [IGNORED if word < 0 else output_of[tags[word]] for word in features.spots[-1]]
                    features.targets.append({"labels": labels})
        features.cut = _lost(features, words_with_tokens)
        features.tokenless = sum(len(words_with_tokens[i]) < len(inputs[0]) for i, inputs in enumerate(examples.inputs))
        return features

    def outputs(self, output: Any) -> Any:
        """Return the logits, (rows, tokens, tags)."""
        return output.logits

    def decode(
        self,
        task: TaskSpec,
        examples: Examples,
        features: Features,
        outputs: Sequence[Any],
        order: Sequence[int] | None,
    ) -> Decoded:
        """Decode tag names by word; scores are the probabilities of the tags taken."""
        names = task.labels or ()
        tag_of = [names[label] for label in (order or range(len(names)))]
        tags = [[OUTSIDE] * len(inputs[0]) for inputs in examples.inputs]
        sure = [[1.0] * len(inputs[0]) for inputs in examples.inputs]
        context = [[-1] * len(inputs[0]) for inputs in examples.inputs]
        for owner, spots, logits in zip(features.owners, features.spots, outputs, strict=True):
            chances = _softmax(logits)
            for token, word in enumerate(spots):
                around = min(token, len(spots) - 1 - token)  # tokens of context on its poorer side
                if word >= 0 and around > context[owner][word]:
                    context[owner][word] = around
                    best = int(chances[token].argmax())
                    tags[owner][word], sure[owner][word] = tag_of[best], float(chances[token][best])
        return Decoded(tags, sure)

    def figures(self, task: TaskSpec, examples: Examples, decoded: Decoded) -> list[Measurement]:
        """None beside the metrics."""
        return []

    def references(self, task: TaskSpec, examples: Examples) -> list[list[str]]:
        """Return tag names by word."""
        names = task.labels or ()
        return [[names[tag] for tag in tags] for tags in examples.labels]

    def trivial(self, task: TaskSpec, train: Examples, examples: Examples) -> tuple[str, list[list[str]]]:
        """Predict every word's most frequent tag in training, O where it was not seen."""
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for inputs, tags in zip(train.inputs, self.references(task, train), strict=True):
            for word, tag in zip(inputs[0], tags, strict=True):
                seen[word][tag] += 1
        most = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
        return "each word's most frequent tag", [
            [most.get(word, OUTSIDE) for word in inputs[0]] for inputs in examples.inputs
        ]


def check_fast(tokenizer: Any) -> None:
    """Refuse a slow tokenizer: only fast ones tell which token comes from where.

    Raises:
        CheckpointError: it is not one.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            f"tokenizer {type(tokenizer).__name__} is not a fast one, and words or answers cannot be found back in a text",
            "name one with tokenizer.json ('tokenizer' in the model's YAML)",
        )


def overlap(tokenizer: Any, stride: int, max_length: int, *, pair: bool = False, first: int = 0) -> int:
    """Return the stride, or less where windows are too short for it: at most half of what they hold of the text."""
    room = max_length - tokenizer.num_special_tokens_to_add(pair) - first
    return max(0, min(stride, int(room) // 2))


def _beginnings(word_ids: Sequence[int | None], earlier: Collection[int]) -> list[int]:
    """Return by token the word that begins with it, else -1.

    A window may start inside a word, whose beginning is in one before it; these hold the words `earlier`.
    """
    words: list[int] = []
    before: int | None = None
    first = next((word for word in word_ids if word is not None), None)
    for word in word_ids:
        begins = word is not None and word != before and not (word == first and word in earlier)
        words.append(word if begins and word is not None else -1)
        before = word
    return words


def _lost(features: Features, words_with_tokens: Mapping[int, Collection[int]]) -> int:
    """Count the sentences of whose `words_with_tokens` one begins in no window: what the limit took."""
    begun: dict[int, set[int]] = defaultdict(set)
    for owner, spots in zip(features.owners, features.spots, strict=True):
        begun[owner].update(word for word in spots if word >= 0)
    return sum(not begun[owner].issuperset(words) for owner, words in words_with_tokens.items())


def _softmax(logits: Any) -> Any:
    import numpy as np

    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))  # of differences, since exp of a logit may overflow
    return shifted / shifted.sum(axis=-1, keepdims=True)


PLUGIN = TokenClassification()
