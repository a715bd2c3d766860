"""Static int8: what is quantized, with ranges of which inputs, and that nobody is told of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bertbench
from bertbench.errors import MeasurementError
from bertbench.models.token_ids import Encoded
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.calibration_set import CalibrationSet

pytest.importorskip("openvino")
pytest.importorskip("nncf")

SETTINGS = ExecutionSettings(threads=1, backend="openvino-int8", dtype="int8")
LAYERS = 2


def back_end(name):
    """A back-end by its name."""
    return plugins.load("bertbench.speed.backends", "back-end", name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny BERT as the file of 'openvino'."""
    import torch
    from transformers import BertConfig, BertModel

    folders = [tmp_path_factory.mktemp(name) for name in ("bert", "fp32")]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folders[0])
    back_end("openvino").export(*folders, SETTINGS)
    shutil.copyfile(folders[0] / "config.json", folders[1] / "config.json")
    return folders[1]


@pytest.fixture
def quantize(exported, tmp_path):
    """Quantizes with ranges from rows of token ids, or, without, from random ones; gives the folder."""

    def make(name, rows=None):
        target = tmp_path / name
        target.mkdir()
        if rows:
            CalibrationSet("demo", "train", tuple(map(Encoded, rows))).write(target)
        back_end("openvino-int8").export(exported, target, SETTINGS)
        return target

    return make


def test_products_are_int8(quantize, capfd):
    """Of every layer the six products with weights and attention's own two take quantized inputs; nothing is printed."""
    folder = quantize("texts", [(2, 7, 8, 3), (2, 9, 3)])
    assert capfd.readouterr() == ("", "")
    layers = (folder / "model.xml").read_text(encoding="utf-8")
    assert layers.count('type="MatMul"') == 8 * LAYERS + 1
    kinds = re.findall(r'type="(?:i8|u8)"|element_type="i8"', layers)
    assert len(kinds) >= 6 * LAYERS + 1  # weights
    assert layers.count('type="FakeQuantize"') >= 4 * LAYERS  # activations


def test_ranges_are_those_of_the_inputs(quantize):
    """Equal inputs give the same file, others another, and without inputs random ids within the model's length are taken."""
    files = [
        (quantize(name, rows) / "model.bin").read_bytes()
        for name, rows in (("a", [(2, 7, 3)]), ("b", [(2, 7, 3)]), ("c", [(9, 30, 41, 8)]), ("d", None))
    ]
    assert files[0] == files[1]
    assert len(set(files)) == 3


def test_what_cannot_be_quantized(exported, tmp_path, monkeypatch):
    """What NNCF cannot do is a measurement that failed, with what to leave out."""
    import nncf

    def refuse(*_, **__):
        raise RuntimeError("no such layer\nmore")

    monkeypatch.setattr(nncf, "quantize", refuse)
    with pytest.raises(
        MeasurementError, match=r"cannot quantize the model \(no such layer\). Leave out the back-end openv"
    ):
        back_end("openvino-int8").export(exported, tmp_path, SETTINGS)


def test_nobody_is_told(tmp_path):
    """OpenVINO and NNCF are imported without the package that reports to their maker, and leave nothing in the home folder."""
    pytest.importorskip("openvino_telemetry")
    code = (
        "import sys; from bertbench.speed.backends import openvino\n"
        "runtime = openvino.runtime()\n"
        "with openvino.telemetry_barred():\n    import nncf\n"
        "import openvino.tools.ovc as tools\n"
        "print(sorted(name for name in sys.modules if name.startswith('openvino_telemetry')), type(tools.telemetry).__module__)"
    )
    # A variable of continuous integration would silence it, too, and so would pytest, which a new process does not know.
    quiet = {"CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV"}
    world = {name: value for name, value in os.environ.items() if name not in quiet} | {"HOME": str(tmp_path)}
    root = Path(bertbench.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=world)
    assert done.stdout.split() == ["[]", "openvino.tools.ovc.telemetry_stub"]
    assert list(tmp_path.iterdir()) == []


def test_the_bar_is_lifted_again(monkeypatch):
    """Other code of the process may import the package afterwards; what was imported before is there again."""
    from bertbench.speed.backends.openvino import TELEMETRY, telemetry_barred

    monkeypatch.delitem(sys.modules, TELEMETRY, raising=False)
    with telemetry_barred(), pytest.raises(ImportError):
        __import__(TELEMETRY)
    assert TELEMETRY not in sys.modules
    theirs = type(sys)(TELEMETRY)
    monkeypatch.setitem(sys.modules, TELEMETRY, theirs)
    with telemetry_barred():
        assert sys.modules[TELEMETRY] is None
    assert sys.modules[TELEMETRY] is theirs
