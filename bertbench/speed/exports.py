"""Whether a back-end can run here, and the file that it runs: exported once from a model's folder and kept.

An export is found by its content: the model's configuration and weights, the head, the versions of the code and libraries
that write it, and, where ranges of activations are taken from inputs, these. It is made by a process of its own, so that its memory and threads are gone before anything is
timed, in a temporary folder beside the others, and renamed when it is whole. Nothing heavy is imported here.
`workers.preload` must have been called before the first export, since that starts the fork server.

    check("onnxruntime", settings)
    folder = ready("onnxruntime", Path("models/bert"), settings, Path("results/exports"))
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bertbench import errors
from bertbench.errors import BackendError, BertBenchError, DeviceError, MeasurementError, StoreError
from bertbench.models.checkpoints import WEIGHT_FILES, local_snapshot
from bertbench.processes import Child, ChildDiedError, Death, behave_as_child
from bertbench.records.progress import Progress, silent
from bertbench.specs import plugins
from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.calibration_set import CalibrationSet

Reply = tuple[str, str, str | None]  # class of an error, message, hint
LoadBackend = Callable[[str], Any]  # a back-end by its name
Export = Callable[[str, Path, Path, ExecutionSettings], None]  # back-end, source, empty folder to fill

TIDYING_S = 30.0  # after it has answered: libraries remove their temporary files


def load_backend(name: str) -> Any:
    """Look up a back-end by its name.

    Raises:
        UnknownNameError: there is no such back-end.
    """
    return plugins.load("bertbench.speed.backends", "back-end", name)


def missing(name: str, load: LoadBackend = load_backend, find: Callable[[str], object] = find_spec) -> tuple[str, ...]:
    """Name the modules that the back-end needs and that are not installed; none of them is imported.

    Raises:
        UnknownNameError: there is no such back-end.
    """
    return tuple(module for module in load(name).requires if not _is_installed(module, find))


def install_command(name: str) -> str | None:
    """Return what to type to get all that the back-end needs; None where bertbench alone is enough."""
    extra = load_backend(name).extra
    return None if extra is None else f'pip install "bertbench[{extra}]"'


def is_calibrated(name: str, load: LoadBackend = load_backend) -> bool:
    """Tell whether the back-end's export takes the ranges of activations from inputs.

    Raises:
        UnknownNameError: there is no such back-end.
    """
    return bool(getattr(load(name), "is_calibrated", False))


def check(
    name: str,
    settings: ExecutionSettings,
    load: LoadBackend = load_backend,
    find: Callable[[str], object] = find_spec,
) -> None:
    """See that the back-end can run here as `settings` ask.

    Raises:
        UnknownNameError: there is no such back-end.
        BackendError: its libraries are not installed, or this machine lacks something else.
        DeviceError: it does not run on that device or in that number format.
    """
    backend = load(name)
    absent = missing(name, load, find)
    if absent:
        command = install_command(name)
        raise BackendError(
            f"back-end {name}: {' and '.join(absent)} not installed", f"install it: {command}" if command else None
        )
    kind = settings.device.partition(":")[0]
    if kind not in backend.devices:
        raise DeviceError(
            f"back-end {name} does not run on {settings.device}", f"devices: {', '.join(backend.devices)}"
        )
    if len(backend.dtypes) > 1 and settings.dtype not in backend.dtypes:
        raise DeviceError(
            f"back-end {name} does not compute in {settings.dtype}", f"number formats: {', '.join(backend.dtypes)}"
        )
    obstacle: Callable[[ExecutionSettings], str | None] = getattr(backend, "obstacle", lambda _: None)
    reason = obstacle(settings)
    if reason:
        raise BackendError(f"back-end {name}: {reason}", "leave it out of --backends")


def export_apart(
    name: str, source: Path, target: Path, settings: ExecutionSettings, start: Callable[..., Child] = Child.start
) -> None:
    """Run the back-end's `export` in a process of its own and raise here what it raises there."""
    with start(_export, name, source, target, settings, name=f"bertbench export for {name}") as child:
        try:
            reply: Reply | None = child.receive()
            child.wait(TIDYING_S)
        except ChildDiedError as error:
            reply = _death(name, source, error.death)
    if reply is not None:
        kind, message, hint = reply
        raise getattr(errors, kind, MeasurementError)(message, hint)


def _death(name: str, source: Path, death: Death) -> Reply:
    cause = "was killed, probably out of memory" if death.is_out_of_memory else f"ended with {death.cause}"
    return (
        "MeasurementError",
        f"{source}: the export for {name} {cause}",
        f"free memory or leave {name} out of --backends",
    )


def _export(connection: Connection, name: str, source: Path, target: Path, settings: ExecutionSettings) -> None:
    """Export in silence, in the child, and send None, or what went wrong."""
    behave_as_child()
    _silence()
    reply: Reply | None = None
    try:
        load_backend(name).export(source, target, settings)
    except BertBenchError as error:
        reply = type(error).__name__, error.message, error.hint
    except OSError as error:
        full = _cannot_keep(target.parent.parent, error)
        reply = "StoreError", full.message, full.hint
    except MemoryError:
        reply = "MeasurementError", f"{source}: out of memory during the export for {name}", None
    except Exception as error:  # noqa: BLE001 - the parent reports it
        reply = "MeasurementError", f"{source}: the export for {name} failed ({errors.first_line(error)})", None
    with suppress(OSError):  # the parent has gone
        connection.send(reply)


def ready(
    name: str,
    folder: Path,
    settings: ExecutionSettings,
    cache: Path,
    progress: Progress | None = silent,
    calibration: CalibrationSet | None = None,
    *,
    load: LoadBackend = load_backend,
    export: Export = export_apart,
) -> Path:
    """Return the folder that the back-end loads: `folder` itself, or its export in `cache`, made if it is not there.

    Args:
        name: the back-end.
        folder: the model, with config.json and weights.
        settings: what decides about the export is its head.
        cache: where exports are kept, a folder each.
        progress: is told of an export that has to be made.
        calibration: what a back-end that is calibrated takes its ranges from; None: random token ids. Others ignore it.
        load: looks up back-ends.
        export: fills an empty folder.

    Raises:
        CheckpointError: the model cannot be loaded.
        MeasurementError: it cannot be exported.
        StoreError: the export cannot be written, a full disk for instance.
    """
    backend = load(name)
    if not hasattr(backend, "export"):
        return folder
    source = folder
    base: str | None = getattr(backend, "exported_from", None)
    if base is not None:
        source = ready(base, folder, replace(settings, backend=base), cache, progress, load=load, export=export)
    calibration = calibration if is_calibrated(name, load) else None
    target = cache / _key(backend, folder, source, settings, calibration)

    def fill(made: Path) -> None:
        if calibration is not None:
            calibration.write(made)
        export(name, source, made, settings)

    if not target.is_dir():
        try:
            _make(folder, target, f"{folder.name} for {name}", progress or silent, fill)
        except OSError as error:
            raise _cannot_keep(cache, error) from None
    return target


def _is_installed(module: str, find: Callable[[str], object]) -> bool:
    try:
        return find(module) is not None
    except (ImportError, ValueError):  # half removed, or barred by whoever imports us
        return False


def _cannot_keep(cache: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{cache}: an exported model cannot be written ({error.strerror or error})",
        "free space or permit writing there, or choose another folder (--results-dir)",
    )


def _key(
    backend: Any, folder: Path, source: Path, settings: ExecutionSettings, calibration: CalibrationSet | None
) -> str:
    """Name the export by what it was made from and by."""
    origin = _content(folder) if source == folder else source.name
    parts = (origin, str(settings.head), *backend.export_key(settings))
    parts += (calibration.digest,) if calibration else ()
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _content(folder: Path) -> str:
    """Compute the digest of a model's configuration and weights, counted anew where a file has changed."""
    files = [folder / "config.json", *(folder / name for name in WEIGHT_FILES)]
    states = tuple((str(file), s.st_size, s.st_mtime_ns, s.st_ino) for file in files if (s := _stat(file)) is not None)
    return _digest(folder, states)


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


@lru_cache(maxsize=64)
def _digest(folder: Path, states: tuple[tuple[str, int, int, int], ...]) -> str:
    del states  # part of what is remembered
    weights = local_snapshot(folder).digest
    return hashlib.sha256((folder / "config.json").read_bytes() + weights.encode()).hexdigest()


def _make(folder: Path, target: Path, subject: str, progress: Progress, export: Callable[[Path], None]) -> None:
    """Export into a temporary folder beside `target` and move it there; other processes wait and find it done."""
    from filelock import FileLock  # only where there is something to export

    cache = target.parent
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{target.name}.lock"):
        if target.is_dir():  # made by another process while this one waited
            return
        for leftover in cache.glob(f".{target.name}-*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        label = f"exporting {subject}"
        progress(label, 0, 1)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=cache) as scratch:
            made = Path(scratch) / "export"
            made.mkdir()
            export(made)
            shutil.copyfile(folder / "config.json", made / "config.json")
            made.rename(target)  # at once and whole: whoever sees the folder may load it
        progress(label, 1, 1)


def _silence() -> None:
    """Discard what exporters log and print, also from C++: standard output is for results."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
