"""Figures and records as the page holds them."""

from bertbench.report.page import details
from bertbench.report.row import Row
from tests import factories


def test_strings_stand_once():
    """Figures point into a list of strings; nothing is number 0."""
    rows = [Row(model="bert", quantity="latency", statistic="median", value=value) for value in (0.1, 0.2)]
    told = details.figures(rows)
    first, second = ([told["strings"][number] for number in row] for row in told["rows"])
    assert dict(zip(told["fields"], first, strict=True)) == dict.fromkeys(details.FIGURE_FIELDS, "") | {
        "model": "bert",
        "figure": "Latency, median",
        "value": "100 ms",
    }
    assert second[told["fields"].index("value")] == "200 ms"
    assert told["strings"].count("bert") == 1


def test_empty_figures_are_left_out():
    """A row without value and text is no figure; a run that failed is one."""
    assert details.figures([Row(model="bert", quantity="latency", status="ok")])["rows"] == []
    assert "failed" in details.figures([Row(model="bert", quantity="latency", status="failed")])["strings"]


def test_ratio_has_its_interval():
    """A ratio stands with its bounds where it has some."""
    row = Row(model="a", quantity="latency", value=0.1, ratio=0.5, ratio_low=0.4, ratio_high=0.6)
    told = details.figures([row])
    assert "0.500x [0.400x, 0.600x]" in told["strings"]


def test_records_share_settings_and_environments(tmp_path):
    """What records have in common stands once; each names its session, whose command it is."""
    failed = factories.failed("speed", "bert", seed=3)
    stored = factories.stored_session(tmp_path, records=[factories.size_record("bert"), failed])
    told = details.records([stored])
    assert len(told["settings"]) == len(told["environments"]) == 2  # and nothing
    assert {record["status"] for record in told["records"]} == {"ok", "failed"}
    broken = next(record for record in told["records"] if record["status"] == "failed")
    assert broken["error"] == "MeasurementError: out of memory"
    assert broken["seed"] == "3"
    assert told["sessions"][0]["command"] == "bertbench compare"
    assert told["environments"][1]["Processor"] == "Test CPU, 2 usable cores"


def test_a_run_taken_over_stands_once(tmp_path):
    """A run that several sessions hold is listed with the newest of them."""
    stored = factories.stored_session(tmp_path, records=[factories.size_record("bert")])
    told = details.records([stored, stored])
    assert [record["session"] for record in told["records"]] == [0]


def test_commands_are_quoted():
    """A command can be pasted into a shell, whatever its words hold."""
    session = factories.session_record(argv=("compare", "--models", "a b; rm x"))
    assert details.command_of(session) == "bertbench compare --models 'a b; rm x'"
    assert details.command_of(session, fresh=True) == "bertbench compare --models 'a b; rm x' --fresh"
