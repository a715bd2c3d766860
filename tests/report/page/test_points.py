"""Rows to points."""

from dataclasses import replace

import pytest

from bertbench.report.page import points
from bertbench.report.row import Row


def latency(model, value, **fields):
    """A median latency at the shape that is quoted."""
    values = {"batch_size": 1, "sequence_length": 128, "device": "cpu", "backend": "eager", "dtype": "fp32"}
    return Row(model=model, quantity="latency", statistic="median", value=value, **(values | fields))


def score(model, value, task="sst2"):
    """A score."""
    return Row(model=model, quantity="score", statistic="mean", value=value, task=task, run_ids=("q",))


def size(model, value=4e8):
    """The bytes of a model's weights."""
    return Row(model=model, quantity="parameter_bytes", statistic="value", value=value)


def test_newest_figure_counts():
    """Of equal figures the first stays, and names are as they are shown."""
    (kept,) = points.newest([latency("b\x1bert", 0.1), latency("b\x1bert", 0.2)])
    assert (kept.model, kept.value) == (r"b\x1bert", 0.1)


def test_front_is_of_those_that_none_beats():
    """A model that another equals in one thing and beats in the other is not on the front."""
    rows = [latency("a", 0.1), latency("b", 0.2), latency("c", 0.3), latency("d", 0.1)]
    rows += [score("a", 0.8), score("b", 0.9), score("c", 0.9), score("d", 0.7)]
    drawn = points.trade_points([*rows, *map(size, "abcd")])
    assert {point["model"]: point["front"] for point in drawn} == {"a": "yes", "b": "yes", "c": "no", "d": "no"}
    assert (drawn[0]["latency"], drawn[0]["score"], drawn[0]["megabytes"]) == (100.0, 80.0, 400.0)


def test_trade_off_is_at_the_quoted_shape():
    """Latencies of other shapes are no points, and names stand once where a model was run in several ways."""
    rows = [latency("a", 0.5, batch_size=8), latency("a", 0.1), latency("a", 0.05, backend="onnxruntime")]
    drawn = points.trade_points([*rows, score("a", 0.8), size("a")])
    assert [(point["latency"], point["named"]) for point in drawn] == [(100.0, True), (50.0, False)]


@pytest.mark.parametrize(
    ("weights", "resident", "expected"),
    [
        (400e6, 500e6, {"weights": 400.0, "rest of the loaded model": 100.0, "during a pass": 200.0}),
        (400e6, None, {"weights": 400.0, "during a pass": 300.0}),
        (400e6, 390e6, {"weights": 400.0, "during a pass": 300.0}),
        (800e6, 500e6, {"peak": 700.0}),
    ],
)
def test_memory_parts_add_up(weights, resident, expected):
    """Parts add up to the peak, and what cannot be part of it is not told of."""
    about = {"model": "a", "device": "cpu", "batch_size": 1, "sequence_length": 128}
    rows = [Row(quantity="peak_memory", statistic="peak", value=700e6, **about), size("a", weights)]
    rows += [Row(quantity="peak_memory", statistic="resident", value=resident, model="a", device="cpu")]
    assert {point["part"]: point["megabytes"] for point in points.memory_points(rows)} == expected


def test_roofline_needs_the_ceiling_of_the_same_way():
    """A rate is drawn below the ceiling of the same device, back-end and number format only."""
    work = Row(model="a", quantity="flops", statistic="value", value=2e9, batch_size=1, sequence_length=128)
    ceiling = Row(quantity="ceiling", statistic="fp32", value=1e11, device="cpu", backend="eager", dtype="fp32")
    rows = [latency("a", 0.1), latency("a", 0.05, backend="onnxruntime"), work, ceiling, size("a")]
    (point,) = points.roofline_points(rows)
    assert (point["rate"], point["ceiling"], point["share"], point["intensity"]) == (20.0, 100.0, "20%", 5.0)


def test_seeds_stand_beside_their_mean(full_report):
    """A score of three seeds has three more points, each with its own record."""
    drawn = points.score_points(points.newest(full_report.rows), full_report.sessions)
    seeds = [point for point in drawn if point["model"] == "bert" and point["task"] == "sst2"]
    assert [point["seed"] for point in seeds] == ["", "0", "1", "2"]
    assert len({point["run"] for point in seeds[1:]}) == 3


def test_components_are_named(full_report):
    """Parameters by component have no underscores, and say how they are counted."""
    drawn = points.parameter_points(full_report.rows)
    assert {point["component"] for point in drawn} == {"word embeddings", "feed forward"}
    assert {point["counted"] for point in drawn} == {"stored", "executed"}


def test_figure_names():
    """A figure is named by what tells it apart."""
    row = replace(latency("a", 0.1), split="validation")
    assert points.figure_name(row) == "Latency, median, validation, 1x128"
    assert points.figure_name(score("a", 0.5)) == "Score of sst2"


def test_verdicts_are_those_of_figures():
    """Only figures that a claim is about are listed."""
    judged = replace(size("a"), verdict="smaller: supported", ratio=0.5)
    ((row, cells),) = points.verdict_cells([judged, size("b")])
    assert row is judged
    assert cells == ("a", "Parameter bytes", "400.0 MB", "0.500x", "", "smaller: supported")


def test_counts_of_several_sessions_do_not_pile_up():
    """Parameters are the same on every device and with any number of threads: each is drawn once."""
    rows = [
        Row(model="a", quantity="parameters", statistic="unique/attention", value=value, device=device, threads=threads)
        for value, device, threads in ((1e6, "cpu", 2), (1e6, "cpu", 1), (1e6, "cuda", 2))
    ]
    assert [point["parameters"] for point in points.parameter_points(points.newest(rows))] == [1.0]


def test_readings_of_several_devices_do_not_pile_up():
    """Memory on two devices, or with other threads, is two bars, named by what tells them apart."""
    about = {"quantity": "peak_memory", "statistic": "peak", "value": 7e8, "batch_size": 1, "sequence_length": 128}
    ran = {"backend": "eager", "dtype": "fp32"}
    rows = [
        Row(model="a", device=device, threads=threads, **ran, **about)
        for device, threads in (("cpu", 2), ("cpu", 1), ("cuda", 2))
    ]
    rows.append(Row(model="b", device="cpu", threads=2, **ran, **about))
    assert [point["bar"] for point in points.memory_points(points.newest(rows))] == [
        "a 1x128, cpu, 2 threads",
        "a 1x128, cpu, 1 thread",
        "a 1x128, cuda, 2 threads",
        "b 1x128",
    ]


def test_a_ceiling_is_that_of_the_same_session():
    """A rate is never held against what the machine reached in another session."""
    work = Row(model="a", quantity="flops", statistic="value", value=2e9, batch_size=1, sequence_length=128)
    ran = {"quantity": "ceiling", "statistic": "fp32", "device": "cpu", "backend": "eager", "dtype": "fp32"}
    ceilings = [Row(model="a", value=value, session_id=session, **ran) for value, session in ((2e11, "t"), (1e11, "s"))]
    rows = [
        latency("a", 0.1, session_id="s"),
        latency("a", 0.1, batch_size=8, session_id="u"),
        work,
        *ceilings,
        size("a"),
    ]
    rows.append(replace(work, batch_size=8))
    assert [point["ceiling"] for point in points.roofline_points(points.newest(rows))] == [100.0]


def test_times_with_other_threads_are_told_apart():
    """Latencies with one and with two threads are two ways of running, each with its own throughput."""
    rows = [latency("a", seconds, threads=threads) for seconds, threads in ((0.1, 2), (0.2, 1))]
    rates = [replace(row, quantity="throughput", value=1 / row.value) for row in rows]
    drawn = points.latency_points([*rows, *rates])
    assert [(point["way"], point["throughput_text"]) for point in drawn] == [
        ("eager fp32, 2 threads", "10.0/s"),
        ("eager fp32, 1 thread", "5.00/s"),
    ]
    assert [point["way"] for point in points.latency_points(rows[:1])] == ["eager fp32"]
