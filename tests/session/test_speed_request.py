"""From the options of `speed` to a request: what a paper decides, precision, threads."""

import pytest

from bertbench.errors import UsageError
from bertbench.records import environment
from bertbench.session.options import SpeedOptions, StudyOptions
from bertbench.session.speed_request import parse_precision, thread_notes, with_paper
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
