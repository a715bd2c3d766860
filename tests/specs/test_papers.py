import pytest
from pydantic import ValidationError

from bertbench.specs.papers import PaperSpec

CELL = {"label": "A", "model": "bert", "parameters": 1e6}
PAPER = {"name": "mine", "title": "Mine", "source": "s"}


def test_parameters_alone_are_enough():
    """A table of parameters needs neither task nor reference."""
    paper = PaperSpec(**PAPER, parameters=[CELL])

    assert not paper.has_times
    assert paper.parameters[0].rounded_to == 1e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "publishes neither times"),
        ({"published": {"a": 1.0}}, "'published' needs 'models', 'reference', 'task' too"),
        ({"parameters": [CELL, CELL]}, "same label twice"),
        ({"parameters": [CELL | {"expected": "differs"}]}, "needs a 'note' that says why"),
        ({"parameters": [CELL | {"share": "some"}]}, "'none', 'attention', 'ffn' or 'all'"),
        ({"parameters": [CELL | {"parameters": 0}]}, "greater than 0"),
    ],
)
def test_paper_must_publish_something_that_can_be_repeated(change, message):
    """What is missing, doubled or not explained is refused."""
    with pytest.raises(ValidationError, match=message):
        PaperSpec(**PAPER, **change)
