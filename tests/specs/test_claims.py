"""What a claim says of itself: the kind of measuring it takes, and whether it is about a time or a score."""

import pytest

from bertbench.specs.catalog import Catalog


def claim(quantity):
    """A claim about a quantity."""
    return Catalog().claim("distilbert-40-percent-smaller").model_copy(update={"quantity": quantity})


@pytest.mark.parametrize(
    ("quantity", "kind", "is_timed", "is_score"),
    [
        ("parameters", "size", False, False),
        ("flops", "size", False, False),
        ("latency", "speed", True, False),
        ("energy", "speed", True, False),
        ("peak_memory", "memory", False, False),
        ("training_time", "quality", True, False),
        ("training_loss", "quality", False, False),
        ("retention", "quality", False, True),
        ("a_metric_of_ones_own", "quality", False, True),
    ],
)
def test_quantity_tells_what_is_measured(quantity, kind, is_timed, is_score):
    """The quantity alone tells the kind of measuring; metrics, a user's own too, are scores of quality runs."""
    spec = claim(quantity)
    assert (spec.kind, spec.is_timed, spec.is_score) == (kind, is_timed, is_score)


def test_kind_is_no_key_of_the_file():
    """The kind follows from the quantity, so a claim's YAML and what is stored of it have no such key."""
    assert not {"kind", "is_timed", "is_score"} & claim("latency").model_dump().keys()
