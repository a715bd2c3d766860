import math

import pytest

from bertbench.records.sidecars import TimingRow
from bertbench.speed.latency import interrupted, latencies, round_ratios, unsteady, whole_splits


def row(model, seconds, place=(0, 0), *, warmup=False, shape="1x128", **fields):
    """One pass."""
    length = int(shape.split("x")[1]) if shape.split("x")[1].isdigit() else None
    values = {"scenario": "fixed" if length else "natural", "batch_size": int(shape.split("x")[0])}
    values |= {"sequence_length": length} | fields
    return TimingRow(place[0], place[1], 0, model, seconds, warmup, shape, **values)


def test_a_round_s_value_is_the_median_of_turn_medians():
    """Warm-up passes do not count, a turn counts once however many passes it has."""
    rows = [
        row("a", 9.0, warmup=True),
        row("a", 1.0),
        row("a", 1.2),
        row("a", 1.1),
        row("a", 5.0, (0, 1)),
        row("a", 2.0, (0, 2)),
    ]
    (latency,) = latencies(rows)["a"]
    assert latency.values == (2.0,)
    assert (latency.n, latency.statistic) == (5, "round-median")


def test_parts_from_text_are_measurements_of_their_own():
    """The tokenizer and the whole are kept where there were texts, and only there."""
    rows = [row("a", 1.0, shape="1xnatural", tokenization_seconds=0.1, end_to_end_seconds=1.2), row("a", 1.0)]
    found = {(latency.statistic, latency.scenario): latency.values for latency in latencies(rows)["a"]}
    assert found == {
        ("round-median", "natural"): (1.0,),
        ("round-median", "fixed"): (1.0,),
        ("tokenization/round-median", "natural"): (0.1,),
        ("end-to-end/round-median", "natural"): (1.2,),
    }


def test_ratios_are_paired_within_turns():
    """A slow turn that both feel cancels; turns that one of them missed are left out."""
    rows = [row("ref", 1.0), row("a", 0.5), row("ref", 10.0, (0, 1)), row("a", 5.0, (0, 1)), row("a", 9.0, (0, 2))]
    assert round_ratios(rows, "ref") == {("a", "1x128"): [pytest.approx(math.log(0.5))]}


def test_a_lone_model_has_its_own_spread():
    """Without anything to compare with, rounds are judged by the model's own log-times."""
    assert round_ratios([row("ref", math.e)], "ref") == {("ref", "1x128"): [pytest.approx(1.0)]}


def test_whole_splits_add_up():
    """A whole split's time is the sum over its batches, kept by round."""
    rows = [
        row("a", value, (place, 0), shape="1xsplit", scenario="offline")
        for place, value in ((0, 1.0), (0, 2.0), (1, 4.0))
    ]
    (whole,) = whole_splits(rows, 3, {1: 3})["a"]
    assert (whole.quantity, whole.values, whole.n) == ("inference_time", (3.0, 4.0), 3)


def test_a_split_taken_twice_counts_once():
    """The reference of two blocks takes the split in each of them: its time is the mean of both."""
    rows = [row("a", float(value), (value, 0), shape="1xsplit", scenario="offline") for value in (1, 2, 3, 4)]
    (whole,) = whole_splits(rows, 2, {1: 2})["a"]
    assert whole.values == (0.5, 1.0, 1.5, 2.0)


def test_a_split_that_was_not_finished_has_no_time():
    """Where time ran out before the last batch, the sum so far is not the time for all of it."""
    rows = [row("a", 1.0, (place, 0), shape="1xsplit", scenario="offline") for place in range(2)]
    assert whole_splits(rows, 3, {1: 3}) == {}


def test_unsteady_names_shape_and_spread():
    """Rounds that differ by more than a tenth are said, for fixed shapes."""
    rows = [row("a", value, (place, 0)) for place, value in enumerate((1.0, 1.0, 1.3, 1.0, 1.0))]
    (warning,) = unsteady(latencies(rows))
    assert str(warning) == "a 1x128: round medians spread by 30%; more rounds or a quieter machine would help"


@pytest.mark.parametrize(("shape", "seconds", "said"), [("1x128", 10.0, 1), ("1xnatural", 10.0, 1), ("1x128", 0.5, 0)])
def test_a_pass_in_which_the_machine_slept_is_said(shape, seconds, said):
    """Ten seconds in one pass of milliseconds are a stop, whose round is marked; half a second is another program."""
    rows = [row("a", 0.01, (number, 0), shape=shape) for number in range(8)]
    cautions = interrupted([*rows, row("a", seconds, (3, 1), shape=shape), row("a", 60.0, warmup=True, shape=shape)])
    assert [caution.kind for caution in cautions] == ["stood-still"] * said
    if said:
        assert str(cautions[0]).startswith(
            "the machine stood still for 10 s (asleep, stopped, paused or starved by other work), within 1 of the timed passes"
        )


def test_a_slow_model_never_stood_still():
    """Passes that all take long, and lengths that differ thirtyfold, are as they should be."""
    rows = [row("a", seconds) for seconds in (20.0, 21.0, 25.0)]
    rows += [row("a", seconds, shape="1xnatural") for seconds in (0.1, 0.1, 3.0)]
    assert interrupted(rows) == []
