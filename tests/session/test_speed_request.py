"""From the options of `speed` to a request: what a paper decides, precision, threads."""

import pytest

from bertbench.commands._options import MeasuringOptions
from bertbench.commands._study import open_study
from bertbench.errors import UsageError
from bertbench.records import environment
from bertbench.session.options import SpeedOptions, StudyOptions
from bertbench.session.speed_request import build, parse_precision, thread_notes, with_paper
from bertbench.specs.catalog import Catalog

PAPER = "distilbert-table-3"


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), (" 2.5% ", 0.025), ("50%", 0.5)])
def test_precision_in_two_spellings(text, value):
    """A share of one or per cent."""
    assert parse_precision(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "0%", "0.01%", "51%", "-1%", "nan", "inf", "two", "", "%"])
def test_precision_that_cannot_be_meant(text):
    """Nothing, nonsense, finer than anything seen, or coarser than useful."""
    with pytest.raises(UsageError, match=r"must lie between 0\.1% and 50%"):
        parse_precision(text)


def test_a_paper_decides_and_what_was_chosen_is_left_alone():
    """The protocol's values are those of new options; models, reference, device and rounds may be one's own."""
    chosen, timed = StudyOptions(models="albert"), SpeedOptions(paper=PAPER, rounds=3)
    selected, protocol = with_paper(Catalog(), chosen, timed)
    assert (selected.models, selected.reference, selected.device) == ("albert", "bert", "cpu")
    assert (protocol.scenario, protocol.task, protocol.batch_sizes, protocol.rounds) == ("offline", "stsb", "1", 3)
    assert (chosen, timed) == (StudyOptions(models="albert"), SpeedOptions(paper=PAPER, rounds=3))


def test_without_a_paper_nothing_is_decided():
    """The same options come back."""
    chosen, timed = StudyOptions(), SpeedOptions()
    assert with_paper(Catalog(), chosen, timed) == (chosen, timed)


@pytest.mark.parametrize(("more", "device", "notes"), [(1, "cpu", 1), (0, "cpu", 0), (None, "cpu", 0), (1, "cuda", 0)])
def test_more_threads_than_cores_are_noted(more, device, notes):
    """On the CPU they wait for each other."""
    threads = None if more is None else environment.usable_cores() + more
    assert len(thread_notes(threads, device)) == notes


def built(timed, tmp_path, **chosen):
    """The request of `speed` with these options."""
    options = StudyOptions(models="bert-mini", device="cpu", yes=True, results_dir=tmp_path, **chosen)
    return build(open_study("speed", MeasuringOptions(**vars(options))), timed)


def test_best_batch_tries_a_row_of_batch_sizes(tmp_path):
    """Powers of two up to 32 on a CPU, few passes of the large ones, few rounds, and no memory."""
    request = built(SpeedOptions(best_batch=True), tmp_path)
    assert [shape.label for shape in request.timing.shapes] == [f"{batch}x128" for batch in (1, 2, 4, 8, 16, 32)]
    assert [shape.turns for shape in request.timing.shapes] == [None, None, None, 1, 1, 1]
    assert (request.timing.rounds, request.kinds) == (5, ("size", "speed"))


def test_best_batch_of_ones_own(tmp_path):
    """Batch sizes, lengths and rounds may be chosen."""
    request = built(SpeedOptions(best_batch=True, batch_sizes="8,2", sequence_lengths="16,32", rounds=7), tmp_path)
    assert [shape.label for shape in request.timing.shapes] == ["2x16", "8x16", "2x32", "8x32"]
    assert request.timing.rounds == 7


@pytest.mark.parametrize(
    ("timed", "message"),
    [
        (SpeedOptions(best_batch=True, batch_sizes="8"), "leaves no choice"),
        (SpeedOptions(best_batch=True, batch_sizes="1"), "leaves no choice"),
        (SpeedOptions(best_batch=True, batch_sizes=""), "expected whole numbers"),
        (SpeedOptions(batch_sizes=""), "expected whole numbers"),
        (SpeedOptions(best_batch=True, scenario="offline", task="demo-sentiment"), "fixed length"),
        (SpeedOptions(best_batch=True, task="demo-sentiment"), "fixed length"),
    ],
)
def test_best_batch_without_a_choice(timed, message, tmp_path):
    """One batch size, or inputs of natural length, are refused in a line."""
    with pytest.raises(UsageError, match=message):
        built(timed, tmp_path)
