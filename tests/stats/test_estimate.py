"""Values with intervals, and the facts on how these came about."""

import subprocess
import sys

import pytest

from bertbench.stats.estimate import Estimate, Method, MethodKind, Scope

METHOD = Method(MethodKind.JEFFREYS, unit="examples")


def test_inverse_swaps_bounds():
    """The inverse of a ratio has the inverse bounds the other way round."""
    assert Estimate(2.0, 1.0, 4.0, METHOD).inverse() == Estimate(0.5, 0.25, 1.0, METHOD)
    assert Estimate(2.0).inverse() == Estimate(0.5)
    assert Estimate(2.0, 1.0, 4.0, METHOD).scaled(3) == Estimate(6.0, 3.0, 12.0, METHOD)


def test_no_bound_of_an_inverse_at_zero():
    """Of a value that may be 0 the inverse has no upper bound, and so no interval; 0 is no absent bound."""
    assert Estimate(2.0, 0.0, 4.0, METHOD).inverse() == Estimate(0.5, None, None, METHOD)
    assert Estimate(2.0, 0.0, 4.0, METHOD).scaled(2) == Estimate(4.0, 0.0, 8.0, METHOD)


@pytest.mark.parametrize(("counts", "replications"), [((5,), 5), ((7, 4), 4), ((), None)])
def test_an_interval_rests_on_the_fewer_replications(counts, replications):
    """Of two sets of rounds the smaller counts; what was drawn again and again has no such number."""
    assert Method(MethodKind.WELCH, counts, "rounds").replications == replications


def test_scopes_that_are_less_than_the_method():
    """A checkpoint, or two of them, tell less than the method; the method on these examples does not."""
    assert {scope for scope in Scope if scope.is_of_checkpoints} == {Scope.CHECKPOINT, Scope.CHECKPOINTS}


def test_loading_is_light():
    """Rows of reports hold estimates: loading these takes no numbers' library along."""
    code = "import sys, bertbench.stats.estimate; print({'numpy', 'scipy', 'pandas'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
