"""demo-questions: answers are where they are said to be, splits are apart, and one cue alone does not tell."""

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
from bertbench.tasks.demo.demo_questions import PLUGIN, QUESTIONS, SHARES, VERBS

UNKNOWN = 1  # the id of [UNK]
SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def examples():
    """The examples of both splits."""
    return {split: PLUGIN.examples(split) for split in SPLITS}


def suitable(example, cues):
    """The facts that fit the question as far as `cues` go; of the value asked for, the question names the head."""
    asked = example.asked.asked
    wanted = example.facts[0].values

    def fits(values, cue):
        return values[cue].head == wanted[cue].head and (cue == asked or values[cue] == wanted[cue])

    return [fact for fact in example.facts if all(fits(fact.values, cue) for cue in cues)]


def test_generator_is_found_by_name():
    """The task's name leads to the generator."""
    assert plugins.load("bertbench.tasks.demo", "generator", "demo-questions") is PLUGIN


def test_rows_are_as_those_of_squad(examples):
    """A row is id, context, question and answers with text and answer_start; no id and no context is there twice."""
    rows = PLUGIN.generate("validation")

    kinds = {"id": str, "context": str, "question": str, "answers": dict}
    assert {key: type(value) for key, value in rows[0].items()} == kinds
    assert [(row["context"], row["question"], row["answers"]["text"]) for row in rows] == [
        (each.context, each.question, [text for text, _ in each.answers]) for each in examples["validation"]
    ]
    assert len({row["id"] for row in rows}) == len(rows)
    for found in examples.values():
        assert len({example.context for example in found}) == len(found)


def test_an_unknown_split_is_refused():
    """A split that is not there is named together with those that are."""
    with pytest.raises(DatasetError, match=r"no split 'test'.*train, validation"):
        PLUGIN.generate("test")


def test_examples_do_not_depend_on_the_process():
    """Another process with another hash seed generates the very same rows, as does this one again."""
    code = "import json; from bertbench.tasks.demo.demo_questions import PLUGIN; print(json.dumps(PLUGIN.generate('validation')))"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(other) == PLUGIN.generate("validation") == PLUGIN.generate("validation")


def test_examples_are_those_of_their_version():
    """Whoever changes an example raises `version`, so that stored results of other questions are not taken for these."""
    content = json.dumps([PLUGIN.generate(split) for split in SPLITS])

    assert (PLUGIN.version, hashlib.sha256(content.encode()).hexdigest()[:16]) == (1, "eac01568d4982a85")


def test_sizes_and_shares_are_as_stated(examples):
    """20,000 questions to train on and 3,000 others, each group with its exact share."""
    assert {split: len(found) for split, found in examples.items()} == {"train": 20_000, "validation": 3_000}
    assert sum(SHARES.values()) == 100
    for found in examples.values():
        counts = Counter(example.group for example in found)
        assert counts == {group: len(found) * share // 100 for group, share in SHARES.items()}


def test_every_way_of_asking_is_used(examples):
    """No question rule is dead: each occurs in training and in validation, and every verb does."""
    expected = {(group, question.line) for group, some in QUESTIONS.items() for question in some}
    for found in examples.values():
        assert {(example.group, example.asked.line) for example in found} == expected
        assert {fact.do for example in found for fact in example.facts} == set(VERBS)


def test_answers_start_where_they_say(examples):
    """Every answer is one to three whole words of the context at exactly its start; the first is the value in full."""
    for example in (each for found in examples.values() for each in found):
        for text, start in example.answers:
            assert re.compile(rf"\b{re.escape(text)}\b").match(example.context, start), example
            assert 1 <= len(text.split()) <= 3
        assert example.answers[0][0] == example.facts[0].values[example.asked.asked].full


def test_some_questions_have_several_answers(examples):
    """Between a fifth and four fifths of the questions accept more than one span."""
    several = sum(len(example.answers) > 1 for example in examples["validation"])

    assert 0.2 < several / len(examples["validation"]) < 0.8


def test_splits_share_neither_question_nor_context(examples):
    """No question and no context of the validation split occurs in training."""
    for aspect in ("question", "context"):
        seen = {getattr(example, aspect) for example in examples["train"]}
        assert not [each for each in examples["validation"] if getattr(each, aspect) in seen]


def test_a_question_has_one_answer(examples):
    """Both cues together fit one fact only, and no other fact has its answer."""
    for example in (each for found in examples.values() for each in found):
        asked = example.asked.asked
        assert suitable(example, example.asked.cues) == [example.facts[0]]
        assert Counter(fact.values[asked] for fact in example.facts)[example.facts[0].values[asked]] == 1


def test_one_cue_alone_does_not_tell(examples):
    """Where both cues are needed, each fits exactly two facts and the verb is that of both; elsewhere one is enough."""
    for example in examples["validation"]:
        for cue in example.asked.cues:
            fitting = suitable(example, (cue,))
            assert len(fitting) == (1 if example.group == "named" else 2), example
            assert {fact.do for fact in fitting} == {example.facts[0].do}


def test_the_place_in_the_context_does_not_tell(examples):
    """Each of the three sentences holds the answer about equally often."""
    counts = Counter(example.context[: example.answers[0][1]].count(".") for example in examples["validation"])

    assert set(counts) == {0, 1, 2}
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_vocabulary_is_complete_and_tight(examples):
    """Every word that occurs is in the vocabulary, every word of it occurs, and the tokenizer knows them all."""
    texts = [(example.question, example.context) for found in examples.values() for example in found]
    words = [tokens(f"{question} {context}") for question, context in texts]

    assert sorted({word for row in words for word in row}) == list(PLUGIN.vocabulary())
    questions, contexts = zip(*texts[::10], strict=True)
    encoded = build_tokenizer()(list(questions), list(contexts)).input_ids
    assert [len(row) for row in encoded] == [len(row) + 3 for row in words[::10]]
    assert not any(UNKNOWN in row for row in encoded)
    assert max(map(len, words)) + 3 <= 128
