"""Published figures with source, place and status: configs/published/*.csv, of the package and of a project.

Values are kept in base units: points are divided by 100, 'M' is a million.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import ConfigError, UnknownNameError
from bertbench.specs import text_files
from bertbench.specs.models import ModelSpec, Published
from bertbench.specs.tasks import TaskSpec
from bertbench.specs.yaml_files import read_yaml
from bertbench.units import quantity_of

if TYPE_CHECKING:
    from bertbench.specs.catalog import Catalog

COLUMNS = ("model", "task", "quantity", "split", "value", "unit", "source", "place", "status", "caution")
STATUSES = ("confirmed", "confirmed-secondary", "computed")
# What a unit is in base units; units that are not here are kept.
FACTORS: dict[str, tuple[float, str]] = {
    "points": (0.01, "1"),
    "%": (0.01, "1"),
    "x": (1.0, "1"),
    "parameters": (1.0, "1"),
    "M": (1e6, "1"),
    "GFLOPs": (1e9, "1"),
    "ms": (1e-3, "s"),
    "hours": (3600.0, "s"),
    "MB": (1e6, "byte"),
}
SPEEDUP = "speedup"
# Who on the hub released what publications are about, or keeps it, and how those checkpoints' names begin; anybody else's
# checkpoint of such a name is another, and so is theirs of somebody else's name.
RELEASED = {
    "EuroBERT": ("EuroBERT-",), "FacebookAI": ("roberta-",), "albert": ("albert-",), "answerdotai": ("ModernBERT-",),
    "distilbert": ("distilbert-", "distilroberta-"), "google": ("electra-", "mobilebert-"), "google-bert": ("bert-",),
    "huawei-noah": ("TinyBERT_",), "jhu-clsp": ("ettin-encoder-", "mmBERT-"), "microsoft": ("MiniLM-", "deberta-", "mpnet-"),
    "nreimers": ("MiniLM-",), "sentence-transformers": ("all-MiniLM-",),
}  # fmt: skip
ONCE_WITHOUT_OWNER = ("FacebookAI", "albert", "distilbert", "google-bert")  # their names alone still lead to them
SPEED_REFERENCE = "bert-base-uncased"  # what published speed-ups are relative to
# How the caution begins of figures that nothing should be held against.
NO_TARGET = ("suspect", "before an evaluation bug")


@dataclass(frozen=True)
class PublishedFigure:
    """One published figure. `printed` is the value as it was printed, in `printed_unit`; `value` is in `unit`.

    `status`: 'confirmed' was read in the paper or the authors' repository, 'confirmed-secondary' in a transcription by others,
    'computed' is arithmetic on configurations or other figures. `caution` says what to beware of.
    """

    model: str
    task: str
    quantity: str
    split: str
    printed: str
    printed_unit: str
    value: float
    unit: str
    source: str
    place: str
    status: str
    caution: str

    @property
    def where(self) -> str:
        """Source and place: 'arXiv:1910.01108 (DistilBERT) Table 1'."""
        return f"{self.source} {self.place}".strip()


def load(catalog: Catalog) -> list[PublishedFigure]:
    """Load all figures, file by file; of files of one name the first folder's counts, as for other configs.

    Raises:
        ConfigError: a file is broken; the message names file and line.
    """
    files: dict[str, Path] = {}
    for folder in catalog.folders:
        for path in sorted((folder / "published").glob("*.csv")):
            files.setdefault(path.name, path)
    return [figure for name in sorted(files) for figure in _read(files[name])]


def _read(path: Path) -> list[PublishedFigure]:
    try:
        stream = io.StringIO(text_files.read(path), newline="")
        reader = csv.DictReader(stream, strict=True)
        header = tuple(reader.fieldnames or ())
        if header != COLUMNS:
            raise ConfigError(f"{path}, line 1: not the columns of published figures", _columns(header))
        return [_figure(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _columns(header: tuple[str, ...]) -> str:
    """Say how to correct a header; say it exactly where only blanks or separators are wrong."""
    expected = f"expected: {','.join(COLUMNS)}"
    if tuple(name.strip() for name in header) == COLUMNS:
        return f"take the blanks out of the header; {expected}"
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        return f"separate them by commas; {expected}"
    return expected


def _figure(row: dict[str, str], where: str) -> PublishedFigure:
    # DictReader puts surplus fields under None, and None into missing ones.
    if None in row or None in row.values():
        raise ConfigError(f"{where}: not {len(COLUMNS)} fields", "quote texts that contain commas")
    try:
        number = float(row["value"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{where}: value '{row['value']}' is not a number")
    if row["status"] not in STATUSES:
        raise ConfigError(f"{where}: status '{row['status']}'", f"one of {', '.join(STATUSES)}")
    factor, unit = FACTORS.get(row["unit"], (1.0, row["unit"]))
    value = round(number * factor, 12)  # 91.3 points are 0.913, not 0.9129999999999999
    texts = {name: row[name] for name in ("model", "task", "quantity", "split", "source", "place", "status", "caution")}
    return PublishedFigure(**texts, printed=row["value"], printed_unit=row["unit"], value=value, unit=unit)


def select(figures: Iterable[PublishedFigure], field: str, wanted: Sequence[str]) -> list[PublishedFigure]:
    """Select figures whose `field` is one of `wanted`, in which * stands for anything; all if nothing is wanted.

    Raises:
        UnknownNameError: no figure has one of them.
    """
    every = list(figures)
    known = dict.fromkeys(getattr(figure, field) for figure in every)
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = f"`bertbench published` shows every {field}; * stands for anything: '{pattern[:4]}*'"
            raise UnknownNameError(f"published {field}", pattern, filter(None, known), hint)
    if not wanted:
        return every
    return [entry for entry in every if any(fnmatchcase(getattr(entry, field), pattern) for pattern in wanted)]


def published_name(checkpoint: str | None) -> str | None:
    """Return what figures call a checkpoint of the hub: a released one's name without the owner, any other's with it."""
    owner, _, name = (checkpoint or "").rpartition("/")
    owners = (owner,) if owner else ONCE_WITHOUT_OWNER
    if any(name.startswith(RELEASED.get(each, ())) for each in owners):
        return name
    return checkpoint if owner and not (checkpoint or "").startswith((".", "/", "~")) else None


def name_of(spec: ModelSpec) -> str | None:
    """Return what figures call a model's checkpoint; of a folder None, but for the folder of a packaged model."""
    if not _is_folder(spec.checkpoint):
        return published_name(spec.checkpoint)
    from bertbench.specs.catalog import packaged_folder

    path = packaged_folder() / "models" / f"{spec.name}.yaml"
    is_packaged = Path(spec.name).name == spec.name and path.is_file()
    return published_name(read_yaml(path, spec.name).get("checkpoint")) if is_packaged else None


def _is_folder(checkpoint: str | None) -> bool:
    """Tell whether weights would be read from a folder, which goes before the hub's checkpoint of that name."""
    try:
        return checkpoint is not None and Path(checkpoint).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, ~ of nobody
        return False


def with_published(
    spec: ModelSpec,
    tasks: Sequence[TaskSpec],
    figures: Sequence[PublishedFigure],
    reference: ModelSpec | None = None,
) -> ModelSpec:
    """Add to a spec the published scores of its checkpoint on `tasks`, and its published speed-ups, that it does not state.

    Scores are those of the split that is evaluated here; of several sources the first paper's, else the first; none that is
    suspect, and no score of a task of which metrics are stated. Speed-ups are relative to BERT: without it as `reference` none
    is added, with it all of them, since they are of different machines.
    """
    name = name_of(spec)
    of_model = [figure for figure in figures if figure.model == name and not figure.caution.startswith(NO_TARGET)]
    is_bert = reference is not None and name_of(reference) == SPEED_REFERENCE
    speedups = _speedups(spec, of_model) if is_bert else []
    return spec.model_copy(update={"published": (*spec.published, *_scores(spec, tasks, of_model), *speedups)})


def _scores(spec: ModelSpec, tasks: Sequence[TaskSpec], figures: Sequence[PublishedFigure]) -> list[Published]:
    splits = {task.name: _split(task) for task in tasks}
    stated = {(entry.task, entry.quantity) for entry in spec.published}
    tasks_with_metrics = {task for task, _ in stated}
    added: dict[tuple[str, str], Published] = {}
    for figure in sorted(figures, key=lambda figure: not figure.source.startswith("arXiv:")):
        key = (figure.task, figure.quantity)
        fits = figure.printed_unit == "points" and splits.get(figure.task) == (figure.split or "dev")
        is_stated = key in stated or (figure.quantity == "score" and figure.task in tasks_with_metrics)
        if fits and not is_stated and key not in added:
            added[key] = _entry(figure)
    return list(added.values())


def _speedups(spec: ModelSpec, figures: Sequence[PublishedFigure]) -> list[Published]:
    stated = {entry.value for entry in spec.published if entry.quantity == SPEEDUP}
    return [_speedup(figure) for figure in figures if figure.quantity == SPEEDUP and figure.value not in stated]


def _speedup(figure: PublishedFigure) -> Published:
    return Published(
        row="speed",
        statement=f"{figure.printed}x as fast as BERT",
        source=_with_caution(figure),
        quantity=SPEEDUP,
        value=figure.value,
    )


def _split(task: TaskSpec) -> str:
    """Return what publications call the split that is evaluated first."""
    return "test" if task.evaluation_splits[0] == "test" else "dev"


def _entry(figure: PublishedFigure) -> Published:
    title = quantity_of(figure.quantity).title
    return Published(
        row="accuracy",
        statement=f"{figure.printed} on {figure.task} ({figure.split or 'split not stated'}), {title}",
        source=_with_caution(figure),
        quantity=figure.quantity,
        value=float(figure.printed),
        unit="points",
        task=figure.task,
    )


def _with_caution(figure: PublishedFigure) -> str:
    """Return where a figure stands and what to beware of, which goes wherever the figure is shown."""
    return f"{figure.where} ({figure.caution})" if figure.caution else figure.where
