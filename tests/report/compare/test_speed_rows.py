"""Raw timings to rows: several ways of running, how ratios are paired, lost shapes, percentiles, texts, whole splits."""

import dataclasses
import math
from datetime import UTC, datetime

import pandas as pd
import pytest

from bertbench.records.record import Failure, Measurement
from bertbench.records.stored import StoredSession
from bertbench.report.caveats import MeasurementNote, TriedLive
from bertbench.report.compare.rows import all_rows, evidence_of
from bertbench.report.compare.speed_rows import SessionTimings, Way, over_rounds, shape_of
from bertbench.report.row import columns, method_text
from bertbench.report.tables.figures import Figures
from bertbench.stats.intervals import samples_needed
from tests import factories

NOW = datetime(2026, 11, 24, 12, 3, tzinfo=UTC)
SHAPE = ((1, 128),)
BERT, DISTILBERT = ("bert", "eager", "fp32"), ("distilbert", "eager", "fp32")
BERT_FAST, DISTILBERT_FAST = ("bert", "fast", "int8"), ("distilbert", "fast", "int8")
FOUR = {BERT: 0.4, DISTILBERT: 0.2, BERT_FAST: 0.1, DISTILBERT_FAST: 0.08}


def rows_of(stored, models=("bert", "distilbert"), reference="bert"):
    """All rows of a session."""
    return all_rows(evidence_of(stored, {}, models, reference))


def figures_of(stored, **options):
    """The same, to look things up in."""
    return Figures(rows_of(stored, **options))


def changed(stored, change):
    """The session with what `change` makes of every speed record."""
    records = tuple(change(record) if record.kind == "speed" else record for record in stored.records)
    return StoredSession(stored.session, records, stored.folder)


def with_settings(stored, **settings):
    """The session with other settings in its speed records."""
    return changed(stored, lambda record: dataclasses.replace(record, settings=record.settings | settings))


def with_measurements(stored, *measurements):
    """The session with more measurements in its speed records."""
    return changed(
        stored, lambda record: dataclasses.replace(record, measurements=(*record.measurements, *measurements))
    )


def one_way(folder, **options):
    """Two models on one back-end."""
    values = {"seconds": {"bert": 0.16, "distilbert": 0.08}, "shapes": SHAPE} | options
    return factories.stored_session(folder, timings=factories.timing_rows(**values))


def several_ways(folder, seconds=FOUR, **options):
    """Models on two back-ends, all in the same rounds."""
    timings = factories.timing_rows(seconds, **({"shapes": SHAPE} | options))
    return factories.stored_session(folder, timings=timings)


def speedup(figures, way, reference):
    """The speed-up of a way of running over a reference."""
    model, backend, dtype = way
    return figures.first(model, "speedup", backend=backend, dtype=dtype, reference=reference)


def test_each_way_of_running_has_its_rows(tmp_path):
    """A latency and what goes with it for every back-end and number format, labelled with them."""
    figures = figures_of(several_ways(tmp_path))
    found = {(row.model, row.backend, row.dtype): row.value for row in figures.rows if row.statistic == "median"
             and row.quantity == "latency"}  # fmt: skip
    assert {way: pytest.approx(1.1 * seconds, rel=0.05) for way, seconds in FOUR.items()} == found


def test_a_way_is_compared_with_the_reference_in_the_same_way(tmp_path):
    """A speed-up over the reference model is that on the same back-end; over itself in PyTorch fp32 it stands apart."""
    figures = figures_of(several_ways(tmp_path))
    assert speedup(figures, DISTILBERT, "bert").value == pytest.approx(2, rel=0.02)
    assert speedup(figures, DISTILBERT_FAST, "bert").value == pytest.approx(1.25, rel=0.02)
    assert speedup(figures, DISTILBERT_FAST, "distilbert eager fp32").value == pytest.approx(2.5, rel=0.02)
    assert speedup(figures, BERT_FAST, "bert eager fp32").value == pytest.approx(4, rel=0.02)
    assert speedup(figures, BERT_FAST, "bert").value == 1.0
    assert speedup(figures, DISTILBERT, "distilbert eager fp32") is None


def test_ways_that_shared_rounds_are_paired(tmp_path):
    """Within rounds drift cancels: the method says so, and the number of rounds is the n."""
    row = speedup(figures_of(several_ways(tmp_path)), DISTILBERT_FAST, "bert")
    assert columns(row)["interval_method"] == "t-interval over 5 rounds of the median paired log-ratio"
    assert (row.n, row.n_unit) == (5, "rounds")
    assert row.low < row.value < row.high


def in_two_blocks(folder):
    """The fast back-end's models in blocks of their own, the reference in PyTorch in both."""
    first = factories.timing_rows({BERT: 0.4, BERT_FAST: 0.1}, shapes=SHAPE)
    second = factories.timing_rows({BERT: 0.8, DISTILBERT_FAST: 0.1}, shapes=SHAPE, seed=5)
    rows = pd.concat([first.assign(round=2 * first["round"]), second.assign(round=2 * second["round"] + 1)])
    return factories.stored_session(folder, timings=rows)


def test_ways_of_different_rounds_are_compared_through_the_reference(tmp_path):
    """What never shared a round is compared by what took part in all: its drift between the blocks cancels."""
    row = speedup(figures_of(in_two_blocks(tmp_path)), DISTILBERT_FAST, "bert")
    assert row.value == pytest.approx((0.8 / 0.1) / (0.4 / 0.1), rel=0.02)
    assert columns(row)["interval_method"] == "Welch interval over 5 and 5 rounds, each paired with the reference"


def test_what_took_part_in_every_round_is_named_by_the_record(tmp_path):
    """Not the first record in the folder, which may be of another back-end, but the one that the session names."""
    stored = in_two_blocks(tmp_path)
    turned = StoredSession(stored.session, tuple(reversed(stored.records)), stored.folder)
    timings = SessionTimings.read(evidence_of(turned, {}, ("bert", "distilbert"), "bert"))
    assert timings.first == Way("bert", "eager", "fp32")


def test_a_reference_run_in_another_way_is_named_so(tmp_path):
    """Where the reference model failed on a back-end the ratio is to it in PyTorch, and says that."""
    stored = several_ways(tmp_path, {BERT: 0.4, DISTILBERT: 0.2, DISTILBERT_FAST: 0.08})
    figures = figures_of(stored)
    assert speedup(figures, DISTILBERT_FAST, "bert") is None
    row = speedup(figures, DISTILBERT_FAST, "bert eager fp32")
    assert row.value == pytest.approx(5, rel=0.02)
    latency = figures.first("distilbert", "latency", backend="fast")
    assert (latency.reference, latency.ratio) == ("bert eager fp32", pytest.approx(0.2, rel=0.02))


def test_one_common_round_is_not_enough(tmp_path):
    """A single round says nothing about the spread: no ratio from it."""
    timings = factories.timing_rows({"bert": 0.16, "distilbert": 0.08}, shapes=SHAPE)
    kept = timings[(timings["model"] == "bert") | (timings["round"] == 0)]
    figures = figures_of(factories.stored_session(tmp_path, timings=kept))
    assert figures.first("distilbert", "speedup") is None
    assert figures.first("distilbert", "latency").value is not None


def test_stopping_at_a_precision_is_corrected_for(tmp_path):
    """Rounds that were added until intervals were narrow give wider intervals, and say why."""
    stored = one_way(tmp_path)
    plain = figures_of(stored).first("distilbert", "speedup")
    stopped = figures_of(with_settings(stored, precision=0.02)).first("distilbert", "speedup")
    assert columns(stopped)["interval_method"].endswith("corrected for stopping at a precision")
    assert stopped.high - stopped.low > plain.high - plain.low
    assert stopped.value == plain.value


def test_older_timings_without_a_number_format(tmp_path):
    """Rows of sessions that had no dtype column are of fp32."""
    timings = SessionTimings()
    timings.add(factories.timing_rows({"bert": 0.1}, shapes=SHAPE).drop(columns="dtype"))
    assert list(timings.passes) == [("1x128", Way("bert", "eager", "fp32"))]
    stored = one_way(tmp_path)
    assert SessionTimings.read(evidence_of(stored, {}, ("bert",), "bert")).passes.keys() >= timings.passes.keys()


def test_lost_shapes_are_rows(tmp_path):
    """A shape that failed or was skipped is a row with the reason and its place, beside those that were timed."""
    lost = {
        "8x512": ["OutOfMemory", "bert: out of memory"],
        "32x512": ["Skipped", "bert: skipped, since 8x512 failed"],
        "8xnatural": ["TimedOut", "bert: no answer"],
        "8xsplit": ["TimedOut", "bert: no answer"],
    }
    rows = rows_of(with_settings(one_way(tmp_path), failed_shapes=lost))
    bad = [row for row in rows if row.model == "bert" and row.status != "ok"]
    assert [(row.batch_size, row.sequence_length, row.scenario, row.status) for row in bad] == [
        (8, 512, "fixed", "failed"),
        (32, 512, "fixed", "skipped"),
        (8, None, "natural", "failed"),
        (8, None, "offline", "failed"),
    ]
    assert [row.note for row in bad[:2]] == ["bert: out of memory", "bert: skipped, since 8x512 failed"]
    assert all(row.value is None and row.quantity == "latency" for row in bad)
    assert any(row.model == "bert" and row.quantity == "latency" and row.value for row in rows)


def failed(stored, **settings):
    """The session where every speed record is a failed one."""
    error = Failure("WrongOutput", "wrong answers")
    return changed(
        stored,
        lambda record: dataclasses.replace(
            record,
            status="failed",
            error=error,
            measurements=(Measurement("output_error", "1", (0.9,), statistic="audited"),),
            settings=record.settings | settings,
        ),
    )


def test_a_failed_run_is_one_row_and_keeps_its_audit(tmp_path):
    """A back-end that is fast and wrong has no latency, but the error that condemns it is there."""
    rows = [row for row in rows_of(failed(one_way(tmp_path))) if row.model == "bert"]
    (latency,) = (row for row in rows if row.quantity == "latency")
    assert (latency.status, latency.note, latency.value) == ("failed", "wrong answers", None)
    (error,) = (row for row in rows if row.quantity == "output_error")
    assert error.value == 0.9


def test_a_run_of_which_every_shape_is_lost_names_each(tmp_path):
    """Each shape has its reason; a part of them lost does not hide why the rest has no figure."""
    lost = {"1x128": ["OutOfMemory", "out of memory"]}
    rows = rows_of(failed(one_way(tmp_path), failed_shapes=lost))
    (row,) = (row for row in rows if row.model == "bert" and row.status != "ok")
    assert (row.batch_size, row.sequence_length, row.note) == (1, 128, "out of memory")
    rows = rows_of(failed(one_way(tmp_path / "b"), failed_shapes=lost, shapes=["1x128", "8x128"]))
    (row,) = (row for row in rows if row.model == "bert" and row.status != "ok")
    assert (row.batch_size, row.note) == (None, "wrong answers")


@pytest.mark.parametrize(
    ("turns", "there"), [(6, ()), (7, ("p90",)), (13, ("p90", "p95")), (67, ("p90", "p95", "p99"))]
)
def test_percentiles_need_their_samples(tmp_path, turns, there):
    """Of 60, 70, 130 and 670 passes those percentiles are given that so many allow; the others say what they need."""
    rows = rows_of(one_way(tmp_path, turns=turns))
    found = {row.statistic: row for row in rows if row.model == "bert" and row.quantity == "latency"}
    for name, share in (("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        row = found[name]
        assert (row.value is not None) == (name in there)
        assert (row.n, row.n_unit) == (10 * turns, "passes")
        if name not in there:
            assert row.note == f"a {name} needs {samples_needed(share)} timed passes, there are {10 * turns}"
    assert [samples_needed(share) for share in (0.9, 0.95, 0.99)] == [64, 130, 662]


def test_percentiles_are_of_passes(tmp_path):
    """The p95 is an order statistic of all timed passes, above the median."""
    stored = one_way(tmp_path, turns=13)
    row = figures_of(stored).first("bert", "latency", statistic="p95")
    timings = SessionTimings.read(evidence_of(stored, {}, ("bert",), "bert"))
    passes = sorted(timings.passes["1x128", Way(*BERT)])
    assert row.value == passes[math.ceil(0.95 * 130) - 1]


def test_tokenizer_and_whole_stand_apart(tmp_path):
    """Where inputs were texts, the tokenizer alone and from text to output are figures beside the model alone."""
    figures = figures_of(one_way(tmp_path, shapes=((1, None), (1, 128)), texts=True))
    alone, tokenizer, whole = (
        figures.first("bert", "latency", statistic=statistic, scenario="natural").value
        for statistic in ("median", "tokenization", "end-to-end")
    )
    assert tokenizer == pytest.approx(0.1 * alone, rel=0.02)
    assert whole == pytest.approx(1.1 * alone, rel=0.02)


def split_session(folder):
    """A whole split of three batches in each of three rounds: two equal ones and a long one at which distilbert wins."""
    timings = factories.timing_rows(
        {"bert": 1.0, "distilbert": 1.0}, shapes=((1, "split"),), rounds=3, turns=3, passes=1, noise=0.0, texts=True
    )
    long = timings["turn"] == 2
    timings["seconds"] = 1.0
    timings.loc[long & (timings["model"] == "bert"), "seconds"] = 20.0
    timings.loc[long & (timings["model"] == "distilbert"), "seconds"] = 10.0
    return factories.stored_session(folder, timings=timings)


def test_a_whole_split_is_a_sum(tmp_path):
    """The time for a split is the sum over its batches, its throughput examples over that."""
    figures = figures_of(split_session(tmp_path))
    whole = figures.first("distilbert", "inference_time", statistic="model")
    assert (whole.value, whole.n, whole.n_unit, whole.scenario) == (3 * 12.0, 9, "examples", "offline")
    assert figures.first("distilbert", "throughput", statistic="model").value == pytest.approx(9 / 36)
    assert figures.first("distilbert", "throughput", statistic="median") is None
    assert figures.first("distilbert", "inference_time", statistic="end-to-end") is not None


def test_a_whole_split_has_the_ratio_of_sums(tmp_path):
    """Not the median batch decides, which here is equal, but the time for all of them."""
    figures = figures_of(split_session(tmp_path))
    assert figures.first("distilbert", "speedup").value == pytest.approx(22 / 12)
    assert figures.first("distilbert", "inference_time", statistic="model").ratio == pytest.approx(12 / 22)
    assert figures.first("distilbert", "throughput", statistic="model").ratio == pytest.approx(22 / 12)


def test_share_of_the_ceiling(tmp_path):
    """Operations over time over the best of the ceiling's readings, which is also the reading shown."""
    timings = factories.timing_rows({"bert": 0.16, "distilbert": 0.08}, shapes=SHAPE)
    stored = factories.stored_session(tmp_path, records=[factories.size_record("bert", flops=22e9)], timings=timings)
    ceiling = Measurement("ceiling", "FLOP/s", (3e11, 4e11), statistic="fp32")
    figures = figures_of(with_measurements(stored, ceiling))
    share = figures.first("bert", "ceiling_share")
    latency = figures.first("bert", "latency", statistic="median")
    assert share.value == pytest.approx(22e9 / latency.value / 4e11)
    assert figures.first("bert", "ceiling").value == 4e11
    assert (figures.first("bert", "ceiling").n, share.ratio) == (2, None)
    assert figures.first("distilbert", "ceiling_share") is None  # its operations were not counted


def test_interval_of_a_latency_is_above_zero():
    """Two rounds that differ by much give a wide interval, which is still one of times."""
    found = over_rounds([0.001, 0.004])
    assert found.value == pytest.approx(0.002)
    assert 0 < found.low < found.value < found.high
    assert found.low * found.high == pytest.approx(found.value**2)
    assert method_text(found.method) == "t-interval over 2 rounds, of logarithms"
    assert over_rounds([0.25]).value == 0.25
    assert over_rounds([0.25]).low is None


@pytest.mark.parametrize("quantity", ["padding_waste", "input_length", "output_error", "ceiling"])
def test_no_ratio_where_it_would_say_nothing(tmp_path, quantity):
    """Padding, lengths, errors and the machine's ceiling are not divided by the reference's."""
    stored = with_measurements(one_way(tmp_path), Measurement(quantity, "1", (0.5,)))
    assert figures_of(stored).first("distilbert", quantity).ratio is None


def test_other_figures_of_a_run_are_shown_as_they_are(tmp_path):
    """Energy, server rates and scores of the audit keep value, shape and note."""
    energy = Measurement(
        "energy", "J/sample", (2.5,), batch_size=1, sequence_length=128, n=40, n_unit="samples", note="RAPL"
    )
    row = figures_of(with_measurements(one_way(tmp_path), energy)).first("bert", "energy")
    assert (row.value, row.batch_size, row.sequence_length, row.n, row.note) == (2.5, 1, 128, 40, "RAPL")


@pytest.mark.parametrize(
    ("held_bound", "caveat"),
    [
        (True, TriedLive("odd words", held_bound=True)),
        (False, TriedLive("odd words", held_bound=False)),
        (None, MeasurementNote("odd words")),
    ],
)
def test_outcome_of_a_live_trial_is_what_the_record_states(tmp_path, held_bound, caveat):
    """Whether a bound was held is a fact of the record, whatever its note says; without the fact nothing is concluded."""
    rate = Measurement("server_rate", "1/s", (30.0,), statistic="live", note="odd words", held_bound=held_bound)
    row = figures_of(with_measurements(one_way(tmp_path), rate)).first("bert", "server_rate")
    assert row.caveats == (caveat,)
    assert columns(row)["note"] == "odd words"


@pytest.mark.parametrize(
    ("length", "scenario", "label"),
    [(128, "fixed", "8x128"), (None, "natural", "8xnatural"), (None, "offline", "8xsplit")],
)
def test_labels_of_shapes(length, scenario, label):
    """A measurement is found among raw rows by the label of its shape."""
    assert (
        shape_of(Measurement("latency", "s", (1.0,), scenario=scenario, batch_size=8, sequence_length=length)) == label
    )
