"""The tables of `bertbench speed`, from hand-made rows: what they hold, what they leave out, and that they can be read."""

import pytest

from bertbench.report.caveats import MeasurementNote, RandomWeights, TooFewSamples, TriedLive, remarks
from bertbench.report.formats.terminal import PLUGIN as TERMINAL
from bertbench.report.row import Report, Row, Table
from bertbench.report.tables import speed as tables
from bertbench.report.tables.figures import Figures, fields_of_shape, shape_name, shown, way_name

MODELS = ("bert", "distilbert", "albert")
EAGER = {"backend": "eager", "dtype": "fp32"}
FAST = {"backend": "onnxruntime", "dtype": "fp32"}
INT8 = {"backend": "onnxruntime-int8", "dtype": "int8"}
FIXED = {"batch_size": 1, "sequence_length": 128, "scenario": "fixed"}
NATURAL = {"batch_size": 8, "sequence_length": None, "scenario": "natural"}
SPLIT = {"batch_size": 8, "sequence_length": None, "scenario": "offline"}


def row(model, quantity, value=None, statistic="value", **fields):
    """A row as compare makes it."""
    return Row(model=model, quantity=quantity, statistic=statistic, value=value, **({"status": "ok"} | fields))


def timed(model, seconds, speedup=None, place=FIXED, way=EAGER, **fields):
    """A latency with its throughput and speed-up over BERT."""
    here = place | way
    low, high = (None, None) if speedup in {None, 1.0} else (speedup * 0.97, speedup * 1.03)
    found = [
        row(model, "latency", seconds, "median", low=seconds * 0.98, high=seconds * 1.02, **here),
        row(model, "latency", seconds * 1.1, "p90", **here),
        row(model, "latency", seconds * 1.2, "p95", **here),
        row(model, "throughput", place["batch_size"] / seconds, "median", **here),
    ]
    if speedup is not None:
        found.append(row(model, "speedup", speedup, "median", low=low, high=high, reference="bert", **here))
    return [
        *found,
        *(row(model, quantity, value, statistic, **here) for quantity, statistic, value in fields.get("more", ())),
    ]


def cells(table, *wanted):
    """A table's rows with the named columns only."""
    places = [table.columns.index(name) for name in wanted]
    return [tuple(line[place] for place in places) for line in table.rows]


def drawn(table):
    """The table as a terminal of 120 columns shows it."""
    return TERMINAL.render(Report("title", (table,)), layout="long", width=120)


ONE_WAY = [*timed("bert", 0.155, 1.0), *timed("distilbert", 0.079, 1.97)]


def test_one_way_of_running():
    """Latency with its interval, p90, samples a second and how much faster; further percentiles are for the CSV."""
    table = tables.speed_table(Figures(ONE_WAY), MODELS, "bert", ["a note"])
    assert table == Table(
        title="Speed",
        columns=("Shape", "Model", "Latency", "p90", "Samples/s", "Faster than bert"),
        rows=(
            ("1x128", "bert", "155 ms [152, 158]", "170 ms", "6.45", "reference"),
            ("1x128", "distilbert", "79.0 ms [77.4, 80.6]", "86.9 ms", "12.7", "1.97x [1.91, 2.03]"),
        ),
        notes=("a note",),
        kinds=("text", "text", "number", "number", "number", "number"),
    )


def test_ceiling_and_energy_where_they_are_known():
    """Columns without a figure are left out, those with one are there."""
    more = [
        row("bert", "ceiling_share", 0.85, "median", **FIXED, **EAGER),
        row("bert", "energy", 2.5, **FIXED, **EAGER),
    ]
    table = tables.speed_table(Figures([*ONE_WAY, *more]), MODELS, "bert")
    assert cells(table, "Model", "Of ceiling", "J/sample") == [("bert", "85.0%", "2.50"), ("distilbert", "", "")]


def test_one_model_is_not_compared():
    """With nothing but the reference there is no column of speed-ups."""
    assert "Faster than bert" not in tables.speed_table(Figures(timed("bert", 0.1, 1.0)), ("bert",), "bert").columns


def several_ways(shapes=(1, 8, 32), lengths=(128, 384)):
    """Three models in four ways at six shapes."""
    found = []
    for batch in shapes:
        for length in lengths:
            place = {"batch_size": batch, "sequence_length": length, "scenario": "fixed"}
            for way in (EAGER, EAGER | {"dtype": "bf16"}, FAST, INT8):
                for model in MODELS:
                    own = () if way == EAGER else [row(
                        model, "speedup", 3.67, "median", low=3.51, high=3.83, reference=f"{model} eager fp32", **place, **way
                    )]  # fmt: skip
                    speedup = 1.0 if model == "bert" else 0.945
                    share = ("ceiling_share", "median", 0.875)
                    found += [*timed(model, 1.556, speedup, place, way, more=[share]), *own]
    return found


def test_several_ways_of_running():
    """By shape, then by back-end, then by model; the speed-up over itself in PyTorch fp32 has a column of its own."""
    table = tables.speed_table(Figures(several_ways((1,), (128,))), MODELS, "bert")
    assert table.columns == (
        "Shape", "Model", "Back-end", "Latency", "Faster than bert", "Than itself in eager fp32", "Of ceiling",
    )  # fmt: skip
    assert cells(table, "Back-end", "Model")[:4] == [
        ("eager fp32", "bert"),
        ("eager fp32", "distilbert"),
        ("eager fp32", "albert"),
        ("eager bf16", "bert"),
    ]
    assert cells(table, "Back-end", "Latency", "Than itself in eager fp32")[-1] == (
        "onnxruntime-int8", "1.56 s", "3.67x [3.51, 3.83]",
    )  # fmt: skip


@pytest.mark.parametrize("rows", [several_ways(), ONE_WAY], ids=["several ways", "one way"])
def test_times_fit_into_120_columns(rows):
    """The table is drawn as a table, each of its rows on one line."""
    table = tables.speed_table(Figures(rows), MODELS, "bert")
    lines = drawn(table).splitlines()
    assert max(map(len, lines)) <= 120
    body = lines[next(place for place, line in enumerate(lines) if line.startswith("|--")) + 1 :]
    assert sum(line.startswith("|") for line in body) == len(table.rows)
    assert all(line.split("|")[1].strip() for line in body if line.startswith("|"))


def test_lost_shapes_and_failed_runs_say_so():
    """A cell that gave nothing shows its status in its place; a run without any shape stands for all."""
    rows = [
        *ONE_WAY,
        row("albert", "latency", None, None, status="failed", caveats=remarks("out of memory"), **FIXED, **EAGER),
        row("albert", "latency", None, None, status="failed", caveats=remarks("wrong"), **FAST),
    ]
    table = tables.speed_table(Figures(rows), MODELS, "bert")
    assert cells(table, "Shape", "Model", "Latency")[2:] == [("1x128", "albert", "failed"), ("all", "albert", "failed")]


def test_percentile_that_needs_more_samples():
    """Instead of a p90 of too few samples stands how many it takes."""
    rows = [
        row("bert", "latency", 0.1, "median", **FIXED, **EAGER),
        row(
            "bert",
            "latency",
            None,
            "p90",
            caveats=(RandomWeights(), TooFewSamples("p90", 64, "passes", 10)),
            **FIXED,
            **EAGER,
        ),
    ]
    assert cells(tables.speed_table(Figures(rows), ("bert",), "bert"), "p90") == [("(needs 64)",)]


def test_answers():
    """A row for each model and way, with the score where there is one; none where only PyTorch in fp32 was run."""
    audited = [
        row("bert", "output_error", 0.0123, "audited", **INT8),
        row("bert", "output_error", 0.02, "timed", **INT8),
        row("bert", "output_difference", 0.5, "largest", **INT8),
        row(
            "bert",
            "changed_predictions",
            0.03,
            n=128,
            caveats=(RandomWeights(), MeasurementNote("a prediction is the class")),
            **INT8,
        ),
        row("bert", "score", 0.91, "audited", **INT8),
        row("bert", "score", 0.92, "audited", **EAGER),
    ]
    latencies = [*timed("bert", 0.2, 1.0), *timed("bert", 0.1, 1.0, way=INT8)]
    table = tables.audit_table(Figures([*latencies, *audited]), ("bert",))
    assert table.rows == (
        ("bert", "eager fp32", "", "", "", "", "92.0"),
        ("bert", "onnxruntime-int8", "0.012", "0.020", "0.50", "3.0%", "91.0"),
    )
    assert table.title.endswith("(128 examples)")
    assert table.notes[1:] == ("a prediction is the class",)
    assert tables.audit_table(Figures([*latencies, audited[-1]]), ("bert",)) is None


def test_real_texts():
    """The tokenizer, the model and the whole, where inputs were texts; not where they were ids."""
    parts = [
        row("bert", "latency", 0.01, "tokenization", **NATURAL, **EAGER),
        row("bert", "latency", 0.12, "end-to-end", **NATURAL, **EAGER),
    ]
    table = tables.text_table(Figures([*timed("bert", 0.1, 1.0, NATURAL), *parts]), ("bert",))
    assert table.columns == ("Shape", "Model", "Tokenizer", "Model alone", "From text to output")
    assert table.rows == (("8xnatural", "bert", "10.0 ms", "100 ms", "120 ms"),)
    assert tables.text_table(Figures(timed("bert", 0.1, 1.0, NATURAL)), ("bert",)) is None
    both = [*timed("bert", 0.1, 1.0, NATURAL), *parts, *timed("bert", 0.05, 1.0, NATURAL, FAST)]
    table = tables.text_table(Figures(both), ("bert",))
    assert cells(table, "Back-end", "its p90") == [("eager fp32", "110 ms")]


def test_whole_split():
    """Time, throughput and speed-up for all examples; the times table does not repeat it."""
    rows = [
        *timed("distilbert", 0.1, 2.0, SPLIT),
        row("distilbert", "inference_time", 12.34, "model", n=872, **SPLIT, **EAGER),
        row("distilbert", "inference_time", 13.0, "end-to-end", n=872, **SPLIT, **EAGER),
        row("distilbert", "throughput", 70.7, "model", **SPLIT, **EAGER),
    ]
    table = tables.offline_table(Figures(rows), MODELS, "bert")
    assert table.title == "Offline: a whole split of 872 examples"
    assert table.rows == (("8", "distilbert", "12.3 s", "70.7", "2.00x [1.94, 2.06]", "13.0 s"),)
    assert "sorted by length" in table.notes[0]
    assert tables.speed_table(Figures(rows), MODELS, "bert").rows == ()
    assert tables.offline_table(Figures(ONE_WAY), MODELS, "bert") is None


def test_whole_split_that_was_not_finished():
    """A split that time ran out for keeps its speed-up, has no time for all, and says why."""
    table = tables.offline_table(Figures(timed("distilbert", 0.1, 2.0, SPLIT)), MODELS, "bert")
    assert cells(table, "Model", "Faster than bert") == [("distilbert", "2.00x [1.94, 2.06]")]
    assert table.notes == (
        "time ran out before the whole split was taken: its batches give speed-ups, but no time for all",
    )


def waste(model, size, shares):
    """Padding of a model by policy."""
    return [
        row(model, "padding_waste", share, policy, batch_size=size, scenario="natural")
        for policy, share in zip(tables.POLICIES, shares, strict=True)
    ]


def test_padding_of_equal_tokenizers_is_one_line():
    """Models whose texts are cut alike share a line; another tokenizer has its own."""
    alike = [*waste("bert", 8, (0.9, 0.5, 0.1)), *waste("distilbert", 8, (0.9, 0.5, 0.1))]
    assert tables.padding_table(Figures(alike), MODELS[:2]).rows == (
        ("8", "all", "90.0% (10.0x)", "50.0% (2.00x)", "10.0% (1.11x)"),
    )
    table = tables.padding_table(Figures([*alike, *waste("albert", 8, (0.8, 0.0, 0.0))]), MODELS)
    assert cells(table, "Models", "Padded to the limit") == [
        ("bert, distilbert", "90.0% (10.0x)"),
        ("albert", "80.0% (5.00x)"),
    ]
    assert tables.padding_table(Figures(ONE_WAY), MODELS) is None


def test_padding_is_told_once_for_all_back_ends():
    """Every back-end's record repeats the figures; a model is named once."""
    rows = [*waste("bert", 8, (0.9, 0.5, 0.1)), *waste("bert", 8, (0.9, 0.5, 0.1))]
    assert len(tables.padding_table(Figures(rows), ("bert",)).rows) == 1


def rate(model, value, statistic, *caveats):
    """A server's rate."""
    return row(model, "server_rate", value, statistic, caveats=caveats, batch_size=1, scenario="server", **EAGER)


def test_server():
    """The rate by simulation, and whether the one tried live held the bound, where a record says it; a note says which bound."""
    rows = [
        *ONE_WAY,
        rate(
            "bert",
            20.0,
            "simulated",
            RandomWeights(),
            MeasurementNote("p90 of latency within 100 ms, 50% busy; by simulation"),
        ),
        rate(
            "bert",
            15.0,
            "live",
            RandomWeights(),
            TriedLive("p90 of latency within 100 ms: held live with 90 ms", held_bound=True),
        ),
        rate("distilbert", 40.0, "simulated", MeasurementNote("p90 of latency within 100 ms, 50% busy; by simulation")),
        rate(
            "distilbert",
            30.0,
            "live",
            TriedLive("p90 of latency within 100 ms: MISSED live with 110 ms", held_bound=False),
        ),
        rate("albert", 18.0, "simulated", MeasurementNote("p90 of latency within 100 ms, 50% busy; by simulation")),
    ]
    table = tables.server_table(Figures(rows), MODELS)
    assert cells(table, "Model", "Highest rate, simulated", "Tried live") == [
        ("bert", "20.0/s", "15.0/s, held"),
        ("distilbert", "40.0/s", "30.0/s, missed"),
        ("albert", "18.0/s", ""),
    ]
    older = [*rows[:-2], rate("distilbert", 30.0, "live", MeasurementNote("MISSED live with 110 ms"))]
    table_of_older = tables.server_table(Figures(older), MODELS)
    assert cells(table_of_older, "Tried live")[1] == ("30.0/s",)
    assert table_of_older.notes[1] == "distilbert: MISSED live with 110 ms"
    assert table.notes[0] == "bert: p90 of latency within 100 ms: held live with 90 ms"
    assert table.notes[2] == "albert: p90 of latency within 100 ms, 50% busy; by simulation"
    assert tables.server_table(Figures(ONE_WAY), MODELS) is None


def test_memory():
    """On disk, parameters, resident, then peaks by shape; what a training step keeps stands below its peak."""
    small, large = {"batch_size": 1, "sequence_length": 128}, {"batch_size": 8, "sequence_length": 128}
    rows = [
        row("bert", "checkpoint_bytes", 440.5e6, weights="pretrained"),
        row("bert", "parameter_bytes", 437.9e6),
        *(row("bert", "peak_memory", value, statistic, **EAGER, **place) for statistic, value, place in (
            ("optimizer_state", 875.8e6, {}), ("training", 2e9, large), ("training", 1e9, small), ("saved_activations", 3e8, large),
            ("saved_activations", 1e8, small), ("peak", 5e8, large), ("peak", 4.75e8, small), ("resident", 4.5e8, {}),
        )),
    ]  # fmt: skip
    table = tables.memory_table(Figures(rows), ("bert",), ["a note"])
    assert table.title == "Memory (eager fp32)"
    assert table.notes == ("a note",)
    assert [line[0] for line in table.rows] == [
        "Checkpoint file",
        "Parameters in fp32",
        "Resident after loading",
        "Peak at inference 1x128",
        "Peak at inference 8x128",
        "Peak of a training step 1x128",
        "of it kept for the backward pass 1x128",
        "Peak of a training step 8x128",
        "of it kept for the backward pass 8x128",
        "Optimizer state, besides",
    ]
    assert table.rows[0] == ("Checkpoint file", "440.5 MB")


def test_random_weights_have_no_checkpoint_file():
    """The file that random weights were written to is nobody's checkpoint."""
    rows = [
        row("bert", "checkpoint_bytes", 437.9e6, weights="random"),
        row("bert", "peak_memory", 4.5e8, "resident", **EAGER),
    ]
    assert [line[0] for line in tables.memory_table(Figures(rows), ("bert",)).rows] == ["Resident after loading"]
    assert tables.memory_table(Figures(ONE_WAY), MODELS) is None


@pytest.mark.parametrize(
    ("place", "label"), [(FIXED, "1x128"), (NATURAL, "8xnatural"), (SPLIT, "8xsplit"), ({"status": "failed"}, "all")]
)
def test_names_of_shapes(place, label):
    """Shapes are called as in the notes and the CSV's settings."""
    assert shape_name(Row(**place)) == label


@pytest.mark.parametrize("place", [FIXED, NATURAL, SPLIT])
def test_shapes_that_records_name(place):
    """The key of a shape in a record gives the fields of the rows that are about it."""
    assert fields_of_shape(shape_name(Row(**place))) == place


@pytest.mark.parametrize(
    ("backend", "dtype", "name"),
    [
        ("eager", "bf16", "eager bf16"),
        ("onnxruntime-int8", "int8", "onnxruntime-int8"),
        ("openvino-bf16", "bf16", "openvino-bf16"),
    ],
)
def test_names_of_ways(backend, dtype, name):
    """A number format that the back-end's name states is not repeated."""
    assert way_name(Row(backend=backend, dtype=dtype)) == name


def test_bound_in_another_unit_says_so():
    """An interval that reaches from milliseconds into seconds does not read as if it were of milliseconds."""
    assert shown("latency", 0.155, 0.15, 0.16) == "155 ms [150, 160]"
    assert shown("latency", 0.9, 0.5, 1.6) == "900 ms [500, 1.60 s]"
