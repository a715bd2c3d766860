"""Examples of a task: from a generator, a local folder or the hub, checked before anything is trained on them.

The one door to `datasets`. Not aware of models and tokenizers.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import hub, plugins
from bertbench.errors import DatasetError
from bertbench.specs import DatasetSpec, TaskSpec
from bertbench.tasks._kind import RowError

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.tasks._kind import TaskKind

EXTENSIONS = (".parquet", ".csv", ".jsonl", ".json")
HIDDEN = ()  # the label of an example that has none
SUBSET_SEED = 0  # which samples --train-samples and --eval-samples take: the same for every model and seed


@dataclass(frozen=True)
class Examples:
    """One split.

    What `inputs[i]` and `labels[i]` hold is the task kind's: one or two texts and a class index or number; question and
    context and the acceptable answers; words and their tags.
    """

    split: str
    ids: tuple[str, ...]
    inputs: tuple[tuple[Any, ...], ...]
    labels: tuple[Any, ...]
    available: int  # rows of the split before any cut

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, count: int | None) -> Examples:
        """`count` examples drawn with a fixed seed, in the split's order; all of them if None or too few."""
        if count is None or count >= len(self):
            return self
        kept = sorted(random.Random(SUBSET_SEED).sample(range(len(self)), count))  # noqa: S311 (a reproducible draw)
        return self._at(kept)

    def first(self, count: int) -> Examples:
        """The first `count` examples; all of them if there are no more."""
        return self._at(range(min(count, len(self))))

    def _at(self, kept: Sequence[int]) -> Examples:
        return Examples(
            self.split,
            tuple(self.ids[i] for i in kept),
            tuple(self.inputs[i] for i in kept),
            tuple(self.labels[i] for i in kept),
            self.available,
        )

    @property
    def digest(self) -> str:
        """sha256 over ids, texts and labels: equal only for the same examples in the same order."""
        content = hashlib.sha256()
        for row in zip(self.ids, self.inputs, self.labels, strict=True):
            content.update(json.dumps(row, ensure_ascii=False).encode())
            content.update(b"\n")
        return content.hexdigest()


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
        where, rows = _from_folder(folder, split)
    elif source.generator:
        where = f"{source.generator}, split {split}"
        rows = plugins.load("bertbench.demo", "generator", source.generator).generate(split)
    else:
        where, rows = _from_hub(source, split)
    return _checked(task, split, where, rows, labelled=labelled)


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


def _from_folder(folder: Path, split: str) -> tuple[str, list[dict[str, Any]]]:
    import pandas as pd

    if not folder.is_dir():
        raise DatasetError(
            f"data folder {folder}: no such folder", f"expected files like {folder / (split + '.parquet')}"
        )
    path = next((folder / (split + ending) for ending in EXTENSIONS if (folder / (split + ending)).is_file()), None)
    if path is None:
        found = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise DatasetError(
            f"data folder {folder}: no file for split '{split}' (found: {found})",
            f"expected {split}.parquet, .csv or .jsonl",
        )
    try:
        frame = _read(path)
    except (OSError, ValueError, pd.errors.ParserError) as error:  # pyarrow's errors are among these
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise DatasetError(f"{path}: damaged or not what its ending says ({reason:.120})", "replace the file") from None
    return str(path), [{str(key): value for key, value in row.items()} for row in frame.to_dict(orient="records")]


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    text = path.read_text(encoding="utf-8")  # pandas would turn some texts into dates
    lines = [line for line in text.split("\n") if line.strip()]
    return pd.DataFrame([json.loads(line) for line in lines] if path.suffix == ".jsonl" else json.loads(text))


def _from_hub(source: DatasetSpec, split: str) -> tuple[str, list[dict[str, Any]]]:
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
    return f"{where}, split {split}", loaded.to_list()


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


def _checked(
    task: TaskSpec, split: str, where: str, rows: Sequence[dict[str, Any]], *, labelled: bool = True
) -> Examples:
    if not rows:
        raise DatasetError(
            f"{where}: split '{split}' is empty", "a task needs at least one example in every split it uses"
        )
    kind: TaskKind = plugins.load("bertbench.tasks", "task kind", task.kind)
    needed = [column for column in kind.columns(task) if labelled or column != task.label]
    missing = [column for column in needed if column not in rows[0]]
    if missing:
        raise DatasetError(
            f"{where}: no column '{missing[0]}' (columns: {', '.join(rows[0])})",
            f"'inputs' and 'label' of task {task.name} must name columns",
        )
    ids = tuple(str(row.get("idx", row.get("id", number))) for number, row in enumerate(rows))
    pairs = [_example(kind, task, row, where, number, labelled=labelled) for number, row in enumerate(rows)]
    return Examples(split, ids, tuple(inputs for inputs, _ in pairs), tuple(label for _, label in pairs), len(rows))


def _example(
    kind: TaskKind, task: TaskSpec, row: dict[str, Any], where: str, number: int, *, labelled: bool
) -> tuple[Any, Any]:
    try:
        return kind.example(task, row) if labelled else _perhaps_labelled(kind, task, row)
    except RowError as error:
        place = "" if error.of_split else f"row {number}, "
        raise DatasetError(f"{where}: {place}{error.reason}", error.hint) from None


def _perhaps_labelled(kind: TaskKind, task: TaskSpec, row: dict[str, Any]) -> tuple[Any, Any]:
    """Inputs and label of a row, `HIDDEN` where there is none that the task knows."""
    try:
        return kind.example(task, row)
    except (KeyError, RowError):
        return kind.inputs(task, row), HIDDEN
