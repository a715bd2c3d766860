"""Tokenized once for equal tokenizers, and again for every setting that changes what a model is given."""

import gc
import json

import pytest
from transformers import (
    AutoTokenizer,
    BertTokenizerFast,
    DistilBertTokenizerFast,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)

from bertbench.quality import features as _features
from bertbench.specs import plugins
from bertbench.tasks.examples import Examples
from tests.factories import task_spec

TEXTS = (("one two three four five six seven eight",), ("a [SEP] inside the text",))


class Spelled(PreTrainedTokenizerFast):
    """A class that gives other ids than its rules say."""

    def _encode_plus(self, *args, **kwargs):
        encoded = super()._encode_plus(*args, **kwargs)
        encoded["input_ids"] = [[5, *row[1:]] for row in encoded["input_ids"]]
        return encoded


class Slow(PreTrainedTokenizer):
    """A tokenizer in Python, whose words have the ids that it is made with."""

    def __init__(self, first, **options):
        self.first = first
        super().__init__(pad_token="p", **options)

    def _tokenize(self, text, **_):
        return text.split()

    def _convert_token_to_id(self, _token):
        return self.first

    def _convert_id_to_token(self, index):
        return str(index)

    def get_vocab(self):
        """None."""
        return {}

    @property
    def vocab_size(self):
        """None."""
        return 0


@pytest.fixture(autouse=True)
def empty():
    """Nothing is kept from another test."""
    _features._kept.clear()


@pytest.fixture
def folder(tiny):
    """A tokenizer in files."""
    return tiny()


def opened(folder, **settings):
    """The tokenizer with some settings in tokenizer_config.json."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return AutoTokenizer.from_pretrained(str(folder))


def features(tokenizer, task=None, *, max_length=6):
    """What the cache gives for the texts."""
    task = task or task_spec()
    kind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    config = type("Config", (), {"type_vocab_size": 2, "model_type": "bert"})
    return _features.of(kind, tokenizer, task, Examples("validation", ("a", "b"), TEXTS, (0, 1), 2), max_length, config)


def encoded(tokenizer, max_length=6):
    """The same without the cache."""
    columns = ["input_ids", "token_type_ids", "attention_mask"]
    made = tokenizer(
        [text for (text,) in TEXTS],
        truncation=True,
        max_length=max_length,
        padding=False,
        return_token_type_ids=True,
        return_attention_mask=True,
    )
    return [{key: made[key][i] for key in columns} for i in range(len(TEXTS))]


@pytest.mark.parametrize(
    "settings",
    [
        {"truncation_side": "left"},
        {"split_special_tokens": True},
        {"model_input_names": ["input_ids"]},
        {"model_input_names": ["input_ids", "token_type_ids"]},
        {"add_prefix_space": True},
    ],
)
def test_a_setting_beside_the_rules_is_never_shared(tiny, folder, settings):
    """Each tokenizer gives its own features, though the rules of both read the same."""
    plain, other = opened(folder), opened(tiny(), **settings)
    assert features(plain).rows == encoded(plain)
    assert features(other).rows == encoded(other)
    assert features(plain).rows == encoded(plain)


def test_a_mask_is_made_whatever_the_tokenizer_is_said_to_give(folder):
    """Without one a model would look at the padding of its batch, and its answers would depend on their neighbours."""
    for row in features(opened(folder, model_input_names=["input_ids"])).rows:
        assert row["attention_mask"] == [1] * len(row["input_ids"])


@pytest.mark.parametrize("setting", ["truncation_side", "split_special_tokens", "model_input_names", "padding_side"])
def test_a_setting_that_is_changed_later_is_noticed(folder, setting):
    """The settings are read at each use: a tokenizer is an object that anybody can change."""
    tokenizer = opened(folder)
    before = _features.identity(tokenizer)
    value = {"split_special_tokens": True, "model_input_names": ["input_ids"]}.get(setting, "left")
    setattr(tokenizer, setting, value)
    assert _features.identity(tokenizer) != before


def test_a_class_with_methods_of_its_own_is_another_tokenizer(folder):
    """What is overridden in Python does not stand in the rules either."""
    plain, other = opened(folder), opened(folder)
    other.__class__ = Spelled
    assert plain.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    assert [row["input_ids"][0] for row in features(plain).rows] != [5, 5]
    assert [row["input_ids"][0] for row in features(other).rows] == [5, 5]


def test_bert_and_distilbert_share(folder):
    """Equal vocabularies and rules are tokenized once, whatever the class is called and whatever it says of token types."""
    first = BertTokenizerFast.from_pretrained(folder)
    second = DistilBertTokenizerFast.from_pretrained(folder, model_max_length=77, name_or_path="elsewhere")
    second.model_input_names = ["input_ids", "attention_mask"]
    assert features(first) is features(second)
    assert len(_features._kept) == 1


def test_a_use_in_between_does_not_make_it_another(folder):
    """Truncation and padding that the last call has set are no part of a tokenizer."""
    tokenizer = opened(folder)
    first = features(tokenizer)
    tokenizer("one two", padding="max_length", max_length=40, truncation=True)
    assert features(tokenizer) is first


def test_slow_tokenizers_are_never_confused():
    """One that is made where another has lain in memory is another one, and each is shared with itself."""
    for first in range(20, 25):
        tokenizer = Slow(first)
        assert features(tokenizer).rows[0]["input_ids"][0] == first
        assert features(tokenizer) is features(tokenizer)
        del tokenizer
        gc.collect()


def test_of_the_task_everything_that_encoding_reads_counts(folder):
    """Other names of labels, another stride or another kind are encoded anew; its description is not looked at."""
    tokenizer = opened(folder)
    first = features(tokenizer)
    assert features(tokenizer, task_spec(description="other words")) is first
    for change in ({"labels": ("a", "b", "c")}, {"stride": 3}):
        assert features(tokenizer, task_spec(**change)) is not first
