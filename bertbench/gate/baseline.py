"""The baseline: what a session found, in one JSON file that is small enough to commit, and two things beside it.

    baseline.json            counts, shapes of weights, label maps, outputs, scores, ratios with their rounds
    baseline.parquet         predictions, example by example; its sha256 stands in the JSON
    baseline.checkpoints/    the checkpoints that are small enough to be kept, a folder each

The two are named after the JSON file; `gate/saving.py` writes them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from bertbench.errors import StoreError, first_line
from bertbench.records import sidecars
from bertbench.records.bounds import LIMIT_BYTES, read_file
from bertbench.report.output import followed
from bertbench.specs import text_files
from bertbench.specs.tasks import QUESTIONS, TOKENS
from bertbench.specs.timing import TimingSpec
from bertbench.units import ROUNDING

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.gate.finding import ModelTask

SCHEMA_VERSION = 1
FORMAT = "bertbench baseline"
FILE_NAME = "baseline.json"
MAKE = "make one: bertbench baseline save"
_KEPT = re.compile(r"\w[\w.-]*")  # a plain name: no separator, no drive, not '..'

# What a figure can be; the bounds of finite ones are far beyond anything that is measured.
Count = Annotated[float, Field(ge=1, le=1e24, multiple_of=1)]
Bytes = Annotated[float, Field(ge=1, le=1e18)]
LogRatio = Annotated[float, Field(ge=-30, le=30)]  # a factor of 1e13
Output = Annotated[float, Field(ge=-3.5e38, le=3.5e38)]  # what fp32 holds
Size = Annotated[int, Field(ge=0, le=2**53)]
Score = Annotated[float, Field(ge=-1 - ROUNDING, le=1 + ROUNDING)]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's fingerprint (`bertbench.models.fingerprint`); `kept` is its folder among those beside the file."""

    digest: str
    labels: tuple[str, ...] | None
    weights: dict[str, tuple[Size, ...]]
    outputs: tuple[Output, ...]
    output_shape: tuple[Size, ...]
    kept: str | None = None


@dataclass(frozen=True)
class StoredScore:
    """A model's score on the first split of a task, with one seed. `mode`: 'evaluate' or 'fine-tune'.

    `score` is None where a metric of it has no value, for the reason in `undefined`.
    """

    model: str
    task: str
    kind: str
    split: str | None
    metrics: tuple[str, ...]
    score: Score | None
    n: Size
    seed: int | None
    mode: str
    data: str | None = None
    checkpoint: Checkpoint | None = None
    undefined: str | None = None


@dataclass(frozen=True)
class Timed:
    """Rounds' log-ratios of a model's time to the reference's, on one shape and back-end."""

    model: str
    shape: str
    way: str
    log_ratios: Annotated[tuple[LogRatio, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Unmeasured:
    """Something that was asked for and could not be measured; `failed` rather than skipped."""

    kind: str
    model: str
    reason: str
    failed: bool
    task: str | None = None


@dataclass(frozen=True)
class Baseline:
    """What a session found. `peak_memory` is in bytes, by model and shape; ratios are what is compared.

    `models` holds the specs as used, `options` what was asked for (samples, seeds, threads, recipe), `timing` the protocol.
    """

    suite: str
    reference: str
    tasks: tuple[str, ...]
    session_id: str
    created_at: str
    bertbench_version: str
    environment_class: str | None
    machine: str
    options: dict[str, Any]
    timing: dict[str, Any]
    models: dict[str, dict[str, Any]]
    counts: dict[str, dict[str, Count]] = field(default_factory=dict)
    weights: dict[str, dict[str, tuple[Size, ...]]] = field(default_factory=dict)
    scores: tuple[StoredScore, ...] = ()
    times: tuple[Timed, ...] = ()
    peak_memory: dict[str, dict[str, Bytes]] = field(default_factory=dict)
    lost: tuple[Unmeasured, ...] = ()
    predictions_sha256: str | None = None
    schema_version: int = SCHEMA_VERSION
    format: str = FORMAT

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing that could be compared."""
        return not (self.counts or self.scores or self.times or self.peak_memory)


@dataclass(frozen=True)
class Saved:
    """A baseline with its predictions by model and task; `path` is its file, None of one that is not stored."""

    baseline: Baseline
    predictions: dict[ModelTask, pd.DataFrame]
    path: Path | None = None

    def checkpoint_folder(self, scored: StoredScore) -> Path | None:
        """Return where the checkpoint kept beside the file lies; None if none was kept."""
        if scored.checkpoint is None or scored.checkpoint.kept is None or self.path is None:
            return None
        return checkpoints_of(self.path) / scored.checkpoint.kept


@dataclass(frozen=True)
class Fingerprints:
    """Of the checkpoints that are evaluated, by model and task; of those that cannot be taken, why."""

    taken: Mapping[ModelTask, Checkpoint] = field(default_factory=dict)
    failed: Mapping[ModelTask, str] = field(default_factory=dict)


def with_scores(saved: Saved, other: Saved, keys: Collection[ModelTask]) -> Saved:
    """Replace the scores and predictions of a baseline by those of another at these models and tasks."""
    replaced = {
        (scored.model, scored.task): scored for scored in other.baseline.scores if (scored.model, scored.task) in keys
    }
    scores = tuple(replaced.get((scored.model, scored.task), scored) for scored in saved.baseline.scores)
    frames = {key: other.predictions[key] for key in replaced if key in other.predictions}
    return replace(saved, baseline=replace(saved.baseline, scores=scores), predictions={**saved.predictions, **frames})


def file_of(path: Path) -> Path:
    """Return the JSON file that `path` means: itself, or the one in a folder; of a link, what it points to."""
    return followed(path if path.suffix == ".json" else path / FILE_NAME)


def checkpoints_of(file: Path) -> Path:
    """Return the folder of the checkpoints kept with a baseline."""
    return file.with_suffix(".checkpoints")


def read(path: Path) -> Saved:
    """Read the baseline in a file or folder.

    Raises:
        StoreError: absent, not a baseline, of another schema, with figures that cannot be, or without its predictions as they
            were saved.
    """
    file = file_of(path)
    try:
        data = text_files.read_object(file, limit_bytes=LIMIT_BYTES)  # a stranger's file must not fill the memory
    except FileNotFoundError:
        raise StoreError(f"baseline {file}: no such file", MAKE) from None
    except (OSError, ValueError) as error:
        raise StoreError(f"baseline {file}: cannot be read ({first_line(error)})", MAKE) from None
    if data.get("format") != FORMAT:
        raise StoreError(f"baseline {file}: is no baseline of bertbench", MAKE)
    if data.get("schema_version") != SCHEMA_VERSION:
        version = data.get("schema_version")
        raise StoreError(f"baseline {file}: is of schema {version}, this bertbench reads {SCHEMA_VERSION}", MAKE)
    try:
        # As JSON, since strict checks of Python values would refuse lists for tuples.
        # Strict, since a stranger may have written it: '1' is no number, 1.5 no count.
        baseline: Baseline = _adapter().validate_json(json.dumps(data), strict=True)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"baseline {file}: is damaged ({first_line(error)})", MAKE) from None
    _check(baseline, file)
    kinds = {(scored.model, scored.task): scored.kind for scored in baseline.scores}
    predictions = _read_predictions(file.with_suffix(".parquet"), baseline.predictions_sha256, kinds)
    return Saved(baseline, predictions, file)


def _check(baseline: Baseline, file: Path) -> None:
    """Check what the types do not: protocol, options and outputs are valid, and checkpoints lie beside the file only.

    Raises:
        StoreError: they are not.
    """
    names = [
        scored.checkpoint.kept for scored in baseline.scores if scored.checkpoint and scored.checkpoint.kept is not None
    ]
    # The file may come from anyone: a name like '../..' would lead the gate to other folders.
    wrong = next((name for name in names if not _KEPT.fullmatch(name)), None)
    if wrong is not None:
        raise StoreError(f"baseline {file}: checkpoint {wrong!r:.80} does not lie beside it", MAKE)
    _refuse_links(checkpoints_of(file), names)
    for scored in baseline.scores:
        shape = scored.checkpoint.output_shape if scored.checkpoint else ()
        if scored.checkpoint and (not shape or min(shape) < 1 or math.prod(shape) != len(scored.checkpoint.outputs)):
            raise StoreError(f"baseline {file}: is damaged (outputs of {scored.model} on {scored.task})", MAKE)
    try:
        TimingSpec(**baseline.timing)
        _options_adapter().validate_json(json.dumps(baseline.options), strict=True)
    except (ValueError, TypeError) as error:
        raise StoreError(f"baseline {file}: is damaged ({first_line(error)})", MAKE) from None


def _refuse_links(kept: Path, names: Collection[str]) -> None:
    """Refuse links, so that what was committed is what is gated: neither a checkpoint nor one of its files is a link.

    Raises:
        StoreError: there is one.
    """
    folders = [kept / name for name in names]
    for path in (kept, *folders, *(path for folder in folders if folder.is_dir() for path in folder.iterdir())):
        if path.is_symlink():
            raise StoreError(f"{path}: is a link, and a baseline's checkpoints are files beside it", MAKE)


Positive = Annotated[int, Field(ge=1, le=2**53)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e9)]


@dataclass(frozen=True)
class _Options:
    """What of `options` is used to measure again."""

    threads: Positive | None = None
    seeds: tuple[Size, ...] | None = None
    train_samples: Positive | None = None
    eval_samples: Positive | None = None
    batch_size: Positive | None = None
    max_length: Positive | None = None
    epochs: PositiveFloat | None = None
    learning_rate: PositiveFloat | None = None
    recipes: str | None = None
    dtype: str | None = None


# Built when first needed and kept: an adapter of so many types takes time.
@lru_cache(maxsize=1)
def _options_adapter() -> Any:
    return TypeAdapter(_Options)


@lru_cache(maxsize=1)
def _adapter() -> Any:
    return TypeAdapter(Baseline)


# A baseline's predictions, read from a parquet file that anybody may have written.

_NEEDED = ("example_id", "prediction", "label", "model", "task")
_COLUMNS = (*_NEEDED, "cluster")
_EXACT = 2**53  # up to which floats hold every whole number
_AGAIN = "restore it, or save a new baseline"


def _read_predictions(path: Path, sha256: str | None, kinds: Mapping[ModelTask, str]) -> dict[ModelTask, pd.DataFrame]:
    """Read predictions by model and task; none where there is no check sum.

    Args:
        path: the parquet file.
        sha256: what was recorded of it.
        kinds: by model and task the kind of the task, which decides what a prediction can be.

    Raises:
        StoreError: the file is gone or another one, or holds something else than predictions.
    """
    if sha256 is None:
        return {}
    try:
        content = read_file(path, sidecars.LIMIT_BYTES)
    except ValueError as error:
        raise StoreError(f"{path}: {error}", _AGAIN) from None
    except OSError as error:
        raise StoreError(f"{path}: the baseline's predictions are lost ({error.strerror or error})", _AGAIN) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path}: differs from what the baseline was saved with", _AGAIN)
    try:
        return _by_model_and_task(_table(content), kinds)
    except Exception as error:  # noqa: BLE001 - a file of a stranger's making fails in as many ways as parquet has
        raise StoreError(f"{path}: holds no predictions ({first_line(error)})", _AGAIN) from None


def _table(content: bytes) -> pd.DataFrame:
    table = sidecars.read_table(content, _COLUMNS)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    return table


def _by_model_and_task(table: pd.DataFrame, kinds: Mapping[ModelTask, str]) -> dict[ModelTask, pd.DataFrame]:
    frames = {}
    for (model, task), frame in table.groupby(["model", "task"], sort=False):
        key = (str(model), str(task))
        values = {
            name: [json.loads(text, parse_constant=_refuse) for text in frame[name]] for name in ("prediction", "label")
        }
        values = _checked(values, kinds.get(key))
        # A column without values is one that only other tasks have.
        part = frame.assign(**values).drop(columns=["model", "task"]).dropna(axis=1, how="all").reset_index(drop=True)
        frames[key] = part.infer_objects()
    return frames


def _checked(values: dict[str, list[Any]], kind: str | None) -> dict[str, list[Any]]:
    """Return the values if all are finite numbers or, for tasks with answers or tags, texts that hold those.

    Raises:
        ValueError: they are not.
    """
    if kind is None:
        return values  # of no score: compared with nothing
    structured = kind in {QUESTIONS, TOKENS}
    for name, cells in values.items():
        for cell in cells:
            if not (_is_structure(cell, kind, name) if structured else _is_number(cell)):
                raise ValueError(f"{name} {cell!r:.40} is none of {kind}")
    if structured:
        return values
    # A whole number that no column of numbers holds would make it one of objects.
    return {name: [float(cell) if abs(cell) > _EXACT else cell for cell in cells] for name, cells in values.items()}


def _is_number(cell: Any) -> bool:
    # In Python `true` is an integer, and JSON can hold a number too large to be finite.
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 1e300 and math.isfinite(cell)


def _is_structure(cell: Any, kind: str | None, name: str) -> bool:
    """Tell whether a text is the JSON of an answer, or of a list of acceptable ones or of tags."""
    return sidecars.is_structure(cell) and isinstance(json.loads(cell), str) == (
        kind == QUESTIONS and name == "prediction"
    )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no prediction")
