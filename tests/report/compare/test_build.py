"""From stored sessions to long rows, ratios, intervals, uses and notes."""

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.records.record import Measurement, Undefined
from bertbench.records.stored import StoredSession
from bertbench.report.compare.build import build
from bertbench.report.compare.notes import merged
from bertbench.report.row import HEADER, columns
from bertbench.report.tables.figures import Figures
from bertbench.specs.models import Published
from tests import factories

MODELS = ("bert", "distilbert", "albert")
SECONDS = {"bert": 0.16, "distilbert": 0.08, "albert": 0.161}
NOW = datetime(2026, 11, 24, 12, 3, tzinfo=UTC)


def specs(*names, **published):
    """Model specs by name; `published` holds what was published about one."""
    return {
        name: factories.model_spec(name, compression=f"method of {name}", published=published.get(name, ()))
        for name in (names or MODELS)
    }


def sizes():
    """Size and memory records of the three models."""
    return [
        factories.size_record("bert"),
        factories.size_record("distilbert", 66_362_880, flops=11.17e9),
        factories.size_record("albert", 11_683_584, 87_998_208),
        factories.memory_record("bert", 700e6),
        factories.memory_record("distilbert", 450e6),
        factories.memory_record("albert", 300e6),
    ]


def report_of(stored, models=MODELS, reference="bert", catalog=None):
    """The report and an index over its rows."""
    report = build(stored, catalog or specs(*models), models, reference, now=NOW)
    return report, Figures(report.rows)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A session in which everything was measured."""
    return factories.stored_session(
        tmp_path_factory.mktemp("full"),
        session=factories.session_record(MODELS),
        records=sizes(),
        timings=factories.timing_rows(SECONDS),
        scored=[
            ("bert", factories.predictions(0.92, 2000, 1)),
            ("distilbert", factories.predictions(0.88, 2000, 2)),
            ("albert", factories.predictions(0.92, 2000, 3)),
        ],
    )


def cell(report, row, model):
    """A cell of the comparison table by row title and model, whose column's head starts with its title."""
    table, title = report.tables[0], factories.model_spec(model).title
    index = next(i for i, head in enumerate(table.columns) if head.startswith(title))
    return next(entries for entries in table.rows if entries[0] == row)[index]


def test_every_figure_of_the_issue_is_a_row(full):
    """Sizes, FLOPs, speed at every shape, memory, scores, retention, training time and texts are all there."""
    report, figures = report_of(full)
    for model in MODELS:
        found = {(row.quantity, row.statistic) for row in report.rows if row.model == model}
        assert found >= {
            ("compression_method", "text"),
            ("parameters", "unique"),
            ("parameters", "executed"),
            ("parameters", "unique/attention"),
            ("parameter_bytes", "value"),
            ("flops", "value"),
            ("latency", "median"),
            ("latency", "p90"),
            ("speedup", "median"),
            ("throughput", "median"),
            ("peak_memory", "peak"),
            ("accuracy", "mean"),
            ("score", "mean"),
            ("retention", "mean"),
            ("training_time", "value"),
            ("best_use_case", "text"),
        }
        assert len(figures.all(model, "latency", statistic="median")) == 2
    assert HEADER[0] == "suite"
    assert all(row.run_ids for row in report.rows if row.value is not None)
    assert {row.session_id for row in report.rows} == {factories.SESSION_ID}


def test_speedup_is_paired_and_has_an_interval(full):
    """Speed-up is reference / model from turns taken side by side; ratio is the inverse, with inverse bounds."""
    _, figures = report_of(full)
    speedup = figures.first("distilbert", "speedup")
    latency = figures.first("distilbert", "latency", statistic="median")
    assert speedup.value == pytest.approx(2, rel=0.01)
    assert speedup.low < 2.02
    assert speedup.high > 1.98
    assert speedup.reference == "bert"
    assert "paired log-ratio" in columns(speedup)["interval_method"]
    assert latency.ratio == pytest.approx(1 / speedup.value)
    assert (latency.ratio_low, latency.ratio_high) == pytest.approx((1 / speedup.high, 1 / speedup.low))
    throughput = figures.first("distilbert", "throughput", batch_size=8)
    assert throughput.value == pytest.approx(8 / figures.first("distilbert", "latency", batch_size=8).value)
    assert throughput.ratio == pytest.approx(2, rel=0.01)


def test_reference_has_ratio_one_without_interval(full):
    """The reference's own ratios are 1 and have no interval."""
    _, figures = report_of(full)
    for quantity in ("speedup", "latency", "throughput", "parameters", "score", "retention"):
        row = figures.first("bert", quantity)
        assert (row.ratio, row.ratio_low, row.ratio_high) == (1.0, None, None)
    assert figures.first("bert", "speedup").low is None


def test_ratios_of_exact_counts(full):
    """Counts are divided as they are and have no interval."""
    _, figures = report_of(full)
    row = figures.first("distilbert", "parameters", statistic="unique")
    assert row.ratio == pytest.approx(66_362_880 / 109_482_240)
    assert row.ratio_low is None
    assert figures.first("albert", "parameters", statistic="executed").value == 87_998_208


def test_warm_up_is_left_out(full):
    """Untimed passes, here five times as slow, enter neither latency nor counts."""
    _, figures = report_of(full)
    latency = figures.first("bert", "latency", statistic="median")
    assert latency.value == pytest.approx(0.16 * 1.1, rel=0.05)
    assert (latency.n, latency.n_unit) == (70, "passes")
    assert figures.first("bert", "latency", statistic="p90").value < 0.16 * 1.3


def test_p90_needs_enough_passes(tmp_path):
    """With fewer than 64 passes the p90 is empty and says how many are needed, in rows and under the table."""
    timings = factories.timing_rows({"bert": 0.1, "distilbert": 0.05}, turns=3)
    stored = factories.stored_session(tmp_path, timings=timings)
    report, _ = report_of(stored, ("bert", "distilbert"))
    row = next(row for row in report.rows if row.statistic == "p90")
    assert row.value is None
    assert row.note == "a p90 needs 64 timed passes, there are 30"
    detail = report.tables[1]
    assert detail.rows[0][detail.columns.index("Latency p90 1x128")] == ""
    assert any("64 timed passes" in note for note in detail.notes)


def natural_report(folder, short_passes, **counts):
    """Rows of 10 ms examples, of which a turn holds `short_passes`, and 100 ms examples, one pass a turn, one in five."""
    rows = factories.timing_rows({"bert": 0.01, "distilbert": 0.01}, shapes=((1, None),), passes=short_passes, **counts)
    is_long = (rows["turn"] % 5 == 0) & ~rows["warmup"]
    surplus = is_long & rows.duplicated(["round", "turn", "model", "warmup"])
    rows.loc[is_long, "seconds"] *= 10
    report, figures = report_of(factories.stored_session(folder, timings=rows[~surplus]), ("bert", "distilbert"))
    return figures.first("bert", "latency", statistic="median"), next(
        row for row in report.rows if (row.model, row.statistic) == ("bert", "p90")
    )


def test_p90_of_natural_lengths_is_over_turns(tmp_path):
    """Short examples get more passes in a turn and do not thereby count more: one in five long ones are the p90."""
    median, row = natural_report(tmp_path, short_passes=6, rounds=5, turns=15)
    assert row.value > 0.09
    assert (row.n, row.n_unit) == (75, "turns")
    assert (median.n, median.n_unit) == (5 * (12 * 6 + 3), "passes")


def test_p90_of_natural_lengths_needs_enough_turns(tmp_path):
    """Many passes of few turns are not enough samples where lengths are natural."""
    _, row = natural_report(tmp_path, short_passes=6, rounds=5, turns=10)
    assert row.value is None
    assert row.note == "a p90 needs 64 timed turns, there are 50"


def test_headline_shape_comes_first(tmp_path):
    """The first shape of the settings is the one quoted, wherever it stands in the record."""
    timings = factories.timing_rows({"bert": 0.1, "distilbert": 0.05}, shapes=((1, 128), (1, None), (8, 128)))
    stored = factories.stored_session(tmp_path, timings=timings)
    records = tuple(
        dataclasses.replace(
            record,
            settings=record.settings | {"shapes": ["1xnatural", "8x128", "1x128"]},
        )
        for record in stored.records
    )
    report, figures = report_of(StoredSession(stored.session, records, stored.folder), ("bert", "distilbert"))
    assert figures.first("bert", "latency").sequence_length is None
    assert "Latency median 1 of natural length" in report.tables[1].columns
    assert "Throughput 8x128" in report.tables[1].columns


def test_without_raw_rows_there_is_no_ratio(full):
    """Round medians alone give latencies but neither a paired ratio nor a p90."""
    records = tuple(dataclasses.replace(record, sidecars={}) for record in full.records)
    _, figures = report_of(StoredSession(full.session, records, full.folder))
    assert figures.first("distilbert", "latency", statistic="median").low is not None
    assert figures.first("distilbert", "speedup") is None
    assert figures.first("bert", "latency", statistic="p90") is None


def test_blocks_are_paired_by_round(tmp_path):
    """Where models were timed in blocks of rounds, each is paired with the reference of its own rounds."""
    one = factories.timing_rows({"bert": 0.1, "distilbert": 0.05})
    slow = factories.timing_rows({"bert": 1.0, "albert": 1.0}, seed=5)
    rows = pd.concat([one.assign(round=2 * one["round"]), slow.assign(round=2 * slow["round"] + 1)])
    _, figures = report_of(factories.stored_session(tmp_path, timings=rows))
    assert figures.first("distilbert", "speedup").value == pytest.approx(2, rel=0.01)
    assert figures.first("albert", "speedup").value == pytest.approx(1, rel=0.01)
    assert figures.first("albert", "speedup").n == 5


def test_lost_raw_rows_are_an_error(full, tmp_path):
    """A missing or changed sidecar is an error that says what to do."""
    with pytest.raises(StoreError, match="measure again"):
        report_of(StoredSession(full.session, full.records, tmp_path))


def test_scores_and_retention(full):
    """A score has Jeffreys' interval, retention a paired one, both of this checkpoint, and the difference its tests."""
    report, figures = report_of(full)
    score = figures.first("distilbert", "score", statistic="mean")
    assert score.value == figures.first("distilbert", "accuracy").value
    assert columns(score)["interval_method"].startswith(
        "Jeffreys interval over examples; ratio: paired Bayesian bootstrap"
    )
    assert columns(score)["interval_scope"] == "this checkpoint"
    assert (score.n, score.n_unit, score.split) == (2000, "examples", "validation")
    retention = figures.first("distilbert", "retention")
    assert retention.value == pytest.approx(score.value / figures.first("bert", "score").value)
    assert retention.low < retention.value < retention.high < 1
    assert columns(retention)["interval_method"] == "paired Bayesian bootstrap over examples (2,000 draws)"
    assert columns(retention)["interval_scope"] == "this checkpoint"
    difference = figures.first("distilbert", "score", statistic="difference", reference="bert")
    assert difference.value == pytest.approx(score.value - figures.first("bert", "score").value)
    assert "exact McNemar p = " in difference.note
    assert "smallest detectable difference" in difference.note
    assert "keeps 9" in cell(report, "Accuracy", "distilbert")


def test_pairs_by_example_not_by_place(full, tmp_path):
    """Predictions in another order give the same paired interval."""
    frame = factories.predictions(0.88, 2000, 2).sample(frac=1, random_state=0)
    scored = [("bert", factories.predictions(0.92, 2000, 1)), ("distilbert", frame)]
    stored = factories.stored_session(tmp_path, scored=scored)
    _, shuffled = report_of(stored, ("bert", "distilbert"))
    expected = report_of(full)[1].first("distilbert", "retention")
    found = shuffled.first("distilbert", "retention")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)


def test_other_examples_are_not_paired(tmp_path):
    """Models that saw different examples get a ratio without an interval."""
    scored = [("bert", factories.predictions(0.92, 300)), ("distilbert", factories.predictions(0.9, 200))]
    _, figures = report_of(factories.stored_session(tmp_path, scored=scored), ("bert", "distilbert"))
    retention = figures.first("distilbert", "retention")
    assert retention.value is not None
    assert retention.low is None
    assert figures.first("distilbert", "score").low is not None


def test_several_seeds(tmp_path):
    """Scores are means over seeds; from three on intervals hold for other seeds too, and say so."""
    scored = [
        (model, factories.predictions(share, 400, 10 * seed + len(model)), {"seed": seed})
        for model, share in (("bert", 0.9), ("distilbert", 0.85))
        for seed in (1, 2, 3)
    ]
    report, figures = report_of(factories.stored_session(tmp_path, scored=scored), ("bert", "distilbert"))
    score = figures.first("distilbert", "score", statistic="mean")
    expected = np.mean(
        [(frame["prediction"] == frame["label"]).mean() for model, frame, _ in scored if model != "bert"]
    )
    assert score.value == pytest.approx(expected)
    assert score.note == "mean of seeds 1, 2, 3"
    assert len(score.run_ids) == 3
    assert columns(score)["interval_method"].startswith("Student's t over seeds and Bayesian bootstrap over examples")
    assert "seeds and paired Bayesian" in columns(figures.first("distilbert", "retention"))["interval_method"]
    assert (
        columns(score)["interval_scope"]
        == columns(figures.first("distilbert", "retention"))["interval_scope"]
        == "method"
    )
    assert (
        columns(figures.first("distilbert", "score", statistic="seed_mean"))["interval_scope"]
        == "method on these examples"
    )
    assert columns(figures.first("distilbert", "training_time"))["interval_scope"] is None
    assert "checkpoint" not in cell(report, "Accuracy", "distilbert")
    assert figures.first("bert", "training_time").value == pytest.approx(62)
    assert any("seeds 1, 2, 3" in note for note in report.tables[0].notes)


def test_mean_of_two_metrics(tmp_path):
    """A score of two metrics is their mean, with an interval of its own."""
    task = factories.task_spec("mrpc", metrics=("accuracy", "f1"), primary_metrics=("accuracy", "f1"))
    scored = [
        ("bert", factories.predictions(0.88, 400, 1), {"task": task}),
        ("distilbert", factories.predictions(0.85, 400, 2), {"task": task}),
    ]
    session = factories.session_record(tasks=("mrpc",))
    report, figures = report_of(
        factories.stored_session(tmp_path, scored=scored, session=session), ("bert", "distilbert")
    )
    parts = [figures.first("bert", metric).value for metric in ("accuracy", "f1")]
    score = figures.first("bert", "score", statistic="mean")
    assert score.value == pytest.approx(np.mean(parts))
    assert score.low < score.value < score.high
    assert columns(score)["interval_method"].startswith("Bayesian bootstrap over examples")
    assert "mrpc mean of accuracy and f1" in cell(report, "Accuracy", "bert")


def test_regression_and_reference_at_zero(tmp_path):
    """Correlations are compared too; there is no share of a reference's score that is not above zero."""
    task = factories.task_spec(
        "stsb", labels=None, metrics=("pearson", "spearman"), primary_metrics=("pearson", "spearman")
    )
    truth = np.linspace(0, 5, 200)
    noise = np.random.default_rng(0).normal(size=200)

    def frame(values):
        return factories.predictions(1, 200).assign(prediction=values, label=truth)

    scored = [("bert", frame(-truth), {"task": task}), ("distilbert", frame(truth + noise), {"task": task})]
    _, figures = report_of(factories.stored_session(tmp_path, scored=scored), ("bert", "distilbert"))
    assert figures.first("bert", "score").value == pytest.approx(-1)
    assert figures.first("distilbert", "pearson").low > 0.7
    assert figures.first("distilbert", "retention") is None
    assert figures.first("distilbert", "score").ratio is None
    assert figures.first("distilbert", "score", statistic="difference").value > 1.5


def _constant(frame):
    return frame.assign(prediction=2.5)


def _similar(noise=0.0):
    truth = np.linspace(0, 5, 200)
    values = truth + noise * np.random.default_rng(0).normal(size=200)
    return factories.predictions(1, 200).assign(prediction=values, label=truth)


CLOSE = factories.task_spec(
    "stsb", labels=None, metrics=("pearson", "spearman"), primary_metrics=("pearson", "spearman")
)


def test_undefined_scores_have_rows(tmp_path):
    """A constant beside a defined score: rows without value and with the metric's reason; its model is no reference of anything."""
    undefined = tuple(
        Undefined(name, "pearson: all are equal", "validation", 200) for name in ("pearson", "spearman", "score")
    )
    scored = [
        ("bert", _constant(_similar()), {"task": CLOSE, "undefined": undefined}),
        ("distilbert", _similar(1.0), {"task": CLOSE}),
    ]
    report, figures = report_of(factories.stored_session(tmp_path, scored=scored), ("bert", "distilbert"))
    found = {row.quantity: row for row in report.rows if row.model == "bert" and row.status == "undefined"}
    assert set(found) == {"pearson", "spearman", "score"}
    assert (found["score"].value, found["score"].n, found["score"].split) == (None, 200, "validation")
    assert "all are equal" in found["score"].note
    assert "undefined on stsb" in cell(report, "Accuracy", "bert")
    assert figures.first("distilbert", "score").value > 0.7
    assert figures.first("distilbert", "score").ratio is None


def test_undefined_with_one_seed_alone(tmp_path):
    """A mean over seeds of which one has no value is none: the row names the seed; a record of before reasons were kept has one too."""
    record = factories.quality_record("bert", _constant(_similar()), CLOSE, seed=2)
    evaluated = Measurement("evaluation_time", "s", (1.0,), split="validation", n=200, n_unit="examples")
    scored = [
        ("bert", _similar(1.0), {"task": CLOSE, "seed": 1}),
        ("bert", _constant(_similar()), {"task": CLOSE, "seed": 2, "measurements": (*record.measurements, evaluated)}),
    ]
    report, _ = report_of(factories.stored_session(tmp_path, scored=scored), ("bert",))
    (row,) = [row for row in report.rows if row.quantity == "score" and row.status == "undefined"]
    assert "with seed 2: pearson and spearman: a correlation needs" in row.note
    assert not [row for row in report.rows if row.quantity == "score" and row.value is not None]


def test_two_splits(tmp_path):
    """Each split has its rows; the table and the use quote the first."""
    task = factories.task_spec("mnli", evaluation_splits=("matched", "mismatched"))
    scored = []
    for seed, model in enumerate(("bert", "distilbert")):
        frames = [
            factories.predictions(share, 300, seed, split=split)
            for split, share in (("matched", 0.9), ("mismatched", 0.6))
        ]
        scored.append((model, pd.concat(frames), {"task": task}))
    report, figures = report_of(factories.stored_session(tmp_path, scored=scored), ("bert", "distilbert"))
    assert [row.split for row in figures.all("bert", "score", statistic="mean")] == ["matched", "mismatched"]
    first = figures.first("bert", "score", split="matched")
    assert f"{first.value * 100:.1f}" in cell(report, "Accuracy", "bert")


def test_failed_and_skipped_runs_are_visible(full):
    """A failed or skipped run is a row with its message, and a line in its cell."""
    failures = [
        factories.failed("speed", "albert", "killed by signal 9"),
        factories.failed("quality", "albert", "diverged", task_name="sst2", seed=1),
        factories.failed("memory", "albert", "too large", status="skipped"),
    ]
    kept = tuple(record for record in full.records if record.model_name != "albert" or record.kind == "size")
    report, figures = report_of(StoredSession(full.session, (*kept, *failures), full.folder))
    bad = {(row.quantity, row.status): row.note for row in report.rows if row.status != "ok"}
    assert bad == {
        ("latency", "failed"): "killed by signal 9",
        ("peak_memory", "skipped"): "too large",
        ("score", "failed"): "diverged",
    }
    assert cell(report, "Speed", "albert") == "failed: killed by signal 9"
    assert "failed on sst2: diverged" in cell(report, "Accuracy", "albert")
    assert any("too large" in note for note in report.tables[1].notes)
    assert figures.first("distilbert", "retention").low is not None


def test_failed_reference_leaves_ratios_empty(full):
    """Without the reference's figures others keep theirs and have no ratio."""
    kept = tuple(record for record in full.records if record.model_name != "bert" or record.kind == "size")
    stored = StoredSession(full.session, (*kept, factories.failed("speed", "bert")), full.folder)
    _, figures = report_of(stored)
    assert figures.first("distilbert", "latency").value is not None
    assert figures.first("distilbert", "score").ratio is None
    assert figures.first("distilbert", "parameters").ratio is not None


def test_only_sizes(tmp_path):
    """A session without speed and quality gives a report that says what is missing."""
    stored = factories.stored_session(tmp_path, records=sizes()[:3])
    report, _ = report_of(stored)
    assert cell(report, "Speed", "bert") == "not measured"
    assert cell(report, "Accuracy", "albert") == "not measured"
    assert "quality not measured" in cell(report, "Best use case", "albert")
    assert "storage and download" in cell(report, "Best use case", "albert")


def test_nothing_at_all(tmp_path):
    """An empty session gives a report of empty cells."""
    report, _ = report_of(factories.stored_session(tmp_path))
    assert cell(report, "Compression method", "bert") == "as configured: method of bert\nnot measured"
    assert cell(report, "Model size", "bert") == "not measured"
    assert cell(report, "Best use case", "bert") == "not measured"
    assert not [row for row in report.rows if row.value is not None]


def test_one_model(full):
    """A single model is reported without comparisons."""
    report, _ = report_of(full, ("bert",))
    assert report.tables[0].columns == ("", "BERT (reference)")
    assert [entries[0] for entries in report.tables[1].rows] == ["BERT"]
    assert "no other model" in cell(report, "Best use case", "bert")


def test_reference_is_shown_even_if_not_asked_for(full):
    """A reference that is not among the models comes first: ratios to something unseen help nobody."""
    report, _ = report_of(full, ("distilbert",), catalog=specs())
    assert report.tables[0].columns == ("", "BERT (reference)", "DISTILBERT")
    assert [entries[0] for entries in report.tables[1].rows] == ["BERT", "DISTILBERT"]


def test_caveats_are_in_rows_and_cells(full):
    """Random weights are said in rows and beside the model's title, capped training in every cell it concerns."""
    records = tuple(
        dataclasses.replace(
            record, capped=record.kind == "quality", weights="random" if record.kind != "quality" else "fine-tuned"
        )
        for record in full.records
    )
    report, figures = report_of(StoredSession(full.session, records, full.folder))
    assert figures.first("bert", "latency").note == "random weights"
    assert figures.first("bert", "score").note == "training capped: 3,000 samples"
    heads = ("", "BERT (reference), random weights", "DISTILBERT, random weights", "ALBERT, random weights")
    assert report.tables[0].columns == heads
    assert "random weights" not in str(report.tables[0].rows)
    assert "(training capped: 3,000 samples; interval: this checkpoint)" in cell(report, "Accuracy", "distilbert")
    detail = dict(zip(report.tables[1].columns, report.tables[1].rows[0], strict=True))
    assert detail["Model"] == "BERT\n(random weights)"
    assert detail["Latency median 1x128"].endswith(" ms")
    assert "training capped" in detail["Score sst2"]


def test_only_models_on_random_weights_are_marked(full):
    """The mark stands at the one model that was measured without its weights, and at no model that has none."""
    records = tuple(
        dataclasses.replace(record, weights="random")
        if record.model_name != "bert" and record.kind != "quality"
        else record
        for record in full.records
    )
    invented = factories.model_spec("albert", checkpoint=None, config={"hidden_size": 8})
    catalog = specs() | {"albert": invented}
    report, figures = report_of(StoredSession(full.session, records, full.folder), catalog=catalog)
    assert report.tables[0].columns == ("", "BERT (reference)", "DISTILBERT, random weights", "ALBERT")
    assert [entries[0] for entries in report.tables[1].rows] == ["BERT", "DISTILBERT\n(random weights)", "ALBERT"]
    assert {figures.first(model, "latency").note for model in ("distilbert", "albert")} == {"random weights"}


def test_published_beside_measured(full):
    """A published figure of the same quantity and task stands in the row and the cell, with its source."""
    published = (
        Published(row="size", statement="66M", source="paper, Table 3", quantity="parameters", value=66e6),
        Published(
            row="accuracy",
            statement="91.3 on SST-2",
            source="Table 1",
            quantity="accuracy",
            value=91.3,
            unit="points",
            task="sst2",
        ),
        Published(
            row="accuracy",
            statement="59.9 on RTE",
            source="Table 1",
            quantity="accuracy",
            value=59.9,
            unit="points",
            task="rte",
        ),
        Published(row="speed", statement="60% faster", source="abstract", quantity="speedup", value=1.63),
        Published(row="use", statement="on devices", source="abstract"),
        Published(row="method", statement="distilled", source="abstract"),
    )
    report, figures = report_of(full, catalog=specs(*MODELS, distilbert=published))
    assert figures.first("distilbert", "parameters", statistic="unique").published == "66.0M (paper, Table 3)"
    assert figures.first("distilbert", "parameters", statistic="executed").published is None
    assert figures.first("distilbert", "score", statistic="mean").published == "91.3 (Table 1)"
    assert [(row.statistic, row.published) for row in figures.all("distilbert", "speedup")] == [
        ("median", "1.63x (abstract)"), ("median", None), ("peak", None),
    ]  # fmt: skip
    assert cell(report, "Accuracy", "distilbert").startswith("published: 91.3 on SST-2; Table 1\nmeasured: ")
    assert "RTE" not in cell(report, "Accuracy", "distilbert")
    assert "published: on devices; abstract" in cell(report, "Best use case", "distilbert")
    assert "as configured" not in cell(report, "Compression method", "distilbert")
    assert cell(report, "Compression method", "bert").startswith("as configured: method of bert\n")


def test_sharing_is_measured(full):
    """The method row says how many parameters a pass executes of those stored."""
    report, _ = report_of(full)
    once = "as configured: method of distilbert\nmeasured: a pass executes 66.4M parameters of 66.4M stored: each once"
    assert cell(report, "Compression method", "distilbert") == once
    shared = "measured: a pass executes 88.0M parameters of 11.7M stored: 7.53x, as layers are shared"
    assert cell(report, "Compression method", "albert").endswith(shared)


def test_uses(full):
    """The fastest, the smallest and the best are named, with what a saving costs."""
    report, _ = report_of(full)
    assert "derived: latency-bound serving: 1.99x [" in cell(report, "Best use case", "distilbert")
    assert "loses" in cell(report, "Best use case", "distilbert")
    assert "storage and download: 9.37x smaller weights" in cell(report, "Best use case", "albert")
    assert "memory-bound inference: 2.33x" in cell(report, "Best use case", "albert")
    for model in ("bert", "albert"):
        assert "when quality decides" in cell(report, "Best use case", model)
    assert "when quality decides" not in cell(report, "Best use case", "distilbert")
    assert "measured: " not in " ".join(cell(report, "Best use case", model) for model in MODELS)
    assert any(note.startswith("Best use case, by rule") for note in report.tables[0].notes)


def test_dominated_model_has_no_use_here(tmp_path):
    """A model beaten on every axis, quality included, is told so; without quality nobody is."""
    models = ("bert", "distilbert")
    records = [factories.size_record("bert"), factories.size_record("distilbert", 66_362_880)]
    timings = factories.timing_rows({"bert": 0.16, "distilbert": 0.08})
    scored = [("bert", factories.predictions(0.85, 500, 1)), ("distilbert", factories.predictions(0.95, 500, 2))]
    judged = factories.stored_session(tmp_path / "a", records=records, timings=timings, scored=scored)
    unjudged = factories.stored_session(tmp_path / "b", records=records, timings=timings)
    report, _ = report_of(judged, models)
    assert "none here: distilbert is at least as good on every axis" in cell(report, "Best use case", "bert")
    report, _ = report_of(unjudged, models)
    assert "none here" not in cell(report, "Best use case", "bert")
    assert "quality not measured" in cell(report, "Best use case", "bert")


def test_equal_models_are_not_told_apart(tmp_path):
    """Noise makes nobody the fastest, and equal scores nobody the best."""
    timings = factories.timing_rows({"bert": 0.16, "distilbert": 0.16}, noise=0.05)
    scored = [("bert", factories.predictions(0.9, 300, 1)), ("distilbert", factories.predictions(0.9, 300, 2))]
    report, _ = report_of(factories.stored_session(tmp_path, timings=timings, scored=scored), ("bert", "distilbert"))
    for model in ("bert", "distilbert"):
        assert "latency-bound" not in cell(report, "Best use case", model)
        assert "when quality decides" in cell(report, "Best use case", model)
    assert "not told apart" in cell(report, "Speed", "distilbert")


def test_reference_may_be_the_fastest(tmp_path):
    """Where all others are slower, the reference gets the use; a slower model is called slower."""
    timings = factories.timing_rows({"bert": 0.08, "distilbert": 0.16})
    report, _ = report_of(factories.stored_session(tmp_path, timings=timings), ("bert", "distilbert"))
    assert "latency-bound serving: no other model is better" in cell(report, "Best use case", "bert")
    assert "slower" in cell(report, "Speed", "distilbert")
    assert "no axis on which it is best" in cell(report, "Best use case", "distilbert")


def test_notes_say_what_was_trained_in_another_format(tmp_path):
    """Where training and evaluating took different number formats the note says so; evaluated checkpoints have no epochs."""
    ways = {"bert": {"mode": "fine-tune", "epochs": 3, "training_dtype": "bf16"}, "distilbert": {"mode": "evaluate"}}
    scored = [(name, factories.predictions(0.9), {"settings": factories.SETTINGS | own}) for name, own in ways.items()]
    report = build(factories.stored_session(tmp_path, scored=scored), specs(*ways), tuple(ways), "bert")
    lines = [note for note in report.tables[0].notes if note.startswith("sst2: ")]
    assert lines == ["sst2: fine-tune, evaluate, seed 1, 3 epochs, trained in bf16"]


def test_notes(full):
    """The notes say when, where and how it was measured."""
    report, _ = report_of(full)
    notes = "\n".join(report.tables[0].notes)
    for part in (
        f"session {factories.SESSION_ID}, measured 3 min ago",
        "1x128, 8x128",
        "5 rounds",
        "threads 2",
        "device cpu",
        "back-end eager fp32",
        "Test CPU, 2 cores",
        "torch 2.6.0",
        "sst2: fine-tune, seed 1, 3,000 training samples",
        "Jeffreys interval over examples",
        "paired Bayesian bootstrap over examples",
    ):
        assert part in notes
    old = factories.replaced(full, started_at="2026-11-14T12:00:00+00:00", complete=False)
    noted = build(old, specs(), MODELS, "bert", now=NOW + timedelta(hours=1)).tables[0].notes[0]
    assert noted == f"session {factories.SESSION_ID}, measured 10 days ago; incomplete: not every cell was measured"


def test_warnings_are_passed_on(full):
    """What a run warned of stands under the table, with the model's name."""
    notes = notes_with_warnings(full, {"memory-albert": ("swapped",), "quality-bert-sst2-1": ("diverging",)})
    assert {"albert: swapped", "bert: diverging"} <= set(notes)
    assert not {"swapped", "diverging"} & set(notes)


def test_warnings_of_the_speed_session_stand_once(full):
    """What every speed record repeats of the session's timing is said once, without a model's name."""
    notes = notes_with_warnings(full, {f"speed-{model}": ("rounds spread 12%", "clock is coarse") for model in MODELS})
    assert [note for note in notes if "rounds spread" in note] == ["rounds spread 12%"]
    assert notes.count("clock is coarse") == 1


def test_warnings_of_one_kind_are_one_line(full):
    """What is said of many shapes is said once, with the range of its figures; of very many some are named."""
    spread = [f"bert {size}x128: round medians spread by {11 + size}%; more rounds would help" for size in range(1, 10)]
    notes = notes_with_warnings(full, {f"speed-{model}": (*spread, "clock is coarse") for model in MODELS})
    found = [note for note in notes if "spread" in note]
    named = ", ".join(f"bert {size}x128" for size in range(1, 7))
    assert found == [f"{named} and 3 more: round medians spread by 12 to 20%; more rounds would help"]
    assert "clock is coarse" in notes


def test_only_like_lines_are_merged():
    """Lines that say something else stay apart; equal figures are no range, and the 32 of fp32 is none."""
    lines = [
        "a: fp32 took 1,000 s",
        "b: fp32 took 20 s",
        "c: fp16 took 20 s",
        "d",
        "e",
        "f: no, 2 of 3",
        "g: no, 2 of 3",
    ]
    assert merged(lines) == ["a, b: fp32 took 20 to 1,000 s", "c: fp16 took 20 s", "d", "e", "f, g: no, 2 of 3"]


def test_ways_of_running_share_a_line(tmp_path):
    """Back-ends and number formats that were timed alike are named in one line, in the order they were asked for."""
    ways = {
        ("bert", backend, dtype): 0.1 for backend, dtype in (("eager", "fp32"), ("eager", "bf16"), ("compile", "fp32"))
    }
    session = factories.session_record(
        ("bert",), request={"options": {"backends": ["eager", "compile"], "dtypes": ["fp32", "bf16"]}}
    )
    stored = factories.stored_session(tmp_path, session=session, timings=factories.timing_rows(ways, turns=2))
    (line,) = [note for note in report_of(stored, ("bert",))[0].tables[0].notes if note.startswith("speed: ")]
    assert line.endswith("back-ends eager fp32, eager bf16, compile fp32")


def test_rounds_are_those_of_a_comparison(full):
    """What took part in several blocks has more rounds than it is compared by; the notes tell the latter, once."""
    records = tuple(
        dataclasses.replace(record, settings=record.settings | {"rounds": 2 if record.kind == "speed" else None})
        for record in full.records
    )
    notes = report_of(StoredSession(full.session, records, full.folder))[0].tables[0].notes
    assert [", 2 rounds, " in note for note in notes if note.startswith("speed: ")] == [True]


def notes_with_warnings(stored, warnings):
    """The notes of the comparison table where runs, by id, gave warnings."""
    assert warnings.keys() <= {record.run_id for record in stored.records}
    records = tuple(dataclasses.replace(record, warnings=warnings.get(record.run_id, ())) for record in stored.records)
    return report_of(StoredSession(stored.session, records, stored.folder))[0].tables[0].notes


def test_a_repeated_run_counts_once(full):
    """Of two runs of the same cell the newer one counts."""
    newer = dataclasses.replace(
        factories.size_record("bert", 1000), run_id="size-bert-2", started_at="2026-11-24T13:00:00+00:00"
    )
    _, figures = report_of(StoredSession(full.session, (newer, *full.records), full.folder))
    assert [row.value for row in figures.all("bert", "parameters", statistic="unique")] == [1000]


def test_other_models_never_enter(full):
    """Figures of a model that was not asked for are in no row and no cell."""
    report, _ = report_of(full, ("bert", "distilbert"))
    assert {row.model for row in report.rows} == {"bert", "distilbert"}
    assert "albert" not in str(report.tables).lower()


def test_model_without_catalog_entry(full):
    """A model that the catalog does not have is described by the spec of its records."""
    report = build(full, {}, MODELS, "bert", now=NOW)
    assert cell(report, "Compression method", "distilbert").startswith("as configured: none\nmeasured: ")


def test_fast_enough(tmp_path):
    """Three models, two shapes and 5,000 predictions each are compared within 1.5 s."""
    scored = [(model, factories.predictions(0.9, 5000, seed)) for seed, model in enumerate(MODELS)]
    stored = factories.stored_session(tmp_path, records=sizes(), timings=factories.timing_rows(SECONDS), scored=scored)
    started = time.perf_counter()
    build(stored, specs(), MODELS, "bert", now=NOW)
    assert time.perf_counter() - started < 1.5


def test_tables_name_their_suite(full):
    """Where reports of several suites are joined their tables can be told apart."""
    report = build(full, {}, MODELS, "bert", now=NOW)
    assert all(table.title.endswith(f"(suite {full.session.suite})") for table in report.tables)


def test_what_loading_changed_is_beside_the_figures(full):
    """Counts of ids that were replaced and the like stand in the rows of that task, and only there."""
    records = tuple(
        dataclasses.replace(
            record, data_changes={"train": {"renumbered": 900}, "validation": {}} if record.kind == "quality" else {}
        )
        for record in full.records
    )
    _, figures = report_of(StoredSession(full.session, records, full.folder))
    assert "train data: 900 renumbered" in figures.first("bert", "score").note
    assert "renumbered" not in (figures.first("bert", "latency").note or "")
