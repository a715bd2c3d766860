"""One contract for all back-ends: the answers of PyTorch in float32, whatever the batch, and clear errors."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from bertbench.errors import CheckpointError
from bertbench.models.token_ids import Encoded, padded
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.calibration_set import CalibrationSet

SETTINGS = ExecutionSettings(threads=1)
HEAD = replace(SETTINGS, head="sequence-classification")
EXPORTED = ("onnxruntime", "onnxruntime-fused", "onnxruntime-int8", "openvino", "openvino-int8")
BACKENDS = ("eager", "eager-attention", *EXPORTED)
# Largest difference by number format; the outputs are of the order of 1.
TOLERANCE = {"fp32": 1e-4, "int8": 0.3}
APPROXIMATES = {"onnxruntime-fused": 2e-3}  # GELU by tanh
SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 514,
    "num_labels": 3,
}
MODERN = {
    # Windows and special tokens that a small vocabulary and short inputs go beyond; two layers, or none would be local.
    "modernbert": {
        "num_hidden_layers": 2, "local_attention": 16,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
    },
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": "p2c|c2p", "position_biased_input": False,
    },
    "electra": {"embedding_size": 16},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "classifier_activation": False},
    "mpnet": {"pad_token_id": 1},
    "eurobert": {"num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3},
}  # fmt: skip
OWN = {"albert": {"embedding_size": 16}, **MODERN}
ROWS = [[5 + (7 * row + token) % 90 for token in range(length)] for row, length in enumerate((9, 4, 17, 2))]


def tolerance_of(name):
    """The largest difference of a back-end's outputs."""
    return APPROXIMATES.get(name) or TOLERANCE[plugin(name).dtypes[0]]


def plugin(name):
    """The back-end, or a skip where its libraries are absent."""
    backend = plugins.load("bertbench.speed.backends", "back-end", name)
    for module in backend.requires:
        pytest.importorskip(module, exc_type=ImportError)
    return backend


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Makes tiny models and their exports, each once: `world(name, architecture, settings)` is what the back-end loads."""
    made = {}

    def folder(architecture, head):
        import torch
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        key = architecture, head
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"{architecture}-{head}")
            config = AutoConfig.for_model(architecture, **(SIZES | OWN.get(architecture, {})))
            torch.manual_seed(0)
            model = (AutoModelForSequenceClassification if head else AutoModel).from_config(config)
            for name, parameter in model.named_parameters():  # initial weights are so small that errors would be too
                if parameter.ndim > 1 and "embedding" not in name:
                    torch.nn.init.normal_(parameter, std=0.15)
            model.save_pretrained(made[key])
        return made[key]

    def ready(name, architecture="bert", settings=SETTINGS):
        backend, source = plugin(name), folder(architecture, settings.head)
        if not hasattr(backend, "export"):
            return source
        if hasattr(backend, "exported_from"):
            source = ready(backend.exported_from, architecture, settings)
        key = (source, *backend.export_key(settings))
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"{name}-export")
            if getattr(backend, "is_calibrated", False):
                rows = [Encoded(row, [kind] * len(row)) for row in ROWS for kind in (0, 1)]  # both within the ranges
                CalibrationSet("demo", "train", tuple(rows)).write(made[key])
            backend.export(source, made[key], settings)
            shutil.copyfile(source / "config.json", made[key] / "config.json")
        return made[key]

    return ready


@pytest.fixture
def load(world):
    """Loads a tiny model: `load(name, architecture, settings)`."""

    def loaded(name, architecture="bert", settings=SETTINGS):
        folder = world(name, architecture, settings)
        backend = plugin(name)
        settings = replace(settings, backend=name, dtype=backend.dtypes[0])
        backend.start(settings)
        return backend.load(folder, settings)

    return loaded


def outputs(model, rows, types=None):
    """What the model gives for one padded batch: each row's own positions."""
    array = model.array(model.run(model.prepare(*padded(rows, model.pad_id), types)))
    return [values[: len(row)] for values, row in zip(array, rows, strict=True)]


def assert_close(found, expected, tolerance):
    """Row by row within the tolerance."""
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.slow
def test_ragged_batches_are_answered_as_by_eager(load, name):
    """Padding is ignored, and a row's answer is the same alone, in a batch and with other rows."""
    expected = outputs(load("eager"), ROWS)
    model = load(name)
    tolerance = tolerance_of(name)
    assert max(abs(row).max() for row in expected) > 1
    assert_close(outputs(model, ROWS), expected, tolerance)
    assert_close([outputs(model, [row])[0] for row in ROWS], expected, tolerance)
    assert_close(outputs(model, ROWS[::-1])[::-1], expected, tolerance)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "albert", "roberta"])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.slow
def test_exports_take_any_batch_size_and_length(load, name, architecture):
    """One file serves batch sizes from 1 and lengths from 4 to 512, whatever it was traced with."""
    eager, model = load("eager", architecture), load(name, architecture)
    for batch_size, length in ((1, 4), (3, 8), (1, 33), (5, 16), (2, 512)):
        rows = [[5 + (row + token) % 90 for token in range(length - row % 2)] for row in range(batch_size)]
        assert_close(outputs(model, rows), outputs(eager, rows), 1e-4)


@pytest.mark.parametrize("architecture", MODERN)
@pytest.mark.slow
def test_newer_layers_are_exported_as_they_are(load, architecture):
    """Windows, relative positions, gates, bottlenecks and grouped heads answer alike in ONNX, at lengths they were not traced with."""
    eager, model = load("eager", architecture), load("onnxruntime", architecture)
    for batch_size, length in ((1, 4), (3, 40), (2, 512)):
        rows = [[5 + (row + token) % 90 for token in range(length - row % 2)] for row in range(batch_size)]
        expected = outputs(eager, rows)
        assert max(abs(row).max() for row in expected) > 0.1
        assert_close(outputs(model, rows), expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_token_types_count(load, name):
    """Absent token types are zeros, given ones are used; a model without them ignores them."""
    rows, ones = [ROWS[0]], [[1] * len(ROWS[0])]
    model, tolerance = load(name), tolerance_of(name)
    assert_close(outputs(model, rows, [[0] * len(ROWS[0])]), outputs(model, rows), 1e-6)
    assert abs(outputs(model, rows, ones)[0] - outputs(model, rows)[0]).max() > 0.01
    assert_close(outputs(model, rows, ones), outputs(load("eager"), rows, ones), tolerance)
    without = load(name, "distilbert")
    assert_close(outputs(without, rows, ones), outputs(without, rows), 1e-6)


@pytest.mark.parametrize("name", BACKENDS)
def test_arrays_are_hidden_states_or_logits_and_stay(load, name):
    """An array has the documented shape, is float32 and is not overwritten by later passes; times are positive."""
    model = load(name)
    batch = model.prepare(*padded(ROWS, model.pad_id))
    seconds, output = model.seconds(batch)
    array = model.array(output)
    kept = array.copy()
    model.run(model.prepare([[9] * 17] * 4, [[1] * 17] * 4))
    assert (array.shape, array.dtype, seconds > 0) == ((4, 17, 32), np.float32, True)
    assert (array == kept).all()
    assert model.device_memory(reset=True) is None
    assert (model.vocabulary, model.pad_id) == (100, 0)


@pytest.mark.parametrize("name", ["eager-attention", *EXPORTED])
def test_heads(load, name):
    """With a head the output is the logits, (batch_size, labels), and equals eager's."""
    model, eager = load(name, settings=HEAD), load("eager", settings=HEAD)
    found, expected = (m.array(m.run(m.prepare(*padded(ROWS, m.pad_id)))) for m in (model, eager))
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance_of(name))


def test_threads_are_those_asked_for(load):
    """Every runtime gets the number of threads of the settings."""
    import torch

    two = replace(SETTINGS, threads=2)
    before = torch.get_num_threads()
    try:
        load("eager", settings=two)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    options = load("onnxruntime", settings=two).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    compiled = load("openvino", settings=two).request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("damage", ["model cut", "model gone", "facts gone"])
def test_damaged_files(world, tmp_path, name, damage):
    """A file that is cut off or gone is a CheckpointError that names the folder."""
    folder = shutil.copytree(world(name), tmp_path / "copy")
    files = (
        [folder / getattr(plugin(name), "model_file", "model.onnx")]
        if name in EXPORTED
        else [folder / "model.safetensors"]
    )
    if damage == "facts gone":
        files = [folder / "facts.json"] if name in EXPORTED else [folder / "config.json"]
    for file in files:
        content = file.read_bytes()
        file.unlink()
        if damage == "model cut":
            file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="copy"):
        plugin(name).load(folder, replace(SETTINGS, backend=name))


def test_weights_beside_the_file_that_are_gone(world, tmp_path):
    """The weights lie in a file of their own; without it the export cannot be loaded."""
    folder = shutil.copytree(world("onnxruntime"), tmp_path / "copy")
    (folder / "model.onnx.data").unlink()
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(CheckpointError, match="Delete this folder"):
            plugin(name).load(folder, SETTINGS)


@pytest.fixture
def quick_compiler(monkeypatch, tmp_path):
    """Inductor with a cache of its own, and Dynamo as it was."""
    dynamo = pytest.importorskip("torch._dynamo")
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(dynamo.config, "fail_on_recompile_limit_hit", dynamo.config.fail_on_recompile_limit_hit)
    monkeypatch.setattr(inductor, "compile_threads", inductor.compile_threads)
    yield
    dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compile_keeps_the_contract(load, quick_compiler):
    """Compiled code answers as eager does, and stops compiling once it has seen both batch sizes and lengths change."""
    from torch._dynamo.utils import counters

    if plugin("compile").obstacle(SETTINGS):
        pytest.skip(plugin("compile").obstacle(SETTINGS))
    counters.clear()
    expected = outputs(load("eager"), ROWS)
    model = load("compile")
    assert_close(outputs(model, ROWS), expected, 1e-4)
    assert_close(outputs(model, ROWS[1:]), expected[1:], 1e-4)
    assert_close([outputs(model, [row])[0] for row in ROWS], expected, 1e-4)
    outputs(model, [ROWS[2][:7], ROWS[0]])
    graphs = counters["stats"]["unique_graphs"]
    assert graphs < 8  # the limit, beyond which it fails
    outputs(model, [ROWS[2][:15], ROWS[0], ROWS[1]])
    outputs(model, [ROWS[2][:13]])
    assert counters["stats"]["unique_graphs"] == graphs


def test_compile_without_a_compiler(monkeypatch):
    """Where there is no C++ compiler, the reason names it."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "'no-such-compiler' is not installed" in plugin("compile").obstacle(SETTINGS)


def test_openvino_without_bf16(monkeypatch):
    """The hint is refused where OpenVINO would compute in float32 under that name."""
    backend = plugin("openvino-bf16")
    import openvino

    for capabilities, refused in ((["FP32"], True), (["FP32", "BF16"], False)):
        core = type("Core", (), {"get_property": lambda *_, found=capabilities: found})
        monkeypatch.setattr(openvino, "Core", core)
        assert bool(backend.obstacle(SETTINGS)) is refused


def test_onnxruntime_without_cuda():
    """CUDA asked for and not in the installed build: the reason names the package that has it."""
    backend = plugin("onnxruntime")
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    assert "onnxruntime-gpu" in backend.obstacle(replace(SETTINGS, device="cuda:0"))
    assert backend.obstacle(SETTINGS) is None


def test_torchao_quantizes_linear_layers(load, monkeypatch):
    """Linear layers become int8 and answers stay near; compiling is left out, since it is tested with 'compile'."""
    plugin("torchao-int8")
    import torch

    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    model = load("torchao-int8", "albert")
    quantized = [p for p in model.module.parameters() if type(p) is not torch.nn.Parameter]
    assert len(quantized) == 8  # six of the shared layer, the embeddings' projection, the pooler
    assert_close(outputs(model, ROWS), outputs(load("eager", "albert"), ROWS), TOLERANCE["int8"])


@pytest.mark.parametrize(("flags", "refused"), [(("avx2",), True), (("avx2", "avx512_vnni"), False)])
def test_torchao_needs_int8_instructions(monkeypatch, flags, refused):
    """Without VNNI or AMX on x86 the product is a plain loop, and the back-end refuses."""
    from bertbench.speed.backends import torchao_int8

    monkeypatch.setenv("CXX", sys.executable)  # something that is there
    assert bool(torchao_int8.PLUGIN.obstacle(SETTINGS, lambda: "x86_64", lambda: flags)) is refused


def test_names_and_what_they_need():
    """Every back-end states formats, devices, modules and an extra that pyproject.toml has."""
    import tomllib
    from pathlib import Path

    with (Path(__file__).parents[3] / "pyproject.toml").open("rb") as stream:
        extras = tomllib.load(stream)["project"]["optional-dependencies"]
    for name in plugins.names("bertbench.speed.backends"):
        backend = plugins.load("bertbench.speed.backends", "back-end", name)
        assert backend.dtypes
        assert set(backend.devices) <= {"cpu", "cuda", "mps"}
        assert (backend.extra is None) == (not backend.requires)
        for module in backend.requires:
            assert any(module in requirement for requirement in extras[backend.extra]), (name, module)
