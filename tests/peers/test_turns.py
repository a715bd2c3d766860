"""Two programs by turns, and when their ratios are said to disagree."""

import math

import pytest

from tests.peers.turns import agreement, alternate


def side(name, calls, seconds):
    """A program that notes that it was run, and what it says."""

    def run():
        calls.append(name)
        return seconds

    return run


def test_sides_take_turns():
    """Both sides run in every round, and each comes first in every second one."""
    calls = []
    ours, theirs = side("ours", calls, {"a": 1.0}), side("theirs", calls, {"a": 2.0})
    assert alternate(ours, theirs, 3) == [({"a": 1.0}, {"a": 2.0})] * 3
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_equal_ratios_agree_whatever_the_times():
    """A side that takes a constant number of times as long agrees, and so does a machine that slows down for both."""
    pairs = [({"a": slow, "b": slow / 2}, {"a": 3 * slow, "b": 1.5 * slow * noise}) for slow, noise in WOBBLE]
    agreed = agreement(pairs, "b", "a")
    assert agreed.ours.value == pytest.approx(2)
    assert agreed.between.low < 1 < agreed.between.high
    assert not agreed.is_refuted


def test_other_ratios_are_refuted():
    """Where one side sees a gain of 2 and the other of 3 in every round, the interval lies beyond what is called equal."""
    pairs = [({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": noise / 3}) for _, noise in WOBBLE]
    agreed = agreement(pairs, "b", "a")
    assert agreed.between.value == pytest.approx(2 / 3, rel=0.02)
    assert agreed.is_refuted
    assert "ratio of both 0.6" in agreed.text("b")


def test_one_noisy_round_refutes_nothing():
    """A round in which the machine was busy for one side only widens the interval."""
    pairs = [({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 0.5 * math.exp(noise)}) for noise in (0.0, 0.0, 0.0, 0.0, 1.5)]
    assert not agreement(pairs, "b", "a").is_refuted


WOBBLE = [(1.0, 1.01), (2.0, 0.99), (1.5, 1.0), (3.0, 1.02), (1.2, 0.98)]
