"""Where the examples of a task come from: a generator, a local folder or the hub.

The one door to `datasets`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import DatasetError, first_line
from bertbench.models import hub
from bertbench.specs import plugins
from bertbench.specs.names import is_number, whole_number
from bertbench.specs.tasks import DatasetSpec, TaskSpec
from bertbench.tasks import rowfiles
from bertbench.tasks.delimited import Expected
from bertbench.tasks.examples import HIDDEN, Examples
from bertbench.tasks.reading import of_table
from bertbench.tasks.rowfiles import ENDINGS, RowTable

if TYPE_CHECKING:
    from bertbench.tasks.kind import TaskKind

OTHER_NAMES = {"validation": ("dev", "valid", "val", "eval"), "test": ("testing",), "train": ("training",)}

ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")

__all__ = ["HIDDEN", "Examples", "check", "is_on_hub", "load", "source_fingerprint"]


def load(task: TaskSpec, split: str, data_dir: Path | None = None, *, labelled: bool = True) -> Examples:
    """Load the examples of one split.

    Args:
        task: names data set, columns and labels.
        split: as the data set calls it.
        data_dir: if given, `<data_dir>/<task>/<split>.<ext>` is read instead; a generated task needs no folder there.
        labelled: False takes rows whose label is hidden or absent too, with `HIDDEN` as their label.

    Raises:
        DatasetError: missing, damaged, empty, without a column, or with labels that are not the task's.
        HubError: the hub refused or cannot be reached.
    """
    source, folder = task.dataset, _folder(task, data_dir)
    if folder is not None:
        table = _read(task, _split_file(folder, split))
    elif source.generator:
        generator = plugins.load("bertbench.tasks.demo", "generator", source.generator)
        rows = [dict(row) for row in _generated(generator.generate, split)]
        classes = {task.label: task.labels} if task.labels else None  # places by their making
        table = RowTable(f"{source.generator}, split {split}", rows, classes=classes)
    else:
        table = _from_hub(task, split)
    return of_table(task, split, table, labelled=labelled)


@lru_cache(maxsize=8)
def _generated(generate: Callable[[str], list[dict[str, Any]]], split: str) -> list[dict[str, Any]]:
    """Generate a split once in a process, as workers do many cells of a task: every call would give the same rows."""
    return generate(split)


def check(task: TaskSpec, split: str, data_dir: Path | None = None) -> None:
    """Find out at once whether there is anything to read a split from; nothing is read, and `datasets` is not loaded.

    Raises:
        DatasetError: what `load` would raise where the folder or the file is missing, or the hub cannot be reached.
    """
    folder = _folder(task, data_dir)
    if folder is not None:
        _split_file(folder, split)
    elif is_on_hub(task, data_dir) and not _is_cached(task.dataset):
        state = hub.state()
        if state != "online":
            raise _out_of_reach(_name_of(task.dataset), state)


def is_on_hub(task: TaskSpec, data_dir: Path | None = None) -> bool:
    """Tell whether the task's examples come from the hub, or from its cache."""
    return task.dataset.path is not None and data_dir is None


def _is_cached(source: DatasetSpec) -> bool:
    """Tell whether `datasets` may find it without a hub: where in doubt, that is left to the library.

    It keeps namespace/MyData as namespace___my_data/<subset>/<version>/<hash> below its cache.
    """
    path = str(source.path)
    if not ID.fullmatch(path) or Path(path).is_dir():
        return True
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("HF_HOME", caches / "huggingface"))
    cache = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")).expanduser()
    wanted = path.replace("/", "___").replace("_", "").lower()
    kept = [folder for folder in cache.glob("*") if folder.name.replace("_", "").lower() == wanted]
    subset = glob.escape(source.subset) if source.subset else "*"
    return any(version for folder in kept for version in folder.glob(f"{subset}/*/*"))


def _folder(task: TaskSpec, data_dir: Path | None) -> Path | None:
    """Return the folder where the task's files lie, or None if its examples come from the hub or a generator."""
    source = task.dataset
    if data_dir is not None and ((data_dir / task.name).is_dir() or source.generator is None):
        return data_dir / task.name
    return Path(source.folder) if source.folder else None


def source_fingerprint(task: TaskSpec, data_dir: Path | None = None) -> str:
    """Return what tells versions of the data apart unread: file sizes and dates, or the generator's version."""
    source, folder = task.dataset, _folder(task, data_dir)
    if folder is not None:
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        return str([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
    if source.generator:
        return f"{source.generator} {plugins.load('bertbench.tasks.demo', 'generator', source.generator).version}"
    return f"{source.path} {source.subset} {source.revision}"


def _split_file(folder: Path, split: str) -> Path:
    """Return the file of a split in a folder.

    Raises:
        DatasetError: there is no such folder, or none or several such files in it.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"data folder {folder}: no such folder", f"expected files like {folder / (split + '.parquet')}"
        )
    paths = [path for ending in ENDINGS if (path := folder / (split + ending)).is_file()]
    if not paths:
        names = sorted(file.name for file in folder.iterdir())
        raise DatasetError(
            f"data folder {folder}: no file for split '{split}' (found: {', '.join(names) or 'nothing'})",
            f"expected {split}.parquet, .csv, .tsv, .jsonl or .json{_rename(names, split)}",
        )
    if len(paths) > 1:
        names = [path.name for path in paths]
        raise DatasetError(
            f"data folder {folder}: split '{split}' is there more than once ({', '.join(names)})", "keep one of them"
        )
    return paths[0]


def _read(task: TaskSpec, path: Path) -> RowTable:
    """Read the rows of a file with the task's columns."""
    kind: TaskKind = plugins.load("bertbench.tasks.kinds", "task kind", task.kind)
    needed = [column for column in kind.columns(task) if column != task.label]
    try:
        return rowfiles.read(path, Expected(needed, task.label, partial(_is_label, task)))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})", "check the file") from None


def _is_label(task: TaskSpec, text: str) -> bool:
    """Tell whether a text may be a label of the task."""
    if task.labels is None:
        return text == text.strip() and is_number(text)
    number = whole_number(text) if text.isdigit() else None
    return text in task.labels or (number is not None and number < len(task.labels))


def _rename(names: Sequence[str], split: str) -> str:
    """Suggest what to do with files that may be the split under another name."""
    for name in names:
        stem, ending = Path(name).stem.lower(), Path(name).suffix.lower()
        if stem == split and ending in ENDINGS:
            return f": rename {name} to {split}{ending}"
        if stem in OTHER_NAMES.get(split, ()):
            return f": rename {name} to {split}{ending}, or name split '{Path(name).stem}' in the task's YAML"
        if stem.startswith(f"{split}-") and ending in ENDINGS:
            return f": rename {name} to {split}{ending}"
        if name.startswith(f"{split}."):
            return f": unpack or convert {name}"
    return ""


def _name_of(source: DatasetSpec) -> str:
    """Name a data set of the hub as messages do."""
    return f"data set {source.path}" + (f" ({source.subset})" if source.subset else "")


def _from_hub(task: TaskSpec, split: str) -> RowTable:
    source: DatasetSpec = task.dataset
    where = _name_of(source)
    hub.quiet_libraries()
    state = hub.state()
    import datasets  # only now: it reads at import what `hub.state` has set

    datasets.logging.set_verbosity_error()
    if not hub.progress_bars_wanted():
        datasets.disable_progress_bars()

    def read() -> Any:
        return datasets.load_dataset(source.path, source.subset, revision=source.revision, split=split)

    try:  # offline there is nothing to wait for
        loaded = hub.retrying(where, read) if state == "online" else read()
    except Exception as error:
        raise _explained(error, where, split, state) from error
    notes: tuple[str, ...] = ()
    if loaded.info.builder_name == "csv":
        paths = _csv_files(source, where, split)
        if all(path.suffix in ENDINGS for path in paths):
            return _joined([_read(task, path) for path in paths], f"{where}, split {split}")
        notes = (f"{paths[0].name} was read by the `datasets` library, which takes '007' for 7 and 'NA' for a gap",)
    feature = (loaded.features or {}).get(task.label)
    while feature is not None and hasattr(feature, "feature"):  # a list of classes
        feature = feature.feature
    names = getattr(feature, "names", None) if isinstance(feature, datasets.ClassLabel) else None
    return RowTable(
        f"{where}, split {split}", loaded.to_list(), classes={task.label: tuple(names)} if names else None, notes=notes
    )


def _csv_files(source: DatasetSpec, where: str, split: str) -> list[Path]:
    """Find the files of a data set that is CSV, as they were downloaded.

    The library takes '007' for 7, 'NA' for a gap, and the first field of rows that are too wide for an index.

    Raises:
        DatasetError: they are not in the cache.
    """
    import datasets
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            str(source.path), repo_type="dataset", revision=source.revision, local_files_only=True
        )
        return [Path(file) for file in datasets.load_dataset_builder(folder, source.subset).config.data_files[split]]
    except Exception as error:
        reason = first_line(error)
        raise DatasetError(
            f"{where}, split {split}: its CSV files cannot be found in the cache ({reason:.120})",
            "clear the data set's cache and try again, or give --data-dir DIR with <task>/<split>.csv",
        ) from error


def _joined(parts: Sequence[RowTable], where: str) -> RowTable:
    """Join the rows of several files, one after another."""
    if len(parts) == 1:
        return parts[0]
    places = [f"{Path(part.where).name}, {part.place(i)}" for part in parts for i in range(len(part.rows))]
    rows = [row for part in parts for row in part.rows]
    return RowTable(where, rows, places, notes=tuple(note for part in parts for note in part.notes))


def _out_of_reach(where: str, state: hub.State) -> DatasetError:
    """Neither the hub nor the cache has it."""
    why = "the hub cannot be reached" if state == "unreachable" else "HF_HUB_OFFLINE is set"
    return DatasetError(
        f"{where}: not cached, and {why}",
        "run once with a connection, or give --data-dir DIR with <task>/<split>.parquet",
    )


def _explained(error: Exception, where: str, split: str, state: hub.State) -> Exception:
    """Put a data-set library's error into one clear line; leave hub errors and bugs as they are."""
    if state != "online":
        return _out_of_reach(where, state)
    name, reason = type(error).__name__, first_line(error)
    if name == "DatasetNotFoundError":
        return DatasetError(
            f"{where}: not found on the hub, or not open to you",
            "check the id; for a private one log in with `hf auth login`",
        )
    if name in {"ValueError", "DataFilesNotFoundError", "FileNotFoundError", "RuntimeError"}:
        return DatasetError(
            f"{where}: split '{split}' cannot be loaded ({reason:.160})",
            "check 'subset', 'revision' and the split names in the task's YAML",
        )
    if name in {"DatasetGenerationError", "ArrowInvalid"}:
        return DatasetError(f"{where}: damaged file ({reason:.160})", "clear the data set's cache and try again")
    return error
