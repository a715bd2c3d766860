import pytest

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.calibration import (
    SIZES,
    Calibration,
    calibrate,
    ceiling,
    expected_seconds,
    fastest,
    judge,
    measure_products,
    model_sizes,
    product_rates,
)


class Machine:
    """Multiplies at a stated rate, on a clock of its own."""

    def __init__(self, rate):
        self.rate, self.now, self.sizes = rate, 0.0, []

    def clock(self):
        """Seconds that products took so far."""
        return self.now

    def product_at(self, size):
        """A product of this size."""
        self.sizes.append(size)

        def product():
            self.now += 2 * size[0] * size[1] * size[2] / self.rate

        return product


def rates(rate, at_least=None):
    """What is measured on a machine of a known rate."""
    machine = Machine(rate)
    return product_rates(machine.product_at, at_least, machine.clock), machine


def test_rates_are_those_of_the_machine():
    """A fast machine is measured at all sizes, at its rate, within the budget."""
    found, machine = rates(5e11)
    assert machine.sizes == list(SIZES)
    assert found == pytest.approx([5e11] * len(SIZES))
    assert machine.now < 0.5


def test_a_format_without_hardware_is_given_up_at_once():
    """A format far slower than fp32 costs one small product or two and is not chosen."""
    fp32, _ = rates(1.5e11)
    bf16, machine = rates(3e8, at_least=fp32)
    assert len(machine.sizes) == 1
    assert machine.now < 0.2
    assert judge(fp32, bf16, 1.0).bf16_is_faster is False


def test_a_slow_machine_stops_before_the_large_sizes():
    """Long products end the search."""
    found, machine = rates(5e8)
    assert len(found) < len(SIZES)
    assert machine.now < 1.5


@pytest.mark.parametrize(("bf16_rate", "faster"), [(4e11, True), (1.1e11, False), (0.9e11, False)])
def test_judgement(bf16_rate, faster):
    """bf16 is worth a closer look where it is faster by more than 15 per cent."""
    fp32, _ = rates(1e11)
    bf16, _ = rates(bf16_rate, at_least=fp32)
    found = judge(fp32, bf16, 0.5)
    assert found.bf16_is_faster is faster
    assert (found.gflops_fp32, found.gflops_bf16) == pytest.approx((100, bf16_rate / 1e9))


def test_judgement_where_either_format_ended_early():
    """Formats are compared at the largest size that both have: a device may pause in either."""
    assert judge([1e11], [2e11, 4e11], 0.5).bf16_is_faster is False  # one size tells too little of bf16's advantage
    assert judge([1e11, 1e11], [1e11, 2e11, 4e11], 0.5).bf16_is_faster is True


def test_setting_the_device_up_is_not_timed():
    """The first product of all, which on CUDA takes seconds, is no part of any rate."""
    begun = []

    def product(_, dtype, __):
        return lambda: begun.append(dtype)

    def product_rates(*_, **__):
        begun.append("rates")
        return [1e11]

    measure_products(1, "cpu", product, product_rates)
    assert begun[:2] == ["float32", "rates"]


def test_expected_seconds():
    """Training takes at least three times the forward passes; the format's own rate counts."""
    calibration = Calibration(100.0, 400.0, bf16_is_faster=True, seconds=1.0)
    forward = expected_seconds(6e10, calibration)
    assert forward == pytest.approx(1.0)
    assert expected_seconds(6e10, calibration, "training") > 3 * forward
    assert expected_seconds(6e10, calibration, dtype="bf16") == pytest.approx(forward / 4)


def test_calibrating_this_machine():
    """The real measurement is quick, plausible, kept, and leaves torch's threads as they were."""
    import torch

    before = torch.get_num_threads()
    found = calibrate(1)
    assert torch.get_num_threads() == before
    assert 0.1 < found.gflops_fp32 < 1e6
    assert found.gflops_bf16 > 0
    assert found.seconds < 5
    assert calibrate(1) is found


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


def test_real_process():
    """A process of its own measures a plausible rate, and one that dies gives none."""
    rate, size = ceiling(ExecutionSettings(threads=1), [(64, 64, 64)])
    assert rate > 1e6
    assert size == (64, 64, 64)
    assert ceiling(ExecutionSettings(device="no-such-device"), [(64, 64, 64)]) is None
