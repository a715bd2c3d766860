"""Quantities and how people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench import units
from bertbench.units import QUANTITIES, quantity_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.significant(22.351), "22.4"),
        (units.significant(0.010512), "0.0105"),
        (units.significant(1234.4), "1,234"),
        (units.significant(0), "0"),
        (units.millions(109_482_240), "109.5M"),
        (units.millions(512_345), "512.3k"),
        (units.megabytes(437_935_104), "437.9 MB"),
        (units.milliseconds(0.1554), "155 ms"),
        (units.milliseconds(0.001234), "1.23 ms"),
        (units.duration(3.21), "3.2 s"),
        (units.duration(9.97), "10 s"),
        (units.duration(59.7), "1 min"),
        (units.duration(200), "3 min 20 s"),
        (units.duration(3900), "1 h 5 min"),
        (units.gigaflops(22.35e9), "22.4 GFLOPs"),
        (units.gigaflops(1e9), "1.00 GFLOPs"),
        (units.gigaflops(0.95e9), "950 MFLOPs"),
        (units.gigaflops(25.17e6), "25.2 MFLOPs"),
        (units.gigaflops(8192), "8.19 kFLOPs"),
        (units.small_bytes(8192), "8.2 kB"),
        (units.small_bytes(437.93e6), "437.9 MB"),
        (units.points(0.9271), "92.7"),
        (units.percent(0.971), "97.1%"),
        (units.times(1.634), "1.63x"),
        (units.per_second(61.23), "61.2/s"),
    ],
)
def test_figures_read_as_people_write_them(text, expected):
    """Each format prints the figures that the data supports, in the usual unit."""
    assert text == expected


@pytest.mark.parametrize(
    ("formatter", "value", "parts"),
    [
        (units.milliseconds, 0.00123, ("1.23", " ms")),
        (units.milliseconds, 1.39, ("1.39", " s")),
        (units.duration, 200, ("3 min 20", " s")),
        (units.duration, 3900, ("1 h 5", " min")),
        (units.times, 1.634, ("1.63", "x")),
        (units.per_second, 61.23, ("61.2", "/s")),
        (units.points, 0.9271, ("92.7", "")),
        (units.scientific, 3e-9, ("3e-09", "")),
    ],
)
def test_numbers_and_units_by_themselves(formatter, value, parts):
    """A table may write the unit once: in its head, or at the value and not at the bounds."""
    assert formatter.parts(value) == parts
    assert formatter(value) == "".join(parts)


@given(st.floats(1e-6, 1e9))
def test_three_significant_digits_are_kept(value):
    """What is printed differs from the value by less than half a unit of its third digit, and has no exponent."""
    text = units.significant(value)
    assert "e" not in text
    assert math.isclose(float(text.replace(",", "")), value, rel_tol=0.00501)


def test_every_quantity_is_registered_under_its_name():
    """The table's key is the quantity's name, and a score counts as better when higher, a cost when lower."""
    assert all(quantity.name == name for name, quantity in QUANTITIES.items())
    assert QUANTITIES["accuracy"].higher_is_better is True
    assert QUANTITIES["latency"].higher_is_better is False
    assert QUANTITIES["best_use_case"].higher_is_better is None


def test_metric_of_a_users_own_counts_as_a_score():
    """A quantity that is not in the table is a score of 0..1, shown in points."""
    quantity = quantity_of("entity_f1")
    assert (quantity.title, quantity.unit, quantity.higher_is_better) == ("Entity f1", "1", True)
    assert quantity.format(0.5) == "50.0"
