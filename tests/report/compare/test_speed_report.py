"""The report of `bertbench speed`: which tables there are, what stands below which, and what is left out."""

import dataclasses
from datetime import UTC, datetime

import pytest

from bertbench.records.record import Failure, Measurement
from bertbench.records.stored import StoredSession
from bertbench.report.compare.speed_report import build_speed
from bertbench.report.row import Table
from bertbench.specs.papers import PaperSpec
from tests import factories

NOW = datetime(2026, 11, 24, 12, 3, tzinfo=UTC)
MODELS = ("bert", "distilbert")
SECONDS = {"bert": 0.16, "distilbert": 0.08}
PAPER = PaperSpec(
    name="paper",
    title="A paper, Table 3",
    source="arXiv:0000.00000 Table 3",
    models=MODELS,
    reference="bert",
    task="stsb",
    published={"bert": 668, "distilbert": 410},
    note="on another machine",
)


def report_of(stored, models=MODELS, reference="bert", **options):
    """The report."""
    specs = {name: factories.model_spec(name) for name in dict.fromkeys((*models, reference))}
    return build_speed(stored, specs, models, reference, NOW, **options)


def tables_of(report):
    """Tables by title, up to the first colon or bracket."""
    return {table.title.partition(":")[0].partition(" (")[0]: table for table in report.tables}


def sizes():
    """Sizes of both models."""
    return [factories.size_record("bert"), factories.size_record("distilbert", 66_362_880, flops=11.17e9)]


def session_of(folder, *, records=(), **options):
    """A session of both models timed in some way."""
    values = {"seconds": SECONDS, "shapes": ((1, 128),)} | options
    return factories.stored_session(folder, records=records, timings=factories.timing_rows(**values))


def with_measurements(stored, *measurements):
    """The session with more measurements in its speed records."""
    records = tuple(
        dataclasses.replace(record, measurements=(*record.measurements, *measurements))
        if record.kind == "speed"
        else record
        for record in stored.records
    )
    return StoredSession(stored.session, records, stored.folder)


def memory(model, resident, per_token, shapes=((1, 128), (8, 128), (32, 128))):
    """A memory record with peaks by shape."""
    peaks = [
        Measurement("peak_memory", "byte", (resident + per_token * size * length,), statistic="peak", batch_size=size,
                    sequence_length=length)
        for size, length in shapes
    ]  # fmt: skip
    loaded = Measurement("peak_memory", "byte", (resident,), statistic="resident")
    return factories.record("memory", model, measurements=(loaded, *peaks))


def test_fixed_shapes_give_times_and_memory(tmp_path):
    """Without texts and other back-ends the report is two tables: times, and bytes told apart."""
    records = [*sizes(), *(factories.memory_record(model) for model in MODELS)]
    report = report_of(session_of(tmp_path, records=records))
    assert list(tables_of(report)) == ["Speed", "Memory"]
    speed = tables_of(report)["Speed"]
    assert [row[:2] for row in speed.rows] == [("1x128", "bert"), ("1x128", "distilbert")]
    assert report.title == "Speed of bert, distilbert"


def test_rows_are_figures_only(tmp_path):
    """The texts of the comparison table are not among the rows; every figure of the session is."""
    report = report_of(session_of(tmp_path, records=sizes()))
    quantities = {row.quantity for row in report.rows}
    assert not quantities & {"compression_method", "best_use_case"}
    assert quantities >= {"parameters", "flops", "latency", "speedup", "throughput"}


def test_why_stands_below_the_times_and_the_rest_below_all(tmp_path):
    """Explanations are notes of the table they explain; session, machine and warnings do not drown it."""
    stored = with_measurements(
        session_of(tmp_path, records=sizes()), Measurement("ceiling", "FLOP/s", (3e11,), statistic="fp32")
    )
    report = report_of(stored)
    assert [note.partition(" at ")[0] for note in tables_of(report)["Speed"].notes] == ["bert", "distilbert"]
    assert report.notes[0].startswith(f"session {factories.SESSION_ID}, measured 3 min ago")
    assert any(note.startswith("speed: shapes") for note in report.notes)
    assert any(note.startswith("environment: ") for note in report.notes)


def test_texts_give_tables_of_their_own(tmp_path):
    """Natural lengths with a tokenizer, a whole split, padding and a server each have a table."""
    stored = session_of(tmp_path, shapes=((1, None), (8, "split")), texts=True)
    waste = [
        Measurement("padding_waste", "1", (share,), statistic=policy, scenario="natural", batch_size=8)
        for policy, share in (("pad-to-max", 0.9), ("dynamic", 0.5), ("length-sorted", 0.1))
    ]
    rate = Measurement("server_rate", "1/s", (20.0,), statistic="simulated", scenario="server", batch_size=1)
    report = report_of(with_measurements(stored, *waste, rate))
    assert list(tables_of(report)) == ["Speed", "Real texts", "Offline", "Padding", "Server"]
    assert {row[0] for row in tables_of(report)["Speed"].rows} == {"1xnatural"}
    assert tables_of(report)["Padding"].rows == (("8", "all", "90.0% (10.0x)", "50.0% (2.00x)", "10.0% (1.11x)"),)


def test_other_back_ends_give_a_table_of_answers(tmp_path):
    """Where something else than PyTorch in fp32 was run, its answers are shown against PyTorch's."""
    ways = {("bert", "eager", "fp32"): 0.2, ("bert", "fast", "int8"): 0.1}
    found = (
        Measurement("output_error", "1", (0.02,), statistic="audited", n=32),
        Measurement("changed_predictions", "1", (0.25,), n=32, note="a prediction is the class"),
    )
    report = report_of(with_measurements(session_of(tmp_path, seconds=ways), *found), ("bert",))
    table = tables_of(report)["Answers against PyTorch in fp32 on the same inputs"]
    assert table.title.endswith("(32 examples)")
    assert "a prediction is the class" in table.notes
    assert [row[:3] for row in table.rows] == [("bert", "eager fp32", "0.020"), ("bert", "fast int8", "0.020")]


def test_paper_first_with_what_it_published(tmp_path):
    """The published figures stand beside the measured ones, in a table and in the rows."""
    stored = session_of(tmp_path, shapes=((1, "split"),), texts=True, noise=0.0)
    report = report_of(stored, paper=PAPER)
    table = report.tables[0]
    assert table.title == "A paper, Table 3"
    cells = dict(zip(table.columns, table.rows[1], strict=True))
    assert (cells["Model"], cells["Published"], cells["Published ratio"]) == ("distilbert", "6 min 50 s", "0.614x")
    assert cells["Measured ratio"].startswith("0.500x")
    assert cells["Measured, model alone"].endswith(" s")
    assert table.notes == ("source: arXiv:0000.00000 Table 3", "on another machine")
    stated = [row for row in report.rows if row.published]
    assert [(row.model, row.quantity, row.statistic) for row in stated] == [
        (model, "inference_time", "model") for model in MODELS
    ]
    assert stated[0].published == "11 min 8 s (arXiv:0000.00000 Table 3)"
    assert not [row for row in report_of(stored).rows if row.published]


def test_paper_that_could_not_be_repeated(tmp_path):
    """Without a measurement the published figures stand alone, and nothing is made up."""
    report = report_of(factories.stored_session(tmp_path, records=sizes()), paper=PAPER)
    assert report.tables[0].rows == (
        ("bert", "11 min 8 s", "", "", "1.00x", ""),
        ("distilbert", "6 min 50 s", "", "", "0.614x", ""),
    )


def test_failures_stand_below_the_times_once(tmp_path):
    """What failed says why, the same reason for several models once."""
    message = "a sequence length of 600 is asked for, and it takes 512 tokens at most"
    records = [factories.failed("speed", model, f"{model}: {message}", settings=factories.SETTINGS) for model in MODELS]
    report = report_of(factories.stored_session(tmp_path, records=records))
    assert tables_of(report)["Speed"].rows == (("all", "bert", "failed"), ("all", "distilbert", "failed"))
    assert tables_of(report)["Speed"].notes == (f"bert, distilbert: {message}",)


def test_random_weights_are_said(tmp_path):
    """Models that were released but measured without their weights are named; invented ones are not."""
    stored = session_of(tmp_path)
    records = tuple(dataclasses.replace(record, weights="random") for record in stored.records)
    random = StoredSession(stored.session, records, stored.folder)
    assert "on random weights, which cost what trained ones do: bert, distilbert" in report_of(random).notes
    invented = factories.model_spec("bert", checkpoint=None, config={"hidden_size": 8})
    report = build_speed(random, {"bert": invented}, ("bert",), "bert", NOW)
    assert not any("random weights" in note for note in report.notes)


@pytest.mark.parametrize(("lightest", "told"), [(11e6, True), (200e6, False)])
def test_memory_notes_tell_surprises_only(tmp_path, lightest, told):
    """Said is where smaller weights need more memory; not where they need less, nor of weights that are not smaller."""
    records = [
        factories.size_record("bert"),
        factories.size_record("albert", int(lightest)),
        memory("bert", 440e6, 50e3),
        memory("albert", 50e6, 900e3),
    ]
    report = report_of(factories.stored_session(tmp_path, records=records), ("bert", "albert"))
    notes = tables_of(report)["Memory"].notes
    assert len(notes) == told
    assert all(note.startswith("peak memory at inference: albert needs less than bert up to 1x128") for note in notes)
    calm = [
        factories.size_record("bert"),
        factories.size_record("albert", 11),
        memory("bert", 440e6, 50e3),
        memory("albert", 50e6, 9),
    ]
    report = report_of(factories.stored_session(tmp_path / "calm", records=calm), ("bert", "albert"))
    assert tables_of(report)["Memory"].notes == ()


def test_memory_that_failed_is_said(tmp_path):
    """A model whose memory could not be measured has empty cells and a reason."""
    records = [factories.memory_record("bert"), factories.failed("memory", "distilbert", "out of memory")]
    report = report_of(factories.stored_session(tmp_path, records=records))
    assert tables_of(report)["Memory"].notes == ("distilbert: memory failed: out of memory",)


def test_an_empty_session_has_no_tables(tmp_path):
    """Nothing measured, nothing shown but the session."""
    report = report_of(factories.stored_session(tmp_path))
    assert report.tables == ()
    assert report.notes[0].startswith("session ")


def test_reference_is_shown_even_if_not_asked_for(tmp_path):
    """What ratios refer to is in the table, first."""
    report = report_of(session_of(tmp_path), ("distilbert",))
    assert [row[1] for row in tables_of(report)["Speed"].rows] == ["bert", "distilbert"]


def test_failure_of_one_back_end_leaves_the_others(tmp_path):
    """A wrong back-end is a failed row among the others, and its message is below."""
    ways = {("bert", "eager", "fp32"): 0.2, ("bert", "fast", "int8"): 0.1}
    stored = session_of(tmp_path, seconds=ways)
    records = tuple(
        dataclasses.replace(
            record, status="failed", measurements=(), error=Failure("WrongOutput", "bert: wrong answers")
        )
        if record.settings["backend"] == "fast"
        else record
        for record in stored.records
    )
    table = tables_of(report_of(StoredSession(stored.session, records, stored.folder), ("bert",)))["Speed"]
    assert [(row[0], row[2], row[3]) for row in table.rows] == [
        ("1x128", "eager fp32", table.rows[0][3]),
        ("all", "fast int8", "failed"),
    ]
    assert table.notes == ("bert: wrong answers",)


def test_long_names_are_shortened_in_tables():
    """A name of which another begins with it is not cut out of that one; everything else in the table stays."""
    table = Table(
        "Speed of run:x", ("Model", "Faster than run:x"), (("run:x", "1x"), ("run:xy", "2x")), ("run:xy: no",)
    )
    short = table.renamed({"run:x": "BERT", "run:xy": "ALBERT"})
    assert short == Table(
        "Speed of BERT", ("Model", "Faster than BERT"), (("BERT", "1x"), ("ALBERT", "2x")), ("ALBERT: no",)
    )
