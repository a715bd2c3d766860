"""Products through oneDNN: the same outputs to rounding, for fp32 layers on the CPU only, and gone afterwards."""

import numpy as np
import pytest
import torch

from bertbench.models import products

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def faster(monkeypatch):
    """A processor on which oneDNN is the faster library."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch is built without oneDNN")
    monkeypatch.setattr(products, "is_onednn_faster", lambda: True)


@pytest.fixture
def model():
    """Two layers of seeded weights, the second without a bias."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(96, 64), torch.nn.GELU(), torch.nn.Linear(64, 3, bias=False))


def is_replaced(layer):
    """Whether a layer has a forward of its own."""
    return "forward" in vars(layer)


@pytest.mark.usefixtures("faster")
def test_outputs_are_the_same_to_rounding(model):
    """What changes is the library, neither the format nor the shape of the outputs."""
    rows = torch.linspace(-2, 2, 5 * 7 * 96).reshape(5, 7, 96)
    with torch.inference_mode():
        plain = model(rows)
        with products.quickest_products(model):
            assert is_replaced(model[0])
            quick = model(rows)
    assert quick.shape == plain.shape
    np.testing.assert_allclose(quick.numpy(), plain.numpy(), atol=1e-6)


@pytest.mark.usefixtures("faster")
def test_nothing_is_left_behind(model):
    """Layers are as they were afterwards, also after a failure: a model is trained on and saved."""
    with pytest.raises(RuntimeError), products.quickest_products(model):
        raise RuntimeError
    assert not any(is_replaced(layer) for layer in model)


@pytest.mark.usefixtures("faster")
def test_other_formats_and_layers_are_left_alone(model):
    """Torch has its own way in bf16, and a subclass may multiply otherwise."""

    class Own(torch.nn.Linear):
        """A layer that someone else wrote."""

    for other in (model.bfloat16(), torch.nn.Sequential(Own(4, 4))):
        with products.quickest_products(other):
            assert not any(is_replaced(layer) for layer in other)


def test_the_processor_decides(monkeypatch):
    """AMD's processors with AVX-512 are the ones whose units MKL leaves unused."""
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    answers = {}
    for name in ("AMD EPYC", "Intel(R) Xeon(R)"):
        for capability in ("AVX512", "AVX2"):
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
            monkeypatch.setattr(products.environment, "cpu_model", lambda name=name: name)
            answers[name, capability] = products.is_onednn_faster.__wrapped__()
    assert [key for key, answer in answers.items() if answer] == [("AMD EPYC", "AVX512")]
