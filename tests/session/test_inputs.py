"""What timed passes are given: a task's texts, whole splits, and what the audit looks at."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bertbench.models.sources import Encoder, Source
from bertbench.records.cautions import caution
from bertbench.session import inputs as _inputs
from bertbench.session.cost import measure_speeds
from bertbench.session.inputs import (
    AUDITED_EXAMPLES,
    NATURAL_EXAMPLES,
    NOT_CALIBRATED,
    audited,
    calibrations,
    choose,
    fitting,
    prepare,
)
from bertbench.session.variants import Checker, variants
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.stats import padding
from bertbench.tasks.examples import Examples
from tests.factories import model_spec, task_spec
from tests.session.conftest import FIXED, NATURAL, SPLIT, TEXTS, instruments

MANY = tuple("a " * (1 + number % 7) for number in range(200))


def test_fixed_shapes_need_no_texts(encoder, begin, plan):
    """Without natural lengths nothing is encoded and nothing is said."""
    models = [encoder("bert")]
    assert prepare(begin(models), models, plan()) == _inputs.TimedInputs()


def test_same_examples_in_the_same_order_for_all(encoder, begin, plan):
    """Every model gets the same texts, cut by its own tokenizer, with the tokenizer that is timed."""
    both = [encoder("bert"), encoder("albert", "albert")]
    found = prepare(begin(both, shapes=(NATURAL,)), both, plan())
    assert (found.task, set(found.of_model)) == ("demo", {"bert", "albert"})
    for inputs in found.of_model.values():
        assert [len(ids) for ids in inputs.ids] == [len(text.split()) + 2 for text in TEXTS]
        assert (inputs.text.texts, inputs.text.tokenizer, inputs.text.max_length) == (
            tuple((text,) for text in TEXTS),
            "demo",
            16,
        )


def test_lengths_are_limited_by_the_recipe(encoder, begin, plan):
    """--max-length cuts what is timed as it cuts what is evaluated."""
    models = [encoder("bert")]
    found = prepare(begin(models, shapes=(NATURAL,), max_length=4), models, plan())
    assert max(len(ids) for ids in found.of_model["bert"].ids) == 4


def test_few_examples_are_enough_for_natural_lengths(encoder, begin, plan):
    """As many as there are turns to take, not the whole split; a whole split takes all."""
    models = [encoder("bert")]
    found = prepare(begin(models, shapes=(NATURAL,)), models, plan(MANY))
    assert NATURAL_EXAMPLES <= len(found.of_model["bert"].ids) < 200
    found = prepare(begin(models, shapes=(NATURAL, SPLIT)), models, plan(MANY))
    assert len(found.of_model["bert"].ids) == 200


def test_batches_of_a_whole_split(encoder, begin, plan):
    """Every example once, the longest together; single examples keep their order."""
    models = [encoder("bert")]
    single = ShapeSpec(batch_size=1, sequence_length=None, whole_split=True)
    batches = prepare(begin(models, shapes=(SPLIT, single)), models, plan()).of_model["bert"].batches
    assert batches[1] == [[number] for number in range(len(TEXTS))]
    assert sorted(number for batch in batches[2] for number in batch) == list(range(len(TEXTS)))
    lengths = [len(text.split()) for text in TEXTS]
    assert [lengths[number] for batch in batches[2] for number in batch] == sorted(lengths, reverse=True)


def test_lengths_and_padding_are_measured(encoder, begin, plan):
    """The distribution of lengths, and for each batch size and policy what padding costs."""
    models = [encoder("bert")]
    found = prepare(begin(models, shapes=(NATURAL, SPLIT)), models, plan()).measurements["bert"]
    lengths = [len(text.split()) + 2 for text in TEXTS]
    values = {(one.quantity, one.statistic, one.batch_size): one.values[0] for one in found}
    assert values["input_length", "max", None] == max(lengths)
    assert values["padding_waste", "pad-to-max", 2] == padding.waste(lengths, 2, "pad-to-max", 16)
    assert values["padding_waste", "length-sorted", 2] < values["padding_waste", "dynamic", 2]
    assert values["padding_waste", "dynamic", 1] == 0


@pytest.mark.parametrize(
    ("tokenizer", "absent", "reason"),
    [
        ("demo", "the hub cannot be reached", "the hub cannot be reached"),
        ("", None, "no tokenizer of bert can be loaded"),
        ("", "the hub cannot be reached", "the hub cannot be reached"),
    ],
)
def test_absent_texts_are_said(encoder, begin, plan, tokenizer, absent, reason):
    """Without data or without a tokenizer natural lengths are not timed, with the reason."""
    models = [encoder("bert", tokenizer=tokenizer)]
    found = prepare(begin(models, shapes=(FIXED, NATURAL)), models, plan(absent=absent))
    assert found.of_model == {}
    assert found.notes == (caution("no-natural-lengths", reason=reason),)


def test_protocol_without_texts():
    """Natural lengths are taken out of the protocol, as long as something is left."""
    timing = TimingSpec(shapes=(FIXED, NATURAL))
    assert fitting(timing, _inputs.TimedInputs()).shapes == (FIXED,)
    assert fitting(TimingSpec(shapes=(NATURAL,)), _inputs.TimedInputs()).shapes == (NATURAL,)


@pytest.mark.parametrize("rounds", [2, 3, 8])
@pytest.mark.parametrize("count", [1, 5, 64, 200])
def test_rounds_share_a_whole_split(encoder, begin, plan, rounds, count):
    """All turns of all rounds together take each batch, and no turn takes so many that others wait for long."""
    models = [encoder("bert")]
    session = begin(models, shapes=(FIXED, SPLIT), rounds=rounds)
    found = prepare(session, models, plan(MANY[:count]))
    fixed, shape = fitting(session.request.timing, found).shapes
    batches = len(found.of_model["bert"].batches[2])
    assert fixed == FIXED
    assert shape.passes * shape.turns * rounds >= batches
    assert shape.passes * (shape.turns - 1) * rounds < batches
    assert shape.passes <= 25


def test_audit_looks_at_the_task_s_texts(encoder, begin, plan):
    """A few of them, with their token types; more where a score is to be had; else random ids of many lengths."""
    models = [encoder("bert"), encoder("distilbert", "distilbert")]
    session = begin(models, shapes=(NATURAL,))
    encoders = {model.spec.name: model for model in models}
    prepared = prepare(session, models, plan(MANY))
    rows = audited(session, encoders, prepared, scored=False)
    assert [len(of) for of in rows.values()] == [AUDITED_EXAMPLES] * 2
    assert rows["bert"][0].ids == prepared.of_model["bert"].ids[0]
    assert len(audited(session, encoders, prepared, scored=True)["bert"]) > AUDITED_EXAMPLES
    random = audited(session, encoders, _inputs.TimedInputs(), scored=False)["bert"]
    assert len({len(row.ids) for row in random}) > 5
    assert max(len(row.ids) for row in random) <= 64


def test_audit_of_a_model_that_cannot_be_read(encoder, begin):
    """It gets no rows, and the reason is said; the others are looked at."""
    models = {"bert": encoder("bert"), "gone": encoder("gone")}
    (models["gone"].source.folder / "config.json").unlink()
    session = begin(list(models.values()))
    rows = audited(session, models, _inputs.TimedInputs(), scored=False)
    assert (len(rows["bert"]), rows["gone"]) == (AUDITED_EXAMPLES, [])
    assert session.said[0].startswith("gone: its answers cannot be checked")


def test_task_gives_the_limit(encoder, begin, plan):
    """The recipe of the task says how long inputs may be."""
    models = [encoder("bert")]
    task = task_spec("short", training={"max_length": 5})
    found = prepare(begin(models, shapes=(NATURAL,)), models, plan(task=task))
    assert (found.task, found.of_model["bert"].text.max_length) == ("short", 5)


# What static quantizations take their ranges from.


@pytest.fixture
def calibrated(monkeypatch):
    """The fake back-end is one that takes ranges from inputs."""
    monkeypatch.setattr(_inputs.exports, "is_calibrated", lambda name: name == "fake")


def test_ranges_are_of_texts_to_train_on(encoder, begin, plan, calibrated):
    """The same training texts for every model, 300 at most, each of its own length up to the recipe's; none that are scored."""
    models = [encoder("bert"), encoder("distilbert", "distilbert")]
    train = tuple("b " * (1 + number % 9) for number in range(400))
    task = task_spec("demo", training={"max_length": 6})
    sets, reasons = calibrations(begin(models), models, plan(MANY, task=task, train=train))
    assert reasons == {}
    assert {(of.task, of.split, len(of.rows)) for of in sets.values()} == {("demo", "train", 300)}
    lengths = [[len(row.ids) for row in of.rows] for of in sets.values()]
    assert lengths[0] == lengths[1]
    assert set(lengths[0]) == {3, 4, 5, 6}
    assert sets["bert"].rows[0].types is not None
    assert sets["distilbert"].rows[0].types is None


def test_without_texts_the_reason_is_kept(encoder, begin, plan, calibrated):
    """No task, no texts to train on, none at all, or no tokenizer."""
    models = [encoder("bert")]
    session = begin(models)
    mute = replace(models[0], source=replace(models[0].source, tokenizer=None), absent="the hub cannot be reached")
    cases = [
        (SimpleNamespace(data={}), models, "no task is given"),
        (plan(MANY), models, "demo has no texts to train on"),
        (plan(absent="the hub cannot be reached"), models, "the hub cannot be reached"),
        (plan(MANY, train=MANY), [mute], "the hub cannot be reached"),
    ]
    for planned, asked_for, reason in cases:
        assert calibrations(session, asked_for, planned) == ({}, {"bert": reason})


def test_nothing_is_read_for_back_ends_without_ranges(encoder, begin, plan):
    """Training texts are encoded only where a back-end needs them."""
    models = [encoder("bert")]
    assert calibrations(begin(models), models, plan(MANY, train=MANY)) == NOT_CALIBRATED


# Whole classifiers are timed where every model has one for the task, and what a back-end answers is then scored.

pytestmark = pytest.mark.usefixtures("quiet_machine")
TASK = task_spec("demo", training={"max_length": 16})


@pytest.fixture
def classifier(tiny):
    """Makes a model with a head; `labels` are its own names of the outputs."""

    def make(name="bert", architecture="bert", labels=("negative", "positive")):
        folder = tiny(architecture, head="sequence-classification")
        path = folder / "config.json"
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | named), encoding="utf-8")
        return Encoder(Source(model_spec(name, architecture=architecture), folder, "demo", "pretrained", name), None)

    return make


def asked(begin, encoders, **options):
    """A session with the task."""
    return begin(encoders, tasks=[TASK], shapes=(NATURAL,), **({"backends": ("eager",)} | options))


def test_classifiers_where_all_have_one(classifier, begin, plan):
    """With a head for the task everywhere whole classifiers are timed, and each output's class is known."""
    both = [classifier(), classifier("albert", "albert", labels=("positive", "negative"))]
    heads = choose(asked(begin, both), both, plan(task=TASK))
    assert heads.head == "sequence-classification"
    assert heads.orders == {"bert": [0, 1], "albert": [1, 0]}
    assert {variant.settings.head for variant in variants(asked(begin, both), heads)} == {"sequence-classification"}


def test_a_published_fine_tuned_checkpoint_is_taken(classifier, encoder, begin, plan):
    """What a config names as fine-tuned on the task is timed in place of the pre-trained model."""
    tuned, plain = classifier(), encoder("bert")
    published = instruments(find_finetuned=lambda *_: replace(tuned.source, weights="fine-tuned"))
    heads = choose(asked(begin, [plain], asked_of=published), [plain], plan(task=TASK))
    assert heads.encoders[0].source.folder == tuned.source.folder


def test_bare_encoders_where_one_has_none(classifier, encoder, begin, plan):
    """A model without a head is compared with bare encoders, and that is said."""
    both = [classifier(), encoder("albert", "albert")]
    session = asked(begin, both)
    heads = choose(session, both, plan(task=TASK))
    assert (heads.head, heads.task) == (None, None)
    assert heads.encoders == tuple(both)
    assert any("on demo only bert can be loaded fine-tuned" in line for line in session.said)


def test_bare_encoders_without_a_task_and_in_compare(classifier, begin, plan):
    """Heads are of `speed` with a task alone: `run` and `compare` time what they always did."""
    one = [classifier()]
    assert choose(begin(one), one, plan(task=TASK)).head is None
    assert choose(begin(one, command="compare", tasks=[TASK]), one, plan(task=TASK)).head is None


def test_score_of_logits(classifier, begin, plan):
    """The score is that of the classes that the outputs stand for."""
    one = [classifier(labels=("positive", "negative"))]
    heads = choose(asked(begin, one), one, plan(task=TASK))
    examples = Examples("validation", ("0", "1", "2"), (("a",),) * 3, (0.0, 1.0, 1.0), 3)
    logits = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)  # negative, positive, negative
    assert heads.score("bert", logits, examples) == pytest.approx(2 / 3)
    assert heads.score("bert", logits[:1], examples) == 1.0


@pytest.mark.slow
def test_scores_stand_in_the_records(classifier, begin, plan):
    """Each way of running has its score on the same examples, PyTorch in fp32 too, and logits are what is compared."""
    session = asked(begin, [classifier()], dtypes=("fp32", "bf16"))
    measure_speeds(session, [classifier()], plan(task=TASK))
    scores = {record.settings["dtype"]: record.find("score", "audited") for record in session.written}
    assert set(scores) == {"fp32", "bf16"}
    assert all(score is not None and 0 <= score.values[0] <= 1 and score.n == 6 for score in scores.values())
    other = next(record for record in session.written if record.settings["dtype"] == "bf16")
    assert other.settings["head"] == "sequence-classification"
    assert "the class" in other.find("changed_predictions").note


def test_nothing_is_looked_at_where_all_is_pytorch_in_fp32(classifier, begin, plan):
    """Without another way of running there is nothing to check, and rounds are not held up by it."""
    one = [classifier()]
    session = asked(begin, one)
    heads = choose(session, one, plan(task=TASK))
    inputs = _inputs.prepare(session, one, plan(task=TASK))
    checker = Checker(session, variants(session, heads), inputs, heads)
    assert checker.inspect == []
    assert checker.findings(session.request.timing) == {}
