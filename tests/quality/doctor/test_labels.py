"""Label order: permutations are found and named, and chance is not mistaken for one."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from bertbench.quality.doctor.labels import Tally, label_order
from bertbench.tasks.kind import Features
from bertbench.tasks.kinds.token_classification import PLUGIN
from tests.factories import task_spec
from tests.quality.doctor.subjects import FILLERS, LABELS, TAGS, examples, pair, permute, rename, task_data

pytestmark = pytest.mark.usefixtures("one_thread")


def outputs(winners, classes=3):
    """Logits in which these outputs win."""
    return list(np.eye(classes, dtype=np.float32)[winners])


class Sample(list):
    """As many examples as there are labels."""

    @property
    def labels(self):
        """The labels."""
        return tuple(self)


def subject(winners, labels, order=(0, 1, 2), stated=None):
    """A trained three-way classifier by what its outputs say."""
    data = SimpleNamespace(sample=Sample(labels), task=task_data().task)
    return SimpleNamespace(
        task=data.task,
        has_head=True,
        conflict="",
        data=data,
        outputs=outputs(winners, len(order)),
        config=SimpleNamespace(id2label={i: f"LABEL_{i}" for i in range(3)}),
        ready=SimpleNamespace(outputs=tuple(LABELS[i] for i in order), order=lambda _: list(order)),
        work=SimpleNamespace(
            source=SimpleNamespace(outputs=stated, folder="folder", spec=SimpleNamespace(finetuned={"toy": None}))
        ),
    )


def test_learnt_checkpoint_is_well(trained):
    """Where names and outputs agree, the order is right and said to be the config's."""
    found = label_order(pair(trained))
    assert found.status == "ok"
    assert "config.json names the outputs: contradiction, neutral, entailment; 100.0% of 60" in found.found


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_permuted_checkpoint_is_found_and_the_order_that_fits_named(trained, edit_weights, order):
    """A checkpoint that calls its outputs LABEL_i in an order of its own."""
    permute(edit_weights, trained, order)
    rename(trained, [f"LABEL_{i}" for i in range(3)])
    found = label_order(pair(trained))
    assert "LABEL_i in config.json, taken in the task's order" in found.found
    assert found.status == ("ok" if order == (0, 1, 2) else "problem")
    if order != (0, 1, 2):
        names = ", ".join(LABELS[i] for i in order)
        assert f"outputs are {names}: then 100.0% are right" in found.found
        assert f"labels: [{names}]" in found.advice
        assert f"id2label in {trained}/config.json" in found.advice


def test_order_stated_in_yaml_is_tried_too(trained, edit_weights):
    """The statement wins over config.json; if it is wrong, that is found."""
    permute(edit_weights, trained, (2, 0, 1))
    right = (LABELS[2], LABELS[0], LABELS[1])
    assert label_order(pair(trained, outputs=right)).status == "ok"
    wrong = label_order(pair(trained, outputs=LABELS))
    assert wrong.status == "problem"
    assert f"outputs are {', '.join(right)}" in wrong.found
    assert "(config.json: contradiction, neutral, entailment)" in wrong.found


def test_model_that_always_says_the_same_is_no_permutation():
    """One output that always wins fits best as the most frequent label, and is only no better than chance."""
    labels = [0.0] * 20 + [1.0] * 60 + [2.0] * 20
    found = label_order(subject([0] * 100, labels))
    assert found.status != "ok"
    assert "outputs are" not in found.found


def test_guessing_is_no_permutation():
    """Random winners give a warning, whatever order happens to fit best."""
    for seed in range(30):
        draw = np.random.default_rng(seed)
        winners, labels = draw.integers(0, 3, 256), draw.integers(0, 3, 256)
        found = label_order(subject(winners.tolist(), labels.astype(float).tolist()))
        assert "outputs are" not in found.found
        assert found.status in {"ok", "warning"}


def test_far_below_chance_without_an_order_is_a_problem():
    """An output that always wins, for a label that is rare."""
    found = label_order(subject([1] * 100, [0.0] * 90 + [1.0] * 10))
    assert found.status == "problem"
    assert "no order explains it" in found.found


def test_few_examples_tell_nothing():
    """Below twenty nothing is claimed."""
    found = label_order(subject([0, 1, 2], [1.0, 2.0, 0.0]))
    assert (found.status, found.advice) == ("not checked", "raise --eval-samples")


def test_yaml_entry_is_named_where_there_is_one():
    """A model of the config's gets the lines to write."""
    labels = [0.0, 1.0, 2.0] * 40
    found = label_order(subject([(int(label) + 1) % 3 for label in labels], labels))
    order = "entailment, contradiction, neutral"
    assert found.advice == f"state this under finetuned: toy: labels: [{order}] in the model's YAML"


def test_model_without_head_has_no_order(tiny):
    """Nothing is said about a head that will be trained."""
    assert label_order(pair(tiny(), mode="fine-tune")) is None


def test_chance_is_exact_mcnemar():
    """Ten examples gained and none lost: 2 / 2**10, as a sign test has it."""
    tally = Tally.of([0] * 10, [1] * 10)
    assert math.isclose(tally.chance((0, 1), (1, 0)), 2 / 2**10)
    assert tally.chance((0, 1), (0, 1)) == 1.0


CONLL = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
ALPHABETICAL = tuple(sorted(CONLL))


def tagger(meaning, sentences=60, sure=1.0, taken=CONLL):
    """A trained tagger whose output i means `meaning[i]` on a share `sure` of words; the rest are O. It is taken to mean `taken`."""
    draw = np.random.default_rng(0)
    task = task_spec("tags", kind="token-classification", inputs=("words",), labels=CONLL, metrics=("entity-f1",), primary_metrics=("entity-f1",))  # fmt: skip
    tags = [draw.integers(0, len(CONLL), 12).tolist() for _ in range(sentences)]
    said = [[CONLL[tag] if draw.random() < sure else "O" for tag in of_sentence] for of_sentence in tags]
    logits = [np.eye(len(CONLL), dtype=np.float32)[[meaning.index(name) for name in names]] for names in said]
    words = tuple((("w",) * len(of_sentence),) for of_sentence in tags)
    features = Features(owners=list(range(sentences)), spots=[list(range(12))] * sentences)
    return SimpleNamespace(
        task=task,
        has_head=True,
        conflict="",
        data=SimpleNamespace(sample=SimpleNamespace(inputs=words, labels=tags)),
        features=features,
        outputs=logits,
        config=SimpleNamespace(id2label={i: f"LABEL_{i}" for i in range(len(CONLL))}),
        ready=SimpleNamespace(outputs=taken, order=lambda _: [CONLL.index(name) for name in taken], kind=PLUGIN),
        work=SimpleNamespace(
            source=SimpleNamespace(outputs=taken, folder="folder", spec=SimpleNamespace(finetuned={"tags": None}))
        ),
    )


def test_order_of_tags_is_tried_on_the_words_of_entities():
    """Where output i stands for the tag that it is taken for, most words of entities are right."""
    right = label_order(tagger(CONLL, sure=0.9))
    assert right.status == "ok"
    assert "words of entities are right" in right.found
    assert label_order(tagger(ALPHABETICAL, taken=ALPHABETICAL)).status == "ok"


def test_permuted_tags_are_found_and_the_order_that_fits_named():
    """A tagger in the order of the alphabet, taken in that of the data set."""
    verdict = label_order(tagger(ALPHABETICAL, sure=0.9))
    assert verdict.status == "problem"
    order = ", ".join(ALPHABETICAL)
    assert f"outputs are {order}: then" in verdict.found
    assert verdict.advice == f"state this under finetuned: tags: labels: [{order}] in the model's YAML"


def test_tagger_that_says_only_o_is_no_permutation():
    """No word of an entity is right, and no other order is named: one output for all says nothing about the rest."""
    verdict = label_order(tagger(CONLL, sure=0.0))
    assert verdict.status == "problem"
    assert "outputs are" not in verdict.found.replace("outputs are stated", "")


def test_few_words_of_entities_tell_nothing():
    """Below twenty nothing is claimed, whatever the number of sentences."""
    assert label_order(tagger(CONLL, sentences=1)).status == "not checked"


def test_tags_of_a_real_tagger_are_tried(tiny):
    """The whole way, on a random tagger: every word of an entity is looked at, and nothing else."""
    subject = pair(tiny(head="token-classification", num_labels=3), data=task_data(task=TAGS, **_tagged()))
    assert "of 40 words of entities are right" in label_order(subject).found


def _tagged():
    """Forty sentences of three words, the middle one an entity."""
    rows = [((FILLERS[i % 7], FILLERS[i % 5], FILLERS[i % 3]), (0, 1, 0)) for i in range(40)]
    return {"train": examples(*rows), "validation": examples(*rows)}
