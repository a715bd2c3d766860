"""demo-sentiment: labels are right, splits are apart, and words alone do not tell."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from bertbench.errors import DatasetError
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.specs import plugins
from bertbench.tasks.demo._grammar import tokens
from bertbench.tasks.demo.demo_sentiment import LEXICONS, PLUGIN, RULES, SHARES

UNKNOWN = 1  # the id of [UNK]
SPLITS = ("train", "validation")
QUALITIES = {
    word: sign for each in LEXICONS for sign in (1, -1) for word in each["quality+" if sign > 0 else "quality-"]
}

# What a reader would say: the pattern of a whole sentence, and +1 if its verdict is that of the last quality, -1 if it
# is the opposite. Q stands for a quality, T for 'the topic is/was' or 'this subject is/was'.
ORACLE = {
    "plain": {r"T Q": 1, r"T (very|really|quite|truly) Q": 1},
    "negation": {
        r"T (not|hardly|far from|anything but) Q": -1,
        r"Nobody would call the \w+ Q": -1,
    },
    "comparison": {
        r"T more Q than I had \w+": 1,
        r"T less Q than I had \w+": -1,
        r"T more Q than the \w+ one": 1,
        r"T less Q than the \w+ one": -1,
        r"The (last|previous) \w+ was more Q than this one": -1,
        r"The (last|previous) \w+ was less Q than this one": 1,
        r"No other \w+ has a more Q \w+": 1,
        r"No other \w+ has a less Q \w+": -1,
        r"Almost every other \w+ has a more Q \w+": -1,
        r"Almost every other \w+ has a less Q \w+": 1,
        r"I have (rarely|seldom) come across a more Q \w+": 1,
        r"I have often come across a more Q \w+": -1,
    },
    "intensity": {
        r"T (slightly|somewhat) Q( and|, while) T (extremely|absolutely) Q": 1,
        r"T (slightly|somewhat) Q( and|, while) T (in no way|not in the least) Q": -1,
        r"T not (always|particularly) Q( and|, while) T (extremely|absolutely) Q": 1,
        r"T (extremely|absolutely) Q( and|, while) T (slightly|somewhat) Q": -1,
        r"T (extremely|absolutely) Q( and|, while) T not (always|particularly) Q": 1,
        r"T (in no way|not in the least) Q( and|, while) T (slightly|somewhat) Q": -1,
    },
    "contrast": {
        r"T Q(, but|; nevertheless,|; even so,) T Q": 1,
        r"Although T Q, T Q": 1,
        r"T Q, even though T Q": -1,
        r"Despite the Q \w+, T Q": 1,
        r"Despite the Q \w+, T (not|hardly|far from|anything but) Q": -1,
        r"T Q, despite the Q \w+": -1,
        r"The \w+ would have been Q if the \w+ had not been so Q": 1,
    },
    "belief": {
        r"(Critics|My friends) called the \w+ Q, and they were right": 1,
        r"(Critics|My friends) called the \w+ Q, but they were wrong": -1,
        r"I agree that T Q": 1,
        r"I doubt that T Q": -1,
    },
    "nested": {
        r"T (not|hardly|far from|anything but) Q, but T (very |really |quite |truly )?Q": 1,
        r"I agree that T (not|hardly|far from|anything but) Q": -1,
        r"I doubt that T (not|hardly|far from|anything but) Q": 1,
        r"[\w ]+ were right to (claim|say) that T (not|hardly|far from|anything but) Q": -1,
        r"[\w ]+ were right to (deny|doubt) that T more Q than the \w+ one": -1,
        r"[\w ]+ were right to (deny|doubt) that T less Q than the \w+ one": 1,
        r"[\w ]+ were wrong to (deny|doubt) that no other \w+ has a more Q \w+": 1,
        r"[\w ]+ were wrong to (claim|say) that almost every other \w+ has a more Q \w+": 1,
        r"[\w ]+ were wrong to (claim|say) that nobody would call the \w+ Q": 1,
    },
}


def compiled(pattern):
    """An oracle pattern as a regular expression over a whole sentence."""
    quality = f"(?:{'|'.join(QUALITIES)})"
    topic = r"(?:[Tt]he|[Tt]his) \w+ (?:is|was|seems|seemed)"
    return re.compile(re.sub(r"\bT\b", topic.replace("\\", r"\\"), re.sub(r"\bQ\b", quality, pattern)) + r"\.")


@pytest.fixture(scope="module")
def examples():
    """The examples of both splits."""
    return {split: PLUGIN.examples(split) for split in SPLITS}


def test_generator_is_found_by_name():
    """The task's name leads to the generator."""
    assert plugins.load("bertbench.tasks.demo", "generator", "demo-sentiment") is PLUGIN


def test_rows_have_unique_ids_sentences_and_labels(examples):
    """A row is id, sentence and label; no id and no sentence is there twice."""
    rows = PLUGIN.generate("validation")

    assert {key: type(value) for key, value in rows[0].items()} == {"id": str, "sentence": str, "label": int}
    assert [(row["sentence"], row["label"]) for row in rows] == [
        (example.sentence, example.label) for example in examples["validation"]
    ]
    assert len({row["id"] for row in rows}) == len(rows)
    for found in examples.values():
        assert len({example.sentence for example in found}) == len(found)


def test_an_unknown_split_is_refused():
    """A split that is not there is named together with those that are."""
    with pytest.raises(DatasetError, match=r"no split 'test'.*train, validation"):
        PLUGIN.generate("test")


def test_examples_do_not_depend_on_the_process():
    """Another process with another hash seed generates the very same rows, as does this one again."""
    code = "import json; from bertbench.tasks.demo.demo_sentiment import PLUGIN; print(json.dumps(PLUGIN.generate('validation')))"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(other) == PLUGIN.generate("validation") == PLUGIN.generate("validation")


def test_examples_are_those_of_their_version(examples):
    """Whoever changes an example raises `version`, so that stored results of other sentences are not taken for these."""
    content = "".join(f"{each.label} {each.sentence}" for found in examples.values() for each in found)

    assert (PLUGIN.version, hashlib.sha256(content.encode()).hexdigest()[:16]) == (1, "69d7b23efdecd494")


def test_sizes_and_labels_are_balanced(examples):
    """There are at least 5,000 validation examples, and both labels are equally frequent in each split."""
    assert len(examples["validation"]) >= 5_000
    assert len(examples["train"]) >= 12_000
    for found in examples.values():
        assert Counter(example.label for example in found)[1] * 2 == len(found)


def test_splits_share_neither_sentence_nor_template_instance(examples):
    """No sentence and no template instance of the validation split occurs in training."""
    for aspect in ("sentence", "instance"):
        seen = {getattr(example, aspect).lower() for example in examples["train"]}
        assert not [each for each in examples["validation"] if getattr(each, aspect).lower() in seen]


def test_every_phenomenon_has_its_share_and_both_labels(examples):
    """Each phenomenon is exactly as frequent as stated, and its labels are balanced."""
    assert sum(SHARES.values()) == 100
    for found in examples.values():
        counts = Counter((example.phenomenon, example.label) for example in found)
        assert counts == {
            (name, label): len(found) * share // 200 for name, share in SHARES.items() for label in (0, 1)
        }


@pytest.mark.parametrize(
    ("phenomenon", "pattern"), [(phenomenon, pattern) for phenomenon in ORACLE for pattern in ORACLE[phenomenon]]
)
def test_labels_are_what_a_reader_would_say(phenomenon, pattern, examples):
    """Sentences of a construction occur with both labels, and each label is what the construction makes of its words."""
    expression = compiled(pattern)
    matching = [each for found in examples.values() for each in found if expression.fullmatch(each.sentence)]

    assert {example.label for example in matching} == {0, 1}
    for example in matching:
        qualities = [QUALITIES[token] for token in tokens(example.sentence) if token in QUALITIES]
        assert example.phenomenon == phenomenon
        assert (1 if example.label else -1) == qualities[-1] * ORACLE[phenomenon][pattern], example.sentence


@pytest.mark.parametrize(
    ("sentence", "label"),
    [
        ("The {} never failed to (impress|delight) me.", 1),
        ("The {} never failed to (annoy|disappoint) me.", 0),
        ("The {} failed to (impress|delight) me.", 0),
        ("The {} failed to (annoy|disappoint) me.", 1),
        ("The {} did not (annoy|disappoint) me.", 1),
        ("The {} (annoyed|disappointed) me.", 0),
        ("I (would|will) not (recommend|praise) this {}.", 0),
        ("I (would|will) not (avoid|criticize) this {}.", 1),
        ("I (would|will) (avoid|criticize) this {}.", 0),
        ("I (would|will) (recommend|praise) this {}.", 1),
    ],
)
def test_verbs_carry_the_verdict(sentence, label, examples):
    """Sentences without a quality are judged by their verb and its negation."""
    expression = re.compile(sentence.replace(".", r"\.").replace("{}", r"\w+"))
    labels = [each.label for found in examples.values() for each in found if expression.fullmatch(each.sentence)]

    assert labels
    assert set(labels) == {label}


def test_no_quality_changes_its_polarity():
    """No word is positive in one subject and negative in another, and both sides are equally many."""
    for category in ("quality", "please", "pleased", "treat"):
        positive = {word for each in LEXICONS for word in each[f"{category}+"]}
        negative = {word for each in LEXICONS for word in each[f"{category}-"]}
        assert not positive & negative
        assert len(positive) == len(negative)


def test_every_rule_is_used(examples):
    """No signed rule is dead: each occurs in training and in validation."""
    for found in examples.values():
        used = {choice for example in found for choice in example.instance.split()}
        signed = {
            f"{symbol}{number}"
            for symbol in (*SHARES, "clause", "report", "weak", "strong")
            for number in range(len(RULES[symbol]))
        }
        assert signed <= used


def test_vocabulary_is_complete_and_tight(examples):
    """Every word that occurs is in the vocabulary, every word of it occurs, and the tokenizer knows them all."""
    sentences = [example.sentence for found in examples.values() for example in found]
    words = [tokens(sentence) for sentence in sentences]

    assert sorted({word for row in words for word in row}) == list(PLUGIN.vocabulary())
    sample = slice(0, None, 10)
    encoded = build_tokenizer()(sentences[sample]).input_ids
    assert [len(row) for row in encoded] == [len(row) + 2 for row in words[sample]]
    assert not any(UNKNOWN in row for row in encoded)
    assert max(map(len, words)) < 62


def test_words_alone_do_not_tell(examples):
    """Logistic regression on word counts gets at most 65 per cent right."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = {split: [example.sentence for example in examples[split]] for split in SPLITS}
    labels = {split: [example.label for example in examples[split]] for split in SPLITS}
    counter = CountVectorizer(token_pattern=r"\w+")
    model = LogisticRegression(max_iter=500).fit(counter.fit_transform(texts["train"]), labels["train"])

    assert model.score(counter.transform(texts["validation"]), labels["validation"]) <= 0.65
