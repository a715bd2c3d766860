import pytest

from bertbench.models import configurations, products
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import calibration
from bertbench.speed.calibration import MOST_TRIES, ProbedShape, ceiling, fastest, model_sizes, pass_seconds


def test_a_pass_is_the_least_of_several(tiny):
    """The real measurement is plausible, of every shape, and leaves torch's threads as they were."""
    import torch

    before = torch.get_num_threads()
    config = configurations.load(tiny())
    one, eight = pass_seconds(config, [ProbedShape(1, 16), ProbedShape(8, 16, "evaluating")], ExecutionSettings())
    assert torch.get_num_threads() == before
    assert 0 < one < 5
    assert 0 < eight < 5


def test_a_moment_of_noise_is_no_pass_time(tiny):
    """The least of the tries counts; a pass that takes long is tried until two are alike."""
    config = configurations.load(tiny())
    readings = iter([0.0, 0.9, 1.0, 1.1, 2.0, 2.4, 3.0, 3.1])  # passes of 0.9, 0.1, 0.4 and 0.1 seconds
    assert pass_seconds(config, [ProbedShape(1, 8)], ExecutionSettings(), clock=lambda: next(readings)) == [
        pytest.approx(0.1)
    ]
    short = iter(range(1000))
    short_passes = pass_seconds(config, [ProbedShape(1, 8)], ExecutionSettings(), clock=lambda: next(short) * 1e-3)
    assert short_passes == pytest.approx([1e-3])
    assert next(short) == 2 * MOST_TRIES
    ticks = iter(range(10**6))
    evaluated = [ProbedShape(1, 8, "evaluating")]
    assert pass_seconds(config, evaluated, ExecutionSettings(), clock=lambda: next(ticks) * 1e-3) == pytest.approx(
        [1e-3]
    )
    assert 4 * 50 <= next(ticks) <= 4 * 53  # windows of 50 passes
    long_passes = iter([0.0, 3.0, 3.0, 4.8, 5.0, 5.8, 6.0, 6.9])  # passes of 3, 1.8, 0.8 and 0.9 seconds
    least = pass_seconds(config, [ProbedShape(1, 8)], ExecutionSettings(), clock=lambda: next(long_passes))
    assert least == [pytest.approx(0.8)]


def test_planning_does_not_wait_for_very_long_passes(tiny):
    """Passes that are never alike are tried for some seconds in all, as planning takes of the time that is planned."""
    unlike = iter([0.0, 9.0, 10.0, 14.0])  # passes of 9 and 4 seconds, and no third
    assert pass_seconds(
        configurations.load(tiny()), [ProbedShape(1, 8)], ExecutionSettings(), clock=lambda: next(unlike)
    ) == [4]


def test_a_training_step_has_its_own_threads(tiny, monkeypatch):
    """What was timed in between with other threads does not change those of a training step."""
    import torch

    monkeypatch.setattr(products, "WORK_FOR_THREADS", 1e15)  # training takes one thread
    seen: list[int] = []
    ticks = iter(range(10**6))

    def clock():
        seen.append(torch.get_num_threads())
        return next(ticks) * 1e-3

    shapes = [ProbedShape(8, 16, "training"), ProbedShape(8, 16), ProbedShape(8, 16, "training")]
    pass_seconds(configurations.load(tiny()), shapes[:2], ExecutionSettings(threads=2), clock=clock)
    start = len(seen)
    pass_seconds(configurations.load(tiny()), shapes, ExecutionSettings(threads=2), clock=clock)
    assert seen[start] == seen[-1] == 1


@pytest.mark.parametrize(
    ("use", "work", "expected"),
    [("timing", 1e15, 2), ("training", 1e15, 1), ("training", 1, 2), ("evaluating", 1e15, 1)],
)
def test_a_pass_has_the_threads_of_its_use(tiny, monkeypatch, use, work, expected):
    """What is timed has all threads; training and evaluating only where they are work enough for them."""
    import torch

    seen = []
    monkeypatch.setattr(products, "WORK_FOR_THREADS", work)
    ticks = iter(range(1000))

    def clock():
        seen.append(torch.get_num_threads())
        return next(ticks)

    pass_seconds(configurations.load(tiny()), [ProbedShape(8, 16, use)], ExecutionSettings(threads=2), clock=clock)
    assert set(seen) == {expected}


def test_training_is_whole_steps(tiny, monkeypatch):
    """A step of a small model is timed with gradients and optimizer; a large one's is reckoned from a pass."""
    config = configurations.load(tiny())
    forward, step = pass_seconds(
        config, [ProbedShape(8, 16, "evaluating"), ProbedShape(8, 16, "training")], ExecutionSettings()
    )
    assert step > 1.5 * forward
    monkeypatch.setattr(calibration, "SMALL_PASS_S", 0.0)
    shapes = [ProbedShape(8, 16), ProbedShape(8, 16, "training")]
    readings = iter(range(0, 1000, 2))
    forward, step = pass_seconds(config, shapes, ExecutionSettings(threads=1), clock=lambda: next(readings))
    assert step == pytest.approx(calibration.TRAINING_PASSES * forward)


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


@pytest.mark.slow
def test_real_process():
    """A process of its own measures a plausible rate, and one that dies gives none."""
    rate, size = ceiling(ExecutionSettings(threads=1), [(64, 64, 64)])
    assert rate > 1e6
    assert size == (64, 64, 64)
    assert ceiling(ExecutionSettings(device="no-such-device"), [(64, 64, 64)]) is None
