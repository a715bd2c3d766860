"""Whether a back-end can run, and exports: made once, whole or not at all, by a process of their own."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bertbench.errors import BackendError, CheckpointError, DeviceError, MeasurementError, StoreError, UnknownNameError
from bertbench.models.token_ids import Encoded
from bertbench.processes import Child
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed import exports
from bertbench.speed.calibration_set import CalibrationSet

SETTINGS = ExecutionSettings(threads=1)


class Backend:
    """Exports by copying; a version decides about the file."""

    dtypes = ("fp32", "bf16")
    devices = ("cpu",)
    requires = ()
    extra = None
    version = "1"

    def export_key(self, settings):
        """What decides about the file."""
        del settings
        return (self.version,)


class Derived(Backend):
    """Made from the export of 'copy'."""

    exported_from = "copy"

    def export_key(self, settings):
        """Another one."""
        del settings
        return ("derived",)


class Calibrated(Backend):
    """Takes ranges from inputs."""

    is_calibrated = True


Backend.export = lambda *_: None


class Exporter:
    """Back-ends 'copy' and 'derived', exported in this process; `made` lists the (name, source) of exports."""

    def __init__(self):
        self.backends = {"copy": Backend(), "derived": Derived(), "calibrated": Calibrated()}
        self.made = []

    def export(self, name, source, target, settings):
        """Write what it is an export of."""
        del settings
        self.made.append((name, source))
        (target / "model").write_text(f"{name} of {source.name}")

    def ready(self, name, folder, settings, cache, progress=None, calibration=None, export=None):
        """`exports.ready` with these back-ends."""
        load, export = self.backends.__getitem__, export or self.export
        return exports.ready(name, folder, settings, cache, progress, calibration, load=load, export=export)

    def check(self, settings, **changes):
        """`exports.check` of 'copy' with other attributes."""
        backend = type("Changed", (Backend,), changes)
        exports.check("copy", settings, {"copy": backend()}.__getitem__)


@pytest.fixture
def exporter():
    """Makes exports without a process."""
    return Exporter()


def model_folder(path, weights=b"weights", **config):
    """A folder that has what a digest is taken of."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "pytorch_model.bin").write_bytes(weights)
    return path


def left_over(cache):
    """What lies in the cache besides whole exports and locks."""
    return [path.name for path in cache.iterdir() if path.name.startswith(".")]


def test_nothing_is_exported_where_none_is_needed(tmp_path):
    """Back-ends that load the model itself get its folder."""
    assert exports.ready("eager", tmp_path, SETTINGS, tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache").exists()


def test_an_export_is_made_once(exporter, tmp_path):
    """The second call finds the first one's folder, with config.json beside the file, and reports no progress."""
    folder, told = model_folder(tmp_path / "m"), []
    first = exporter.ready("copy", folder, SETTINGS, tmp_path / "cache", lambda *step: told.append(step))
    assert (first / "model").read_text() == "copy of m"
    assert (first / "config.json").read_text() == "{}"
    assert told == [("exporting m for copy", 0, 1), ("exporting m for copy", 1, 1)]
    assert exporter.ready("copy", folder, SETTINGS, tmp_path / "cache", None) == first
    assert exporter.made == [("copy", folder)]
    assert left_over(tmp_path / "cache") == []


def test_content_decides_not_the_place(exporter, tmp_path):
    """An equal model elsewhere shares the export; other weights, configuration, head or versions do not."""
    cache = tmp_path / "cache"
    folder = model_folder(tmp_path / "a")
    first = exporter.ready("copy", folder, SETTINGS, cache)
    assert exporter.ready("copy", model_folder(tmp_path / "b"), SETTINGS, cache) == first
    assert exporter.ready("copy", folder, replace(SETTINGS, threads=2), cache) == first
    others = {
        exporter.ready("copy", model_folder(tmp_path / "c", b"others"), SETTINGS, cache),
        exporter.ready("copy", model_folder(tmp_path / "d", labels=3), SETTINGS, cache),
        exporter.ready("copy", folder, replace(SETTINGS, head="sequence-classification"), cache),
    }
    exporter.backends["copy"].version = "2"
    others.add(exporter.ready("copy", folder, SETTINGS, cache))
    assert len(others - {first}) == 4


def test_a_changed_file_is_seen(exporter, tmp_path):
    """New weights in the same folder are exported anew, in the same process too."""
    folder = model_folder(tmp_path / "m")
    first = exporter.ready("copy", folder, SETTINGS, tmp_path / "cache")
    model_folder(folder, b"longer weights")
    assert exporter.ready("copy", folder, SETTINGS, tmp_path / "cache") != first


def test_an_export_of_an_export(exporter, tmp_path):
    """A derived export is made from the other one, which is kept and shared, and follows its key."""
    folder, cache = model_folder(tmp_path / "m"), tmp_path / "cache"
    base = exporter.ready("copy", folder, SETTINGS, cache)
    derived = exporter.ready("derived", folder, SETTINGS, cache)
    assert exporter.made == [("copy", folder), ("derived", base)]
    assert (derived / "config.json").exists()
    exporter.backends["copy"].version = "2"
    assert exporter.ready("derived", folder, SETTINGS, cache) != derived


def test_inputs_decide_about_an_export_that_is_calibrated(exporter, tmp_path):
    """Other inputs are another export, which holds them before it is made; back-ends without ranges ignore them."""
    folder, cache = model_folder(tmp_path / "m"), tmp_path / "cache"
    sets = [CalibrationSet("demo", "train", (Encoded(ids),)) for ids in ((5, 6), (5, 7))]
    seen = []

    def export(name, source, target, settings):
        seen.append(CalibrationSet.read(target))

    made = [exporter.ready("calibrated", folder, SETTINGS, cache, None, of, export) for of in (*sets, None, sets[0])]
    assert len(set(made)) == 3
    assert made[3] == made[0]
    assert seen == [*sets, None]
    assert CalibrationSet.read(made[1]) == sets[1]
    plain = exporter.ready("copy", folder, SETTINGS, cache, None, sets[0])
    assert plain == exporter.ready("copy", folder, SETTINGS, cache)
    assert CalibrationSet.read(plain) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MeasurementError("no operator")])
def test_a_failed_export_leaves_nothing(exporter, tmp_path, error):
    """A full disk is said with what to do; whatever fails, nothing half-made stays, and the next attempt starts anew."""
    folder, cache = model_folder(tmp_path / "m"), tmp_path / "cache"

    def fail(name, source, target, settings):
        (target / "model").write_text("half")
        raise error

    with pytest.raises((StoreError, MeasurementError), match=r"No space left.*Free space|no operator"):
        exporter.ready("copy", folder, SETTINGS, cache, export=fail)
    assert [path.suffix for path in cache.iterdir()] in ([], [".lock"])
    assert (exporter.ready("copy", folder, SETTINGS, cache) / "model").read_text() == "copy of m"


def test_what_a_killed_process_left_is_removed(exporter, tmp_path):
    """A temporary folder of the same export is cleared before a new one is made."""
    folder, cache = model_folder(tmp_path / "m"), tmp_path / "cache"
    target = exporter.ready("copy", folder, SETTINGS, cache)
    target.rename(cache / f".{target.name}-killed")
    assert exporter.ready("copy", folder, SETTINGS, cache) == target
    assert left_over(cache) == []


def test_two_at_once_make_one(exporter, tmp_path):
    """Whoever comes second waits for the first and takes its export."""
    folder, cache = model_folder(tmp_path / "m"), tmp_path / "cache"

    def slow(*arguments):
        time.sleep(0.3)
        exporter.export(*arguments)

    folders = []

    def make():
        folders.append(exporter.ready("copy", folder, SETTINGS, cache, export=slow))

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(set(folders)), len(folders), len(exporter.made)) == (1, 3, 1)


def test_no_weights(exporter, tmp_path):
    """A folder without weights cannot be exported."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no weights"):
        exporter.ready("copy", tmp_path, SETTINGS, tmp_path / "cache")


@pytest.fixture
def broken(tmp_path):
    """A folder whose weights no library can read."""
    return model_folder(tmp_path / "broken", model_type="bert")


@pytest.mark.filterwarnings("ignore")
def test_errors_cross_the_process(broken, tmp_path, capfd):
    """What the exporting process raises is raised here in the same class; it prints nothing."""
    pytest.importorskip("onnxscript")
    with pytest.raises(CheckpointError, match=r"broken: the model cannot be loaded.*Check config.json"):
        exports.ready("onnxruntime", broken, SETTINGS, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_export_is_an_error_not_a_hang(broken, tmp_path):
    """The death of the exporting process is reported with its likely cause."""
    pytest.importorskip("onnxscript")

    def start_and_kill(*arguments, name):
        child = Child.start(*arguments, name=name)
        os.kill(child.pid, signal.SIGKILL)
        return child

    export = partial(exports.export_apart, start=start_and_kill)
    with pytest.raises(MeasurementError, match="export for onnxruntime was killed, probably out of memory"):
        exports.ready("onnxruntime", broken, SETTINGS, tmp_path / "cache", export=export)


@pytest.mark.parametrize("name", ["eager", "onnxruntime", "openvino", "openvino-int8", "torchao-int8"])
def test_absent_libraries_are_named_with_the_command(name):
    """What is missing is named with the extra that brings it; nothing is imported to find out."""

    def find(_):
        return None

    if name == "eager":
        exports.check(name, SETTINGS, find=find)
        assert exports.install_command(name) is None
        return
    extra = {"onnxruntime": "onnx", "torchao-int8": "torchao"}.get(name, name)
    assert exports.missing(name, find=find) == exports.load_backend(name).requires
    with pytest.raises(BackendError) as caught:
        exports.check(name, SETTINGS, find=find)
    assert str(caught.value).endswith(f'not installed. Install it: pip install "bertbench[{extra}]"')
    assert caught.value.hint == f'install it: pip install "bertbench[{extra}]"'


def test_modules_that_cannot_be_looked_up_are_absent(monkeypatch):
    """A barred or half-removed module counts as missing."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "onnxscript" in exports.missing("onnxruntime")


def test_what_a_back_end_cannot_do(exporter):
    """Device, number format and obstacles of this machine are one line each; a single format is never refused."""
    with pytest.raises(DeviceError, match="does not run on cuda:0"):
        exporter.check(replace(SETTINGS, device="cuda:0"))
    with pytest.raises(DeviceError, match="does not compute in fp16"):
        exporter.check(replace(SETTINGS, dtype="fp16"))
    exporter.check(replace(SETTINGS, dtype="bf16"))
    exporter.check(SETTINGS, dtypes=("int8",))
    with pytest.raises(BackendError, match="back-end copy: too old a processor"):
        exporter.check(SETTINGS, obstacle=lambda *_: "too old a processor")


def test_unknown_back_ends():
    """A misspelt name gets a suggestion, in every function."""
    for function in (exports.missing, exports.install_command, lambda name: exports.check(name, SETTINGS)):
        with pytest.raises(UnknownNameError, match="did you mean 'openvino'"):
            function("openvin")


def test_looking_imports_nothing_heavy():
    """Checking PyTorch's back-ends and looking for what is missing loads no library."""
    code = (
        "import sys; from bertbench.speed import exports; from bertbench.specs import plugins; from bertbench.specs.timing import ExecutionSettings\n"
        "for name in plugins.names('bertbench.speed.backends'): exports.missing(name)\n"
        "exports.check('eager', ExecutionSettings())\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime', 'openvino', 'nncf', 'torchao'} & set(sys.modules)))"
    )
    root = Path(exports.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
