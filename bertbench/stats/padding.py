"""How much of a batch is padding, by the policy that makes batches; for the Offline scenario and for reports.

An encoder computes every position of a batch, real or not, so that its throughput on real lengths depends on how they
are batched, and a fixed shape says nothing of it. The batches counted here are the ones to be timed. An example is
its length in tokens.

    lengths = [12, 40, 7, 33]
    batches(lengths, 2, "length-sorted")  # [[1, 3], [0, 2]]
    waste(lengths, 2, "length-sorted")    # 0.115: 12 of 104 positions are padding
    waste(lengths, 2, "pad-to-max", 128)  # 0.82

Policies:
- pad-to-max: batches in the given order, every row padded to `max_length`, what a tokenizer's padding="max_length" does;
- dynamic: batches in the given order, each padded to its longest row, what a padding collator does;
- length-sorted: the longest first, then as dynamic. Of equally large batches none need fewer positions than these; a
  smaller last one, which here has the shortest rows, may be better placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from bertbench.errors import MeasurementError, UnknownNameError, UsageError
from bertbench.stats.queueing import order_statistic

POLICIES = ("pad-to-max", "dynamic", "length-sorted")


def batches(lengths: Sequence[int], batch_size: int, policy: str) -> list[list[int]]:
    """Make batches of the examples' indices, every example once; the last batch may be smaller.

    Args:
        lengths: tokens of each example, shape (n,).
        batch_size: rows of a batch.
        policy: one of `POLICIES`.

    Raises:
        MeasurementError: there are no examples.
        UnknownNameError: there is no such policy.
        UsageError: the batch size is not positive.
    """
    if policy not in POLICIES:
        raise UnknownNameError("padding policy", policy, POLICIES)
    if batch_size < 1:
        raise UsageError(f"a batch of {batch_size} examples cannot be run", "give a batch size of 1 or more")
    if not lengths:
        raise MeasurementError("no examples to make batches of")
    order = list(range(len(lengths)))
    if policy == "length-sorted":
        order.sort(key=lambda index: -lengths[index])  # stable: equal lengths keep their order
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_length(lengths: Sequence[int], batch: Sequence[int], policy: str, max_length: int | None = None) -> int:
    """Return how long every row of a batch is; without `max_length`, pad-to-max takes the longest example of all."""
    longest = max(lengths[index] for index in batch)
    if max_length is not None and longest > max_length:
        raise ValueError(f"an example of {longest} tokens does not fit in {max_length}; truncate first")
    if policy != "pad-to-max":
        return longest
    return max(lengths) if max_length is None else max_length


def waste(lengths: Sequence[int], batch_size: int, policy: str, max_length: int | None = None) -> float:
    """Compute the share of all computed positions that hold padding, 0 (none) to below 1: the quantity `padding_waste`.

    As in training, padding tokens over all tokens. For padded over real tokens see `padded_over_real`.

    Args:
        lengths: tokens of each example, after truncation, shape (n,), each at least 1.
        batch_size: rows of a batch.
        policy: one of `POLICIES`.
        max_length: what pad-to-max pads to; the longest example where it is not given.

    Raises:
        MeasurementError: there are no examples.
        UnknownNameError: there is no such policy.
        UsageError: the batch size is not positive.
    """
    return 1 - 1 / padded_over_real(lengths, batch_size, policy, max_length)


def padded_over_real(lengths: Sequence[int], batch_size: int, policy: str, max_length: int | None = None) -> float:
    """Divide computed positions by real tokens: 1 without padding, 2 where half is padding. Arguments as in `waste`."""
    made = batches(lengths, batch_size, policy)
    limit = max(lengths) if max_length is None else max_length
    return sum(len(batch) * padded_length(lengths, batch, policy, limit) for batch in made) / sum(lengths)


def distribution(lengths: Sequence[int]) -> dict[str, float]:
    """Compute min, median, mean, p90, p99 and max of the lengths, in tokens.

    The percentiles are order statistics of the given examples, which are all there are, so that few are enough.

    Raises:
        MeasurementError: there are no examples.
    """
    if not lengths:
        raise MeasurementError("no examples to take the lengths of")
    ordered = sorted(lengths)
    return {
        "min": ordered[0],
        "median": median(ordered),
        "mean": fmean(ordered),
        "p90": order_statistic(ordered, 0.90),
        "p99": order_statistic(ordered, 0.99),
        "max": ordered[-1],
    }
