"""Token classification: first sub-tokens carry the tag, long sentences go in windows, and no word is forgotten."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.errors import CheckpointError
from bertbench.models.demo_tokenizer import build_tokenizer, vocabulary
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import RowError
from bertbench.tasks.kinds.token_classification import IGNORED, PLUGIN
from tests.factories import task_spec

WORD = vocabulary()[10]
LABELS = ("O", "B-PER", "I-PER")
TASK = task_spec(
    "tags",
    kind="token-classification",
    inputs=("tokens",),
    label="tags",
    labels=LABELS,
    metrics=("entity_f1",),
    primary_metrics=("entity_f1",),
    stride=3,
)


def examples(*sentences):
    """Sentences with the tag 1 for every word."""
    labels = tuple((1,) * len(words) for words in sentences)
    ids = tuple(map(str, range(len(sentences))))
    return Examples("validation", ids, tuple((tuple(words),) for words in sentences), labels, len(sentences))


@pytest.fixture(scope="module")
def pieces():
    """A tokenizer of letters: a word has as many tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abc", *(f"##{letter}" for letter in "abc")]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def outputs(features, tag):
    """Logits that give every token the same tag."""
    row = np.full(len(LABELS), -9.0, dtype=np.float32)
    row[tag] = 9.0
    return [np.tile(row, (len(one["input_ids"]), 1)) for one in features.rows]


def test_first_sub_token_carries_the_tag(pieces):
    """A word's other tokens and the special ones take no part in the loss."""
    features = PLUGIN.encode(pieces, TASK, examples(("abc", "b")), 20, token_types=True, training=True)
    assert features.spots == [[-1, 0, -1, -1, 1, -1]]
    assert features.targets == [{"labels": [IGNORED, 1, IGNORED, IGNORED, 1, IGNORED]}]


def test_targets_follow_the_order_of_the_outputs(pieces):
    """A checkpoint whose outputs are permuted is trained and read in its own order."""
    order = [2, 0, 1]
    features = PLUGIN.encode(pieces, TASK, examples(("a",)), 20, token_types=True, order=order, training=True)
    assert features.targets[0]["labels"][1] == 2
    decoded = PLUGIN.decode(TASK, examples(("a",)), features, outputs(features, 2), order)
    assert decoded.predictions == [["B-PER"]]


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=40), st.integers(8, 16))
@settings(deadline=None, max_examples=60)
def test_windows_hold_every_word_once_or_more(pieces, words, limit):
    """Whatever the limit: every word begins in some window, none where a window starts inside it, and none is longer."""
    features = PLUGIN.encode(pieces, TASK, examples(words), limit, token_types=True)
    assert max(len(row["input_ids"]) for row in features.rows) <= limit
    begun = {word for spots in features.spots for word in spots if word >= 0}
    assert begun == set(range(len(words)))
    for row, spots in zip(features.rows, features.spots, strict=True):
        for token, word in zip(row["input_ids"], spots, strict=True):
            assert word < 0 or pieces.convert_ids_to_tokens(token) == words[word][0]
    assert features.cut == 0
    assert PLUGIN.decode(TASK, examples(words), features, outputs(features, 1), None).predictions == [
        ["B-PER"] * len(words)
    ]


def test_word_is_judged_where_it_has_most_context(pieces):
    """Of two windows the one counts in whose middle a word stands."""
    features = PLUGIN.encode(pieces, TASK, examples(("a",) * 9), 8, token_types=True)
    assert len(features.rows) > 1
    found = outputs(features, 1)
    found[0][:] = outputs(features, 0)[0]  # the first window says O everywhere
    tags = PLUGIN.decode(TASK, examples(("a",) * 9), features, found, None).predictions[0]
    first, second = features.spots[0], features.spots[1]
    shared = [word for word in first if word >= 0 and word in second]
    at = {
        word: (min(first.index(word), 7 - first.index(word)), min(second.index(word), 7 - second.index(word)))
        for word in shared
    }
    assert [tags[word] for word in shared] == ["B-PER" if at[word][1] > at[word][0] else "O" for word in shared]


def test_word_without_a_token_counts_as_outside():
    """A word that the tokenizer drops is O, and its sentence is counted."""
    features = PLUGIN.encode(build_tokenizer(), TASK, examples((WORD, " ", WORD)), 20, token_types=True)
    assert (features.cut, features.tokenless) == (0, 1)
    decoded = PLUGIN.decode(TASK, examples((WORD, " ", WORD)), features, outputs(features, 1), None)
    assert decoded.predictions == [["B-PER", "O", "B-PER"]]
    assert decoded.scores[0][1] == 1.0


def test_what_gave_no_token_is_not_what_the_limit_took(pieces):
    """Empty words, zero-width spaces, soft hyphens and control characters give nothing to BERT's normalizer, long words do."""
    from tokenizers import normalizers

    pieces = copy.deepcopy(pieces)
    pieces.backend_tokenizer.normalizer = normalizers.BertNormalizer()
    nothing = ("", "\u200b", "\u00ad", "\x00\x01", "\u2060")
    short = [("a", word) for word in nothing]
    features = PLUGIN.encode(pieces, TASK, examples(*short, ("a", "b"), ()), 32, token_types=True)
    assert (features.cut, features.tokenless) == (0, len(nothing))
    long = PLUGIN.encode(pieces, TASK, examples(("abcabc",) * 30, *short), 8, token_types=True, training=True)
    assert (long.cut, long.tokenless) == (0, len(nothing))
    alone = PLUGIN.encode(pieces, TASK, examples(*[(word,) for word in nothing]), 32, token_types=True, training=True)
    assert alone.tokenless == len(nothing)
    assert all(set(target["labels"]) == {IGNORED} for target in alone.targets)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"tokens": ["a"], "tags": [0, 1]}, "1 words in 'tokens' but 2 tags in 'tags'"),
        ({"tokens": "a", "tags": [0]}, "column 'tokens': expected a list, found 'a'"),
        ({"tokens": [None], "tags": [0]}, "column 'tokens': expected words"),
        ({"tokens": ["a"], "tags": [3]}, "tag 3 is not one of O, B-PER, I-PER"),
        ({"tokens": ["a"], "tags": ["B-LOC"]}, "tag 'B-LOC' is not one of O, B-PER, I-PER"),
        ({"tokens": ["a"], "tags": [-1]}, "hidden"),
    ],
)
def test_bad_rows_are_named(row, problem):
    """What is wrong with a row is said, before anything is trained."""
    with pytest.raises(RowError, match=problem.replace("(", r"\(")):
        PLUGIN.example(TASK, row)


def test_arrays_and_names_are_taken():
    """Parquet files give arrays; tags may be names."""
    row = {"tokens": np.array(["a", "b"]), "tags": np.array([1, 2])}
    assert PLUGIN.example(TASK, row) == ((("a", "b"),), (1, 2))
    assert PLUGIN.example(TASK, {"tokens": ["a"], "tags": ["I-PER"]}) == ((("a",),), (2,))


def test_slow_tokenizer_is_refused():
    """Only a fast tokenizer tells which token begins which word."""
    slow = type("SlowTokenizer", (), {"is_fast": False})()
    with pytest.raises(CheckpointError, match="SlowTokenizer is not a fast one"):
        PLUGIN.encode(slow, TASK, examples(("a",)), 10, token_types=True)


def test_trivial_baseline_is_a_lookup():
    """Each word has its most frequent tag, O where it was not seen."""
    train = Examples("train", ("0", "1"), ((("a", "b"),), (("a", "b"),)), ((1, 0), (1, 2)), 2)
    name, predictions = PLUGIN.trivial(TASK, train, examples(("a", "c")))
    assert (name, predictions) == ("each word's most frequent tag", [["B-PER", "O"]])
    assert PLUGIN.references(TASK, train) == [["B-PER", "O"], ["B-PER", "I-PER"]]
