"""Points to charts: what each has, and what is said of one that there is not."""

import pytest

from bertbench.report.page import page
from bertbench.report.page.charts import WITHOUT, charts_of
from bertbench.report.page.drawing import Chart, Gap
from tests.report.page.conftest import DAYS

NAMES = [
    "trade-off", "latency-by-shape", "latency-over-length", "latency-over-batch", "memory", "parameters", "roofline", "scores",
    "history-latency", "history-score", "history-peak-memory",
]  # fmt: skip


@pytest.fixture(scope="module")
def drawn(full_report):
    """Every chart of the full report."""
    return page.charts_of(full_report)


def test_every_chart_is_drawn(drawn):
    """Where everything was measured nothing is left out."""
    assert [chart.name for chart in drawn] == NAMES


def test_every_chart_has_its_table(drawn):
    """Each column of a table is a field of the points, and each point says what filters need."""
    for chart in drawn:
        for point in chart.points:
            assert point["model"]
            assert {"device", "backend", "task"} <= point.keys()
        fields = {name for point in chart.points for name in point}
        assert set(chart.columns.values()) <= fields, chart.name


def test_specs_hold_no_points_of_their_own(drawn):
    """A chart's points stand beside it, once, and are given to all its layers."""
    for chart in drawn:
        spec = chart.spec()
        assert spec["data"] == {"name": "points", "values": []}
        assert all("data" not in layer for layer in spec.get("layer", []))
        assert "$schema" in spec


def test_height_follows_the_rows(drawn):
    """A chart with a row a model and task grows with them."""
    scores = next(chart for chart in drawn if chart.name == "scores")
    points = scores.shown()
    few = [point for point in points if point["model"] == "bert"]
    assert scores.spec(few)["height"] < scores.spec(points)["height"]


def test_one_task_at_a_time(drawn):
    """Where tasks would lie upon each other their mean is shown, which has a name."""
    trade_off = drawn[0]
    assert trade_off.task_text == "mean of all tasks"
    assert {point["task"] for point in trade_off.shown()} == {"all-tasks"}
    assert {point["task"] for point in trade_off.points} == {"all-tasks", "sst2", "mrpc"}


def test_history_has_a_point_a_session(drawn):
    """A line over time has as many points as sessions; costs are shares of the first one's."""
    latencies = next(chart for chart in drawn if chart.name == "history-latency").points
    first = [point for point in latencies if point["series"] == latencies[0]["series"]]
    assert len(first) == len(DAYS)
    assert first[0]["value"] == 100.0
    assert {point["what"] for point in latencies} == {"1x128 eager fp32", "1x128 onnxruntime fp32"}


def test_what_is_missing_is_said(size_report):
    """With sizes alone there is one chart, and of each other one the reason."""
    parts = page.charts_of(size_report)
    assert [part.name for part in parts if isinstance(part, Chart)] == ["parameters"]
    assert [part for part in parts if isinstance(part, Gap)] == [
        gap for name, gap in WITHOUT.items() if name != "parameters"
    ]


def test_nothing_measured_has_no_charts():
    """Without rows every chart is a gap."""
    assert list(charts_of([], [], [])) == list(WITHOUT.values())


def test_scores_of_other_back_ends_are_not_theirs(drawn):
    """Where several back-ends were timed the trade-off says whose scores it has."""
    assert "Scores and sizes are those of PyTorch in fp32" in drawn[0].about
