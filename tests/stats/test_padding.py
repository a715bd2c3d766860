import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertbench.errors import MeasurementError, UnknownNameError, UsageError
from bertbench.stats.padding import POLICIES, batches, distribution, padded_length, padded_over_real, waste
from bertbench.stats.queueing import order_statistic

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=80)
SIZES = st.integers(1, 33)


@st.composite
def full_batches(draw):
    """Lengths that fill batches of a size, and that size."""
    size, count = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    return draw(st.lists(st.integers(1, 512), min_size=size * count, max_size=size * count)), size


@settings(deadline=None)
@given(LENGTHS, SIZES, st.sampled_from(POLICIES))
def test_every_example_is_in_one_batch(lengths, size, policy):
    """Batches cover all examples once; only the last may be smaller than asked."""
    made = batches(lengths, size, policy)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in made[:-1])
    assert 1 <= len(made[-1]) <= size


def test_batches_of_each_policy():
    """The order given is kept unless batches are sorted, then the longest come first and ties keep their order."""
    lengths = [12, 40, 7, 40, 33]
    assert batches(lengths, 2, "dynamic") == [[0, 1], [2, 3], [4]]
    assert batches(lengths, 2, "pad-to-max") == [[0, 1], [2, 3], [4]]
    assert batches(lengths, 2, "length-sorted") == [[1, 3], [4, 0], [2]]


def test_waste_is_padding_over_all_positions():
    """The share of computed positions that hold no token; padded over real tokens is the other view of it."""
    lengths = [12, 40, 7, 33]
    assert waste(lengths, 2, "dynamic") == pytest.approx(1 - 92 / (2 * 40 + 2 * 33))
    assert waste(lengths, 2, "length-sorted") == pytest.approx(1 - 92 / (2 * 40 + 2 * 12))
    assert waste(lengths, 2, "pad-to-max", 128) == pytest.approx(1 - 92 / (4 * 128))
    assert waste(lengths, 3, "pad-to-max") == pytest.approx(1 - 92 / (4 * 40))
    assert padded_over_real(lengths, 2, "pad-to-max", 128) == pytest.approx(4 * 128 / 92)
    assert waste([5, 5, 5], 2, "dynamic") == 0


def test_a_smaller_last_batch_counts_its_own_rows():
    """Missing rows are not padding."""
    assert padded_over_real([10, 10, 4], 2, "dynamic") == 1


@settings(deadline=None)
@given(LENGTHS, SIZES, st.sampled_from(POLICIES))
def test_waste_counts_the_batches_that_are_made(lengths, size, policy):
    """What is counted is what a runner times: rows times padded length of each batch."""
    positions = sum(len(batch) * padded_length(lengths, batch, policy, 512) for batch in batches(lengths, size, policy))
    share = waste(lengths, size, policy, 512)
    assert share == pytest.approx((positions - sum(lengths)) / positions)
    assert 0 <= share < 1
    assert padded_over_real(lengths, size, policy, 512) == pytest.approx(positions / sum(lengths))


@settings(deadline=None)
@given(LENGTHS, SIZES)
def test_padding_to_the_maximum_is_never_better(lengths, size):
    """No other policy computes more positions than padding every row to the longest, or beyond."""
    worst = padded_over_real(lengths, size, "pad-to-max")
    assert worst >= padded_over_real(lengths, size, "dynamic")
    assert worst >= padded_over_real(lengths, size, "length-sorted")
    assert padded_over_real(lengths, size, "pad-to-max", 600) > worst


@settings(deadline=None)
@given(full_batches())
def test_sorting_is_never_worse_in_full_batches(drawn):
    """Of all ways to fill equal batches the sorted one needs fewest positions."""
    lengths, size = drawn
    assert padded_over_real(lengths, size, "length-sorted") <= padded_over_real(lengths, size, "dynamic")


def test_sorting_may_be_worse_with_a_smaller_last_batch():
    """Why the property above speaks of full batches: a lone long example at the end is best left alone."""
    assert padded_over_real([1, 1, 100], 2, "dynamic") == 1
    assert padded_over_real([1, 1, 100], 2, "length-sorted") > 1


@settings(deadline=None)
@given(LENGTHS)
def test_single_examples_waste_nothing_unless_padded_to_the_maximum(lengths):
    """With batch size 1 only pad-to-max pads."""
    assert waste(lengths, 1, "dynamic") == waste(lengths, 1, "length-sorted") == 0
    assert waste(lengths, 1, "pad-to-max", 513) > 0


def test_padded_length_of_a_batch():
    """Its longest row, or the maximum where all is padded to it."""
    lengths = [3, 9, 5]
    assert padded_length(lengths, [0, 2], "dynamic") == 5
    assert padded_length(lengths, [0, 2], "length-sorted", 16) == 5
    assert padded_length(lengths, [0, 2], "pad-to-max") == 9
    assert padded_length(lengths, [0, 2], "pad-to-max", 16) == 16


def test_examples_beyond_the_maximum_are_a_mistake():
    """Lengths are those after truncation."""
    with pytest.raises(ValueError, match="an example of 9 tokens does not fit in 8"):
        waste([3, 9], 1, "pad-to-max", 8)


def test_unknown_policies_are_named():
    """A misspelt policy gets a suggestion."""
    with pytest.raises(UnknownNameError, match="did you mean 'length-sorted'"):
        batches([1], 1, "length-sort")


def test_nonsense_is_refused():
    """No examples and no rows are errors with a message, not a division by zero."""
    with pytest.raises(UsageError, match="a batch of 0 examples"):
        waste([1], 0, "dynamic")
    with pytest.raises(MeasurementError, match="no examples to make batches of"):
        waste([], 2, "dynamic")
    with pytest.raises(MeasurementError, match="no examples to take the lengths of"):
        distribution([])


def test_distribution_of_lengths():
    """Six figures; percentiles are lengths that occur."""
    found = distribution([*range(1, 100), 500])
    assert found == {"min": 1, "median": 50.5, "mean": pytest.approx(54.5), "p90": 90, "p99": 99, "max": 500}


@settings(deadline=None)
@given(LENGTHS)
def test_percentiles_of_lengths_equal_those_of_the_reports(lengths):
    """One definition of a percentile in the whole tool."""
    found = distribution(lengths)
    assert found["p90"] == order_statistic(lengths, 0.9)
    assert found["p99"] == order_statistic(lengths, 0.99)
