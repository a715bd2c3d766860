"""demo-entities: tags follow from the sentence, splits are apart, and a list of words does not find the names."""

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

from bertbench.errors import DatasetError
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.specs import plugins
from bertbench.specs.catalog import Catalog
from bertbench.stats.metrics import _entities
from bertbench.tasks.demo._grammar import FIRST_NAMES, NAMES
from bertbench.tasks.demo.demo_entities import LABELS, PLUGIN, SENTENCES, SHARES

UNKNOWN = 1  # the id of [UNK]
SPLITS = ("train", "validation")
NAME_KINDS = {name.lower(): "N" for name in NAMES} | {name.lower(): "F" for name in FIRST_NAMES}


@pytest.fixture(scope="module")
def examples():
    """The examples of both splits."""
    return {split: PLUGIN.examples(split) for split in SPLITS}


def test_generator_is_found_by_name():
    """The task's name leads to the generator, and its YAML has the labels in the generator's order."""
    assert plugins.load("bertbench.tasks.demo", "generator", "demo-entities") is PLUGIN
    assert Catalog().task("demo-entities").labels == LABELS


def test_rows_have_unique_ids_tokens_and_tags(examples):
    """A row is id, tokens and ner_tags, a tag a token; no id and no sentence is there twice."""
    rows = PLUGIN.generate("validation")

    assert {key: type(value) for key, value in rows[0].items()} == {"id": str, "tokens": list, "ner_tags": list}
    assert [(tuple(row["tokens"]), tuple(LABELS[tag] for tag in row["ner_tags"])) for row in rows] == [
        (example.tokens, example.tags) for example in examples["validation"]
    ]
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(len(row["tokens"]) == len(row["ner_tags"]) for row in rows)
    for found in examples.values():
        assert len({example.tokens for example in found}) == len(found)


def test_an_unknown_split_is_refused():
    """A split that is not there is named together with those that are."""
    with pytest.raises(DatasetError, match=r"no split 'test'.*train, validation"):
        PLUGIN.generate("test")


def test_examples_do_not_depend_on_the_process():
    """Another process with another hash seed generates the very same rows, as does this one again."""
    code = "import json; from bertbench.tasks.demo.demo_entities import PLUGIN; print(json.dumps(PLUGIN.generate('validation')))"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(other) == PLUGIN.generate("validation") == PLUGIN.generate("validation")


def test_examples_are_those_of_their_version():
    """Whoever changes an example raises `version`, so that stored results of other sentences are not taken for these."""
    content = json.dumps([PLUGIN.generate(split) for split in SPLITS])

    assert (PLUGIN.version, hashlib.sha256(content.encode()).hexdigest()[:16]) == (1, "ac78e9239caeee55")


def test_sizes_and_shares_are_as_stated(examples):
    """12,000 sentences to train on and 3,000 others, each group with its exact share."""
    assert {split: len(found) for split, found in examples.items()} == {"train": 12_000, "validation": 3_000}
    assert sum(SHARES.values()) == 100
    for found in examples.values():
        counts = Counter(example.group for example in found)
        assert counts == {group: len(found) * share // 100 for group, share in SHARES.items()}


def test_types_are_balanced(examples):
    """No type of entity is more than 1.5 times as frequent as another, and each has entities of several words."""
    for found in examples.values():
        counts = Counter(tag for example in found for tag in example.tags)
        starts = [counts[f"B-{kind}"] for kind in ("PER", "ORG", "LOC")]
        assert max(starts) < 1.5 * min(starts)
        assert all(counts[f"I-{kind}"] > 0.3 * counts[f"B-{kind}"] for kind in ("PER", "ORG", "LOC"))


def test_tags_are_iob2(examples):
    """An I- follows a B- or I- of its type."""
    for example in (each for found in examples.values() for each in found):
        for before, tag in zip(("O", *example.tags), example.tags, strict=False):
            assert tag[:2] != "I-" or before in {tag, f"B-{tag[2:]}"}, example


def test_splits_share_neither_sentence_nor_template_instance(examples):
    """No sentence and no template instance of the validation split occurs in training."""
    for aspect in ("tokens", "instance"):
        seen = {str(getattr(example, aspect)).lower() for example in examples["train"]}
        assert not [each for each in examples["validation"] if str(getattr(each, aspect)).lower() in seen]


def test_every_sentence_rule_is_used(examples):
    """No rule is dead: each occurs in training and in validation."""
    for found in examples.values():
        used = {example.instance.split()[0] for example in found}
        assert used == {f"{group}{number}" for group, lines in SENTENCES.items() for number in range(len(lines))}


def test_tags_follow_from_the_sentence(examples):
    """Sentences that differ in names only have the same tags, so that whoever reads them can be right about all."""
    found = defaultdict(set)
    for example in (each for some in examples.values() for each in some):
        found[" ".join(NAME_KINDS.get(word.lower(), word.lower()) for word in example.tokens)].add(example.tags)

    assert [skeleton for skeleton, tags in found.items() if len(tags) > 1] == []


def test_names_serve_for_everything(examples):
    """Every name starts people, firms and places; the ordinary ones occur outside entities, too."""
    tags = defaultdict(set)
    for example in examples["train"]:
        for word, tag in zip(example.tokens, example.tags, strict=True):
            tags[word.lower()].add(tag)

    assert all({"B-PER", "B-ORG", "B-LOC"} <= tags[name.lower()] for name in NAMES)
    assert sum("O" in tags[name.lower()] for name in NAMES) >= 20
    assert {"O", "B-PER"} <= tags["rose"] & tags["may"] & tags["hope"]


def test_entities_touch(examples):
    """Some entities follow another one directly, of the same type and of another."""
    pairs = {
        (before[2:], tag[2:])
        for example in examples["validation"]
        for before, tag in zip(example.tags, example.tags[1:], strict=False)
        if before != "O" and tag[:2] == "B-"
    }

    assert {("PER", "PER"), ("LOC", "PER"), ("LOC", "ORG"), ("ORG", "PER"), ("PER", "ORG")} <= pairs


def test_vocabulary_is_complete_and_tight(examples):
    """Every word that occurs is in the vocabulary, every word of it occurs, and each is one token of the tokenizer."""
    sentences = [example.tokens for found in examples.values() for example in found]

    assert sorted({word.lower() for words in sentences for word in words}) == list(PLUGIN.vocabulary())
    sample = [list(words) for words in sentences[::10]]
    encoded = build_tokenizer()(sample, is_split_into_words=True).input_ids
    assert [len(row) for row in encoded] == [len(words) + 2 for words in sample]
    assert not any(UNKNOWN in row for row in encoded)


@pytest.mark.parametrize("form", [str, str.lower], ids=["as written", "lower-cased"])
def test_a_list_of_words_does_not_find_the_names(form, examples):
    """Each word's most frequent tag gives an entity F1 below 0.4."""
    counts = defaultdict(Counter)
    for example in examples["train"]:
        for word, tag in zip(example.tokens, example.tags, strict=True):
            counts[form(word)][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    predictions = [[usual.get(form(word), "O") for word in example.tokens] for example in examples["validation"]]
    sums = _entities.parts(predictions, [example.tags for example in examples["validation"]]).sum(axis=0)
    assert 0 < _entities.f1(sums[None])[0] < 0.4
