"""How often a model beats another over paired seeds: where there are enough, and of which variance it is."""

from dataclasses import replace

import pytest

from bertbench.report.caveats import Outperforming, Randomized, TooFewPairs, TrainingResampled
from bertbench.report.compare.outperforming import outperforming_rows
from bertbench.report.compare.scores import SplitScores
from bertbench.report.row import Row, columns
from bertbench.report.tables.figures import Figures
from bertbench.report.tables.protocol import is_worth_a_glance, outperforming_tables
from bertbench.stats.estimate import PairedReading
from tests import factories

BASE = Row(task="sst2", split="validation", status="ok")


def runs(pairs, settings=None):
    """Records of runs with these seeds of initialization and of the data."""
    return [
        factories.record("quality", seed=seed, data_seed=data_seed, settings=settings or {"mode": "fine-tune"})
        for seed, data_seed in pairs
    ]


def scores(of_bert, of_albert, pairs=None, **settings):
    """What is known of two models with these scores, a seed each."""
    values = {"bert": of_bert, "albert": of_albert}
    of = {
        model: runs((pairs or [(seed, None) for seed in range(100)])[: len(of_model)], settings or None)
        for model, of_model in values.items()
    }
    trained = {model: len(of_model) for model, of_model in values.items()}
    known = SplitScores("sst2", "validation", ("accuracy",), "bert", trained, runs=of)
    known.by_seed = {("score", model): list(of_model) for model, of_model in values.items()}
    return known


def row_of(known):
    """The row of ALBERT against BERT."""
    return next(iter(outperforming_rows(replace(BASE, model="albert"), known, "albert", "bert")), None)


def caveat(row, kind):
    """The row's caveat of a kind."""
    return next(each for each in row.caveats if isinstance(each, kind))


def test_with_enough_pairs_there_are_a_figure_and_a_reading():
    """Of 30 pairs ALBERT wins 24 and ties 2: 25 of 30, significant and meaningful."""
    row = row_of(scores([0.8] * 30, [0.9] * 24 + [0.8] * 2 + [0.7] * 4))
    assert (row.value, row.n, row.n_unit, row.reference) == (pytest.approx(25 / 30), 30, "seeds", "bert")
    assert 0.5 < row.low < row.value < row.high
    assert caveat(row, Outperforming) == Outperforming(PairedReading.MEANINGFUL, 0.75, "albert")
    told = columns(row)
    assert told["quantity"] == "outperforming_probability"
    assert told["interval_method"] == "percentile bootstrap (near the ends the exact bound) over 30 paired seeds"
    assert "significant and meaningful (gamma 0.75): albert is ahead" in told["note"]
    assert caveat(row_of(scores([0.9] * 30, [0.8] * 30)), Outperforming).ahead == "bert"
    assert caveat(row_of(scores([0.8] * 30, [0.9, 0.7] * 15)), Outperforming).text == "not significant (gamma 0.75)"


def test_fewer_pairs_say_how_many_it_takes():
    """A row without a figure, and none at all of a single seed."""
    row = row_of(scores([0.8] * 5, [0.9] * 5))
    assert (row.value, row.n) == (None, 5)
    assert caveat(row, TooFewPairs).text == "needs 29 paired seeds, there are 5"
    assert row_of(scores([0.8], [0.9])) is None


def test_only_seeds_that_both_were_trained_with_are_paired():
    """Runs are joined by their seeds, wherever they stand; what was evaluated as it is has none."""
    known = scores([0.8] * 40, [0.9] * 35)
    known.runs["albert"].reverse()  # seeds 34 to 0
    known.by_seed["score", "albert"] = [0.9] * 5 + [0.7] * 30
    row = row_of(known)
    assert (row.n, row.value) == (35, pytest.approx(5 / 35))
    known.trained["bert"] = 0
    assert row_of(known) is None


def test_runs_that_share_seeds_are_no_pairs_of_their_own():
    """A grid of seeds counts for less than its runs; one initialization for all is a choice, and said."""
    grid = [(init, data) for init in range(6) for data in range(5)]
    row = row_of(scores([0.8] * 30, [0.9] * 30, grid))
    assert row.value is None
    assert caveat(row, TooFewPairs).text == "needs 29 paired seeds of their own, these 30 pairs share some"
    row = row_of(scores([0.8] * 30, [0.9] * 30, [(7, data) for data in range(30)]))
    assert row.value == 1.0
    assert caveat(row, Randomized).sources == ("order of the data", "dropout")
    assert "initialization" in caveat(row, Randomized).fixed


def test_what_was_randomized_is_said():
    """Training sets are among it where each data seed drew its own."""
    plain = caveat(row_of(scores([0.8] * 30, [0.9] * 30)), Randomized)
    assert plain.sources == ("initialization", "order of the data", "dropout")
    assert plain.fixed == ("training set", "evaluation examples", "hyperparameters")
    drawn = row_of(scores([0.8] * 30, [0.9] * 30, mode="fine-tune", train_distinct=63))
    assert caveat(drawn, Randomized).sources[-1] == "training set"
    kept = row_of(scores([0.8] * 30, [0.9] * 30, [(s, 3) for s in range(30)], mode="fine-tune", train_distinct=63))
    assert caveat(kept, Randomized).sources == ("initialization",)  # one draw for all


def test_table_has_figures_or_what_they_take():
    """It is seen at a glance where it has a figure, or where training sets were resampled for it."""
    enough, few = (row_of(scores([0.8] * count, [0.9] * count)) for count in (30, 3))
    (table,) = outperforming_tables(Figures([enough, few]), ("bert", "albert"))
    assert table.rows[0][:5] == ("albert", "bert", "sst2 validation", "30", "100.0% [88.4, 100.0]")
    assert table.rows[1][3:] == ("3", "", "needs 29 paired seeds, there are 3")
    assert any("percentile bootstrap" in note for note in table.notes)
    assert any(note.startswith("randomized: initialization") for note in table.notes)
    assert outperforming_tables(Figures([]), ("bert",)) == ()
    drawn = replace(few, caveats=(*few.caveats, TrainingResampled()))
    assert [is_worth_a_glance(Figures([row])) for row in (enough, few, drawn)] == [True, False, True]
