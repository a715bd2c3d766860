"""What timed passes are given: a task's texts, whole splits, and what the audit looks at."""

import pytest

from bertbench.session import inputs as _inputs
from bertbench.session.inputs import AUDITED_EXAMPLES, NATURAL_EXAMPLES, audited, fitting, prepare
from bertbench.specs.timing import ShapeSpec, TimingSpec
from bertbench.stats import padding
from tests.factories import task_spec
from tests.session.conftest import FIXED, NATURAL, SPLIT, TEXTS

MANY = tuple("a " * (1 + number % 7) for number in range(200))


def test_fixed_shapes_need_no_texts(encoder, begin, plan):
    """Without natural lengths nothing is encoded and nothing is said."""
    models = [encoder("bert")]
    assert prepare(begin(models), models, plan()) == _inputs.Prepared()


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
        ("", None, "no tokenizer of bert can be had"),
        ("", "the hub cannot be reached", "the hub cannot be reached"),
    ],
)
def test_absent_texts_are_said(encoder, begin, plan, tokenizer, absent, reason):
    """Without data or without a tokenizer natural lengths are not timed, with the reason."""
    models = [encoder("bert", tokenizer=tokenizer)]
    found = prepare(begin(models, shapes=(FIXED, NATURAL)), models, plan(absent=absent))
    assert found.of_model == {}
    assert found.notes == (f"natural lengths are not timed: {reason}",)


def test_protocol_without_texts():
    """Natural lengths are taken out of the protocol, as long as something is left."""
    timing = TimingSpec(shapes=(FIXED, NATURAL))
    assert fitting(timing, _inputs.Prepared()).shapes == (FIXED,)
    assert fitting(TimingSpec(shapes=(NATURAL,)), _inputs.Prepared()).shapes == (NATURAL,)


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
    random = audited(session, encoders, _inputs.Prepared(), scored=False)["bert"]
    assert len({len(row.ids) for row in random}) > 5
    assert max(len(row.ids) for row in random) <= 64


def test_audit_of_a_model_that_cannot_be_read(encoder, begin):
    """It gets no rows, and the reason is said; the others are looked at."""
    models = {"bert": encoder("bert"), "gone": encoder("gone")}
    (models["gone"].source.folder / "config.json").unlink()
    session = begin(list(models.values()))
    rows = audited(session, models, _inputs.Prepared(), scored=False)
    assert (len(rows["bert"]), rows["gone"]) == (AUDITED_EXAMPLES, [])
    assert session.said[0].startswith("gone: its answers cannot be checked")


def test_task_gives_the_limit(encoder, begin, plan):
    """The recipe of the task says how long inputs may be."""
    models = [encoder("bert")]
    task = task_spec("short", training={"max_length": 5})
    found = prepare(begin(models, shapes=(NATURAL,)), models, plan(task=task))
    assert (found.task, found.of_model["bert"].text.max_length) == ("short", 5)
