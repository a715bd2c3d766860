"""Records: raw values, finite, digests that are equal for equal content."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertbench.records.record import Measurement, SystemSettings, canonical_json, digest
from tests.factories import environment, record, size_record


def test_measurement_needs_values():
    """A measurement without values is refused: absent is no measurement."""
    with pytest.raises(ValueError, match="latency without values"):
        Measurement("latency", "s", ())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_measurement_needs_finite_values(value):
    """NaN and infinity are refused where they arise."""
    with pytest.raises(ValueError, match="not finite"):
        Measurement("latency", "s", (0.1, value))


def test_find_takes_the_first_that_matches_everything():
    """`find` looks at quantity, statistic and any other field, and gives None where nothing matches."""
    found = size_record(unique=10, executed=120).find
    assert found("parameters").values == (10,)
    assert found("parameters", "executed").values == (120,)
    assert found("flops", sequence_length=128) is not None
    assert found("flops", sequence_length=64) is None
    assert record("size").find("parameters") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=5))
def test_digest_does_not_depend_on_key_order(value):
    """Equal mappings have equal digests, however they were built."""
    assert digest(value) == digest(dict(reversed(value.items())))


def test_digest_tells_contents_apart():
    """Another value, and another order of a list, give another digest; NaN is refused."""
    assert len({digest([1, 2]), digest([2, 1]), digest(["1", 2])}) == 3
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        digest(math.nan)


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "Other CPU"},
        {"usable_cores": 4},
        {"gpu": "H100"},
        {"instruction_flags": ()},
        {"system": "Darwin 24"},
        {"packages": {"torch": "2.7.0"}},
    ],
)
def test_environment_class_changes_with_what_changes_timings(change):
    """Another processor, GPU, core count, operating system or minor version of torch makes timings incomparable."""
    assert environment(**change).environment_class != environment().environment_class


@pytest.mark.parametrize(
    "change",
    [
        {"memory_bytes": 1},
        {"python": "3.13.0"},
        {"commit": "abc", "dirty": True},
        {"settings": SystemSettings(governors=("powersave",), turbo=True, physical_cores=1, randomized_layout=0)},
        {"packages": {"torch": "2.6.1+cpu", "transformers": "5.9"}},
    ],
)
def test_environment_class_ignores_the_rest(change):
    """A patch release of torch, memory, Python, the commit and what can be switched on a machine leave timings comparable."""
    assert environment(**change).environment_class == environment().environment_class
