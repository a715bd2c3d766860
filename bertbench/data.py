"""Where the examples of a task come from: a generator, a local folder or the hub.

The one door to `datasets`. Not aware of models and tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import hub, plugins, rowfiles
from bertbench.delimited import Expected
from bertbench.errors import DatasetError
from bertbench.examples import HIDDEN, Examples, of_table
from bertbench.names import Names, is_number
from bertbench.rowfiles import ENDINGS, Table
from bertbench.specs import DatasetSpec, TaskSpec

if TYPE_CHECKING:
    from bertbench.tasks._kind import TaskKind

__all__ = ["HIDDEN", "Examples", "load", "source_fingerprint"]


def load(task: TaskSpec, split: str, data_dir: Path | None = None, *, labelled: bool = True) -> Examples:
    """The examples of one split.

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
        table = _from_folder(task, folder, split)
    elif source.generator:
        rows = plugins.load("bertbench.demo", "generator", source.generator).generate(split)
        classes = {task.label: task.labels} if task.labels else None  # places by their making
        table = Table(f"{source.generator}, split {split}", rows, classes=classes)
    else:
        table = _from_hub(task, split)
    return of_table(task, split, table, labelled=labelled)


def _folder(task: TaskSpec, data_dir: Path | None) -> Path | None:
    """Where the task's files lie, or None if its examples come from the hub or a generator."""
    source = task.dataset
    if data_dir is not None and ((data_dir / task.name).is_dir() or source.generator is None):
        return data_dir / task.name
    return Path(source.folder) if source.folder else None


def source_fingerprint(task: TaskSpec, data_dir: Path | None = None) -> str:
    """What tells one version of the data from another without reading it: file sizes and dates, or the generator's version."""
    source, folder = task.dataset, _folder(task, data_dir)
    if folder is not None:
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        return str([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
    if source.generator:
        return f"{source.generator} {plugins.load('bertbench.demo', 'generator', source.generator).version}"
    return f"{source.path} {source.subset} {source.revision}"


def _from_folder(task: TaskSpec, folder: Path, split: str) -> Table:
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
    known = Names.of(task.labels) if task.labels else None
    is_label = is_number if known is None else lambda text: known.find(text) is not None
    kind: TaskKind = plugins.load("bertbench.tasks", "task kind", task.kind)
    needed = [column for column in kind.columns(task) if column != task.label]
    try:
        return rowfiles.read(paths[0], Expected(needed, task.label, is_label))
    except OSError as error:
        raise DatasetError(f"{paths[0]}: cannot be read ({error.strerror or error})", "check the file") from None


def _rename(names: Sequence[str], split: str) -> str:
    """What to do with files that may be the split under another name."""
    likely = {"validation": ("dev", "valid", "val", "eval"), "test": ("testing",), "train": ("training",)}.get(
        split, ()
    )
    for name in names:
        stem, ending = Path(name).stem, Path(name).suffix
        if stem.lower() == split and ending.lower() in ENDINGS:
            return f": rename {name} to {split}{ending.lower()}"
        if stem.lower() in likely:
            of_split = (
                "train_split: " if split == "train" else f"{'evaluation_splits' if split != 'test' else 'test_sets'}: …"
            )
            return f": rename {name} to {split}{ending.lower()}, or name split '{stem}' in the task's YAML ({of_split.strip()})"
        if stem == split:
            return f"; {ending or name} is none of these: convert it"
    return ""


def _from_hub(task: TaskSpec, split: str) -> Table:
    source: DatasetSpec = task.dataset
    where = f"data set {source.path}" + (f" ({source.subset})" if source.subset else "")
    hub.quiet_libraries()
    state = hub.state()
    import datasets

    datasets.logging.set_verbosity_error()
    if not hub.progress_bars_wanted():
        datasets.disable_progress_bars()

    def read() -> Any:
        return datasets.load_dataset(source.path, source.subset, revision=source.revision, split=split)

    try:  # offline there is nothing to wait for
        loaded = hub.retrying(where, read) if state == "online" else read()
    except Exception as error:
        raise _explained(error, where, split, state) from error
    feature = (loaded.features or {}).get(task.label)
    while feature is not None and hasattr(feature, "feature"):  # a list of classes
        feature = feature.feature
    names = getattr(feature, "names", None) if isinstance(feature, datasets.ClassLabel) else None
    return Table(f"{where}, split {split}", loaded.to_list(), classes={task.label: tuple(names)} if names else None)


def _explained(error: Exception, where: str, split: str, state: hub.State) -> Exception:
    """A data-set library's error as one clear line; hub errors and bugs as they are."""
    if state != "online":
        why = "the hub cannot be reached" if state == "unreachable" else "HF_HUB_OFFLINE is set"
        return DatasetError(
            f"{where}: {why} and it is not in the cache",
            "run once with a connection, or give --data-dir DIR with <task>/<split>.parquet",
        )
    name, text = type(error).__name__, str(error).strip().splitlines()
    reason = text[0] if text else name
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
