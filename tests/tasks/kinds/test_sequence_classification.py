"""Sequence classification: encoding with and without token types, decoding in the task's order."""

import numpy as np
import pytest
from transformers import BatchEncoding

from bertbench.models.architecture import config_of
from bertbench.models.demo_tokenizer import SPECIAL_TOKENS, build_tokenizer, vocabulary
from bertbench.models.loading import load_tokenizer, uses_token_types
from bertbench.tasks.examples import Examples
from bertbench.tasks.kinds.sequence_classification import PLUGIN, classes
from tests.factories import model_spec, task_spec

A, B, C = vocabulary()[len(SPECIAL_TOKENS) : len(SPECIAL_TOKENS) + 3]


def examples(*inputs):
    """Examples with these texts."""
    return Examples("validation", tuple(map(str, range(len(inputs)))), inputs, (0.0,) * len(inputs), len(inputs))


def encode(tokenizer, given, max_length, **options):
    """The rows that the model is given."""
    return PLUGIN.encode(tokenizer, task_spec(), given, max_length, **options).rows


def test_inputs_are_cut_but_not_padded():
    """Each example keeps its own length, up to the limit, special tokens included."""
    short, long = encode(build_tokenizer(), examples((A,), (" ".join([A] * 30),)), 10, token_types=False)
    assert len(short["input_ids"]) == 3
    assert len(long["input_ids"]) == 10
    assert set(short) == {"input_ids", "attention_mask"}


class Slow:
    """A tokenizer that keeps nothing of what it cuts off, as slow ones do."""

    def __init__(self):
        self.fast = build_tokenizer()

    def __call__(self, *given, **options):
        """What the fast one gives, without its encodings."""
        return BatchEncoding(dict(self.fast(*given, **options)))


@pytest.mark.parametrize("tokenizer", [build_tokenizer(), Slow()])
def test_only_what_lost_something_is_cut(tokenizer):
    """An input of exactly the limit lost nothing; one token more, in a text or a pair, and it did."""
    texts = [(" ".join([A] * count),) for count in (7, 8, 9)]
    assert PLUGIN.encode(tokenizer, task_spec(), examples(*texts), 10, token_types=False).cut == 1
    pairs = [(" ".join([A] * count), B) for count in (5, 6, 7, 30)]
    assert PLUGIN.encode(tokenizer, task_spec(), examples(*pairs), 10, token_types=True).cut == 2


def test_pairs_carry_token_types_where_the_model_uses_them():
    """The second text of a pair has type 1; a model without types gets none."""
    pair = examples((A, f"{B} {C}"))
    (typed,) = encode(build_tokenizer(), pair, 20, token_types=True)
    assert typed["token_type_ids"] == [0, 0, 0, 1, 1, 1]
    (plain,) = encode(build_tokenizer(), pair, 20, token_types=False)
    assert "token_type_ids" not in plain
    assert plain["input_ids"] == typed["input_ids"]


def test_long_pair_keeps_both_texts():
    """Of a pair that is too long the longer text is cut, so that both are still there."""
    (row,) = encode(build_tokenizer(), examples((" ".join([A] * 30), B)), 12, token_types=True)
    assert len(row["input_ids"]) == 12
    assert row["token_type_ids"].count(1) == 2


@pytest.mark.shared
@pytest.mark.parametrize(
    ("model", "types"),
    [("albert/albert-base-v2", [0, 0, 0, 1, 1]), ("distilbert/distilbert-base-uncased", None)],
)
def test_released_tokenizers_mark_pairs_as_the_model_needs_it(shared_hub_folder, model, types):
    """ALBERT's tokenizer gives no types unless asked, though the model uses them; DistilBERT takes none."""
    folder = shared_hub_folder / "models" / model
    config = config_of(model_spec(), folder)
    tokenizer = load_tokenizer(folder, config, model)
    (row,) = encode(tokenizer, examples(("a", "b")), 20, token_types=uses_token_types(config))
    assert row.get("token_type_ids") == types
    assert len(row["input_ids"]) == 5


def test_winning_output_is_translated_to_the_tasks_label():
    """Output i stands for label order[i]: a permuted checkpoint is decoded into the task's indices."""
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0]], dtype=np.float32)
    assert classes(logits, [0, 1, 2]).tolist() == [0.0, 2.0]
    assert classes(logits, [2, 0, 1]).tolist() == [2.0, 1.0]


def test_regression_gives_the_output_itself():
    """Without labels a prediction is the one output."""
    assert classes(np.array([[0.5], [-1.5]], dtype=np.float32), None).tolist() == [0.5, -1.5]
