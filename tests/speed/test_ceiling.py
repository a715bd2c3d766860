import pytest

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import ceiling as module
from bertbench.speed.ceiling import ceiling, fastest, model_sizes


class Clock:
    """Time that products make pass."""

    def __init__(self, rates):
        self.now, self.rates, self.calls = 0.0, rates, []

    def __call__(self):
        """The time now."""
        return self.now

    def product(self, size):
        """A product at the rate stated for its size."""

        def run():
            self.calls.append(size)
            self.now += 2 * size[0] * size[1] * size[2] / self.rates[size]

        return run


def test_the_best_rate_wins():
    """The ceiling is the best over sizes, squares and the models' own."""
    small, large = (10, 10, 10), (20, 20, 20)
    clock = Clock({small: 1e5, large: 4e5})
    assert fastest(clock.product, [large, small], clock=clock) == (pytest.approx(4e5), large)


def test_slow_products_end_the_search():
    """A format without hardware is tried once, and nothing larger after it."""
    small, large = (100, 100, 100), (200, 200, 200)
    clock = Clock({small: 1e5, large: 1e5})
    assert fastest(clock.product, [small, large], clock=clock)[1] == small
    assert clock.calls == [small]


def test_sizes_of_a_model():
    """A layer's products: projections, and both of the feed-forward."""
    assert model_sizes(128, 768, 3072) == [(128, 768, 768), (128, 768, 3072), (128, 3072, 768)]


def test_real_process(monkeypatch):
    """A process of its own measures a plausible rate, and one that dies gives none."""
    monkeypatch.setattr(module, "TRIES_S", 0.01)
    rate, size = ceiling(ExecutionSettings(threads=1), [(64, 64, 64)])
    assert rate > 1e6
    assert size == (64, 64, 64)
    assert ceiling(ExecutionSettings(device="no-such-device"), [(64, 64, 64)]) is None
