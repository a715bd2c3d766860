"""Throughput at each one's own best batch size: how it is chosen, compared and shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bertbench.report.caveats import BatchesLeftOut, OtherBatches, PeakAtEdge
from bertbench.report.compare.peak_rows import peak_of
from bertbench.report.compare.rows import all_rows, evidence_of
from bertbench.report.tables.figures import Figures
from bertbench.report.tables.speed import peak_table
from tests import factories

BERT, FAST = ("bert", "eager", "fp32"), ("bert", "fast", "int8")
DISTILBERT, DISTILBERT_FAST = ("distilbert", "eager", "fp32"), ("distilbert", "fast", "int8")
# By way of running the seconds a sample at batches of 1, 4 and 16.
A_SAMPLE = {
    BERT: (0.4, 0.1, 0.2),
    DISTILBERT: (0.2, 0.06, 0.05),
    FAST: (0.1, 0.05, 0.08),
    DISTILBERT_FAST: (0.08, 0.02, 0.04),
}


def figures_of(tmp_path, ways=tuple(A_SAMPLE), mend=lambda record: record, models=None, without=None, **options):
    """The figures of a session over three batch sizes and a second length that has only one.

    `mend` changes its records, `without` tells the timings that are missing, `models` are known.
    """
    parts = []
    for index, batch in enumerate((1, 4, 16)):
        seconds = {way: A_SAMPLE[way][index] for way in ways}
        parts.append(
            factories.timing_rows(seconds, shapes=((batch, 128),), **({"noise": 0.001, "seed": index} | options))
        )
    parts.append(factories.timing_rows(dict.fromkeys(ways, 0.3), shapes=((1, 16),)))
    timings = pd.concat(parts, ignore_index=True)
    timings = timings if without is None else timings[~without(timings)].reset_index(drop=True)
    stored = factories.stored_session(tmp_path, timings=timings)
    stored = replace(stored, records=[mend(record) for record in stored.records])
    return Figures(all_rows(evidence_of(stored, models or {}, ("bert", "distilbert"), "bert")))


def test_each_way_at_its_own_best(tmp_path):
    """Every model and back-end is quoted at the batch size where it does most, and only for lengths that have a choice."""
    figures = figures_of(tmp_path)
    peaks = [row for row in figures.rows if (row.quantity, row.statistic) == ("throughput", "peak")]
    assert {(row.model, row.backend): row.batch_size for row in peaks} == {
        ("bert", "eager"): 4, ("bert", "fast"): 4, ("distilbert", "eager"): 16, ("distilbert", "fast"): 4,
    }  # fmt: skip
    assert {row.sequence_length for row in peaks} == {128}
    for row in peaks:
        best = min(A_SAMPLE[row.model, row.backend, row.dtype])
        assert row.value == pytest.approx(1 / (1.1 * best), rel=0.03)  # turns drift by a tenth in the mean
        assert row.low < row.value < row.high


def test_peak_against_peak(tmp_path):
    """Speed-ups compare each one's best with the other's best, over the reference run alike and over itself in PyTorch."""
    figures = figures_of(tmp_path)
    peaks = {
        (row.model, row.backend, row.reference): row.value
        for row in figures.rows
        if (row.quantity, row.statistic) == ("speedup", "peak")
    }
    assert peaks == {
        ("bert", "eager", "bert"): 1.0,
        ("distilbert", "eager", "bert"): pytest.approx(2, rel=0.05),
        ("bert", "fast", "bert"): 1.0,
        ("distilbert", "fast", "bert"): pytest.approx(2.5, rel=0.05),
        ("bert", "fast", "bert eager fp32"): pytest.approx(2, rel=0.05),
        ("distilbert", "fast", "distilbert eager fp32"): pytest.approx(2.5, rel=0.05),
    }


def test_published_speedups_stand_beside_no_peak(tmp_path):
    """They are of one batch size, not of each one's best."""
    stated = {"row": "speed", "statement": "60% faster", "source": "abstract", "quantity": "speedup", "value": 1.6}
    model = factories.model_spec("distilbert", published=(stated,))
    rows = [row for row in figures_of(tmp_path, models={"distilbert": model}).rows if row.quantity == "speedup"]
    assert {row.statistic for row in rows} == {"median", "peak"}
    assert [row.statistic for row in rows if row.published] == ["median"]


def _is_of(record, way):
    return (record.model_name, record.settings["backend"], record.settings["dtype"]) == way


def test_wrong_answers_have_no_peak(tmp_path):
    """A back-end that failed, as one whose answers are wrong, gives neither a throughput nor what others are compared with."""

    def mend(record):
        return replace(record, status="failed", measurements=()) if _is_of(record, FAST) else record

    peaks = [row for row in figures_of(tmp_path, mend=mend).rows if row.statistic == "peak" and row.backend == "fast"]
    assert {(row.model, row.quantity, row.reference) for row in peaks} == {
        ("distilbert", "throughput", None), ("distilbert", "speedup", "distilbert eager fp32"),
    }  # fmt: skip


def test_a_batch_that_was_lost_is_not_chosen_from(tmp_path):
    """What a batch size gave before memory was too small for it, in a later round, is in the file and is told nowhere."""

    def mend(record):
        kept = tuple(each for each in record.measurements if each.batch_size != 16)
        return replace(record, measurements=kept) if _is_of(record, DISTILBERT) else record

    rows = figures_of(tmp_path, mend=mend).rows
    peak = next(row for row in rows if row.statistic == "peak" and (row.model, row.backend) == ("distilbert", "eager"))
    assert peak.batch_size == 4


def _of_distilbert(timings):
    return (timings["model"] == "distilbert") & (timings["backend"] == "eager")


def test_ratios_count_the_rounds_of_both(tmp_path):
    """A throughput rests on its own rounds, a speed-up on those that both took part in."""
    rows = figures_of(tmp_path, without=lambda timings: _of_distilbert(timings) & (timings["round"] == 0)).rows
    counted = {(row.model, row.backend, row.quantity, row.reference): row.n for row in rows if row.statistic == "peak"}
    everyone = counted["bert", "eager", "throughput", "bert"]
    assert counted["distilbert", "fast", "throughput", "bert"] == everyone
    assert counted["distilbert", "eager", "throughput", "bert"] == everyone - 1
    assert counted["distilbert", "fast", "speedup", "distilbert eager fp32"] == everyone - 1


def test_a_batch_of_one_round_is_left_out_and_said(tmp_path):
    """It cannot be chosen by the other rounds; the others still have a peak, which says what it does without."""

    def without(timings):
        return _of_distilbert(timings) & (timings["round"] > 0) & (timings["batch_size"] == 16)

    rows = figures_of(tmp_path, without=without).rows
    peak = next(row for row in rows if row.statistic == "peak" and (row.model, row.backend) == ("distilbert", "eager"))
    assert peak.batch_size == 4
    assert BatchesLeftOut((16,)) in peak.caveats
    assert BatchesLeftOut((8, 16)).text == "without batch sizes 8, 16: fewer than two rounds"


def test_an_edge_is_said(tmp_path):
    """Where the largest batch is the best one, larger ones may do more; where it is not, nothing is said."""
    figures = figures_of(tmp_path)
    edges = {
        (row.model, row.backend): row.caveats[-1]
        for row in figures.rows
        if row.statistic == "peak" and any(isinstance(caveat, PeakAtEdge) for caveat in row.caveats)
    }
    assert edges == {("distilbert", "eager"): PeakAtEdge(16)}


def test_the_choice_does_not_flatter():
    """Of equal batch sizes under noise the one chosen by the other rounds shows the true time, the luckiest a shorter one."""
    generator, read, luckiest = np.random.default_rng(0), [], []
    for _ in range(400):
        values = np.exp(0.1 * generator.standard_normal((6, 5)))
        by_batch = {
            batch: dict(enumerate(row.tolist())) for batch, row in zip((1, 2, 4, 8, 16, 32), values, strict=True)
        }
        read.append(np.mean(np.log(list(peak_of(by_batch).seconds.values()))))
        luckiest.append(np.log(values).mean(axis=1).min())
    assert abs(np.mean(read)) < 4 * np.std(read) / 20
    assert np.mean(luckiest) < -0.04


def test_rounds_that_disagree_are_counted():
    """How many rounds were read at another batch size than the one named."""
    by_batch = {1: {0: 1.0, 1: 1.0, 2: 1.0}, 2: {0: 0.1, 1: 1.2, 2: 1.2}}
    peak = peak_of(by_batch)
    # Without round 0 the batch of 1 is better, without the others that of 2.
    assert (peak.batch, peak.others, peak.seconds) == (2, 1, {0: 1.0, 1: 1.2, 2: 1.2})
    assert OtherBatches(1, 3).text == "another batch size in 1 of 3 rounds"


@pytest.mark.parametrize(
    "by_batch", [{1: {0: 1.0, 1: 1.0}}, {1: {0: 1.0}, 2: {0: 1.0}}, {1: {0: 1.0, 1: 1.0}, 2: {1: 1.0}}]
)
def test_nothing_to_choose(by_batch):
    """One batch size, one round, or no two rounds in common give no peak."""
    assert peak_of(by_batch) is None


def test_the_table_of_peaks(tmp_path):
    """A line each with its best batch; none where one batch size was measured."""
    table = peak_table(figures_of(tmp_path), ("bert", "distilbert"), "bert")
    assert table.columns[:5] == ("Tokens", "Model", "Back-end", "Best batch", "Samples/s")
    assert [line[1:4] for line in table.rows] == [
        ("bert", "eager fp32", "4"), ("distilbert", "eager fp32", "16"), ("bert", "fast int8", "4"), ("distilbert", "fast int8", "4"),
    ]  # fmt: skip
    assert any("distilbert eager fp32: 16 is the largest batch measured" in note for note in table.notes)
    assert not any("tokens" in note for note in table.notes)
    single = factories.stored_session(
        tmp_path / "single", timings=factories.timing_rows({BERT: 0.1}, shapes=((1, 128),))
    )
    assert peak_table(Figures(all_rows(evidence_of(single, {}, ("bert",), "bert"))), ("bert",), "bert") is None


def test_notes_name_the_length_where_there_are_several(tmp_path):
    """What is said of a peak at one of two lengths is not taken for the other's."""
    shapes = tuple((batch, length) for length in (16, 128) for batch in (1, 4))
    rows = factories.timing_rows({BERT: 0.1}, shapes=shapes, noise=0.001)
    rows["seconds"] = 0.1  # the larger batch does more
    stored = factories.stored_session(tmp_path, timings=rows)
    table = peak_table(Figures(all_rows(evidence_of(stored, {}, ("bert",), "bert"))), ("bert",), "bert")
    assert (
        "bert at 16 tokens, bert at 128 tokens: 4 is the largest batch measured: larger ones may do more" in table.notes
    )
