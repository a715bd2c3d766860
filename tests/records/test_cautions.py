"""What a reader of a record should know: facts that are stored, and words that are made of them."""

import pytest

from bertbench.records.cautions import OTHER, WORDINGS, Caution, caution, in_words
from bertbench.records.files import from_json, to_json
from tests.factories import size_record


def test_words_are_made_of_facts():
    """Whom it is about stands before; figures are rounded where they are shown."""
    assert str(caution("few-rounds", rounds=3)) == "only 3 rounds were timed: intervals over so few are wide"
    assert str(caution("spread", "bert 8x128", spread=7.24)).startswith("bert 8x128: round medians spread by 7%; more")
    assert str(caution(OTHER, text="a sentence of before")) == "a sentence of before"


def test_figures_that_differ_are_a_range():
    """From the smallest to the largest as they read; what reads alike is no range."""
    spread = [caution("spread", f"bert {size}x8", spread=figure) for size, figure in ((1, 100.1), (2, 9.6), (3, 20.0))]
    assert in_words(spread).startswith("round medians spread by 10 to 100%; more rounds")
    assert in_words(spread[:1] * 2).startswith("round medians spread by 100%; more rounds")


def test_runs_are_listed():
    """Of names that stand for nothing but themselves each is told, once."""
    runs = [caution("taken-over", run=run) for run in ("bert-42", "bert-43", "bert-42")]
    assert in_words(runs) == "result of run bert-42, bert-43, not run again"


def test_likeness_is_kind_and_names():
    """Subjects and figures may differ in one line; what was cut of train and of validation are two things."""
    facts = {"cut": 5, "examples": 10, "tokens": 8}
    train = caution("cut-examples", "a", split="train", **facts)
    assert train.likeness == caution("cut-examples", "b", split="train", **(facts | {"cut": 6})).likeness
    assert train.likeness != caution("cut-examples", "a", split="validation", **facts).likeness


@pytest.mark.parametrize("kind", WORDINGS)
def test_every_kind_has_its_facts(kind):
    """No kind can be made without the facts that its words need, or with others."""
    if "{" in WORDINGS[kind]:
        with pytest.raises(ValueError, match=kind):
            Caution(kind)
    with pytest.raises(ValueError, match=kind):
        caution(kind, another=1)


def test_figures_are_finite():
    """As everywhere in a record."""
    with pytest.raises(ValueError, match="nan"):
        caution("few-rounds", rounds=float("nan"))


def test_cautions_are_stored_as_facts():
    """They come back equal, beside sentences of before and kinds that only a newer version knows."""
    written = size_record(
        warnings=(caution("spread", "bert", spread=7), "a sentence", Caution("newer", "bert", {"by": 2, "of": "x"}))
    )
    read = from_json(type(written), to_json(written))
    assert read == written
    assert set(read.cautions) == set(written.cautions)
    assert str(read.cautions[2]).startswith("bert: newer (by 2")
