"""The baseline: what a session found, in one JSON file that is small enough to commit, and two things beside it.

    baseline.json            counts, shapes of weights, label maps, outputs, scores, ratios with their rounds
    baseline.parquet         predictions, example by example; its sha256 stands in the JSON
    baseline.checkpoints/    the checkpoints that are small enough to be kept, a folder each

The two are named after the JSON file; `gate/saving.py` writes them. Not aware of how a baseline is made and what it is compared with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench import text_files
from bertbench.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
FORMAT = "bertbench baseline"
FILE_NAME = "baseline.json"
MAKE = "make one: bertbench baseline save"


@dataclass(frozen=True)
class Checkpoint:
    """What tells whether a checkpoint is the same, see `bertbench.fingerprint`. `kept`: its folder among those beside the file."""

    digest: str
    labels: tuple[str, ...] | None
    weights: dict[str, tuple[int, ...]]
    outputs: tuple[float, ...]
    output_shape: tuple[int, ...]
    kept: str | None = None


@dataclass(frozen=True)
class Scored:
    """A model's score on the first split of a task, with one seed. `mode`: 'evaluate' or 'fine-tune'.

    `score` is None where a metric of it has no value, for the reason in `undefined`.
    """

    model: str
    task: str
    kind: str
    split: str | None
    metrics: tuple[str, ...]
    score: float | None
    n: int
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
    log_ratios: tuple[float, ...]


@dataclass(frozen=True)
class Lost:
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
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    scores: tuple[Scored, ...] = ()
    times: tuple[Timed, ...] = ()
    peak_memory: dict[str, dict[str, float]] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()
    predictions_sha256: str | None = None
    schema_version: int = SCHEMA_VERSION
    format: str = FORMAT

    @property
    def is_empty(self) -> bool:
        """True if it holds nothing that could be compared."""
        return not (self.counts or self.scores or self.times or self.peak_memory)


@dataclass(frozen=True)
class Saved:
    """A baseline with its predictions by model and task; `place` is its file, None of one that is not stored."""

    baseline: Baseline
    predictions: dict[tuple[str, str], pd.DataFrame]
    place: Path | None = None

    def checkpoint_folder(self, scored: Scored) -> Path | None:
        """Where the checkpoint kept beside the file lies, if one was kept."""
        if scored.checkpoint is None or scored.checkpoint.kept is None or self.place is None:
            return None
        return checkpoints_of(self.place) / scored.checkpoint.kept


def with_scores(saved: Saved, other: Saved, places: Collection[tuple[str, str]]) -> Saved:
    """A baseline with the scores and predictions of another at these places."""
    theirs = {(one.model, one.task): one for one in other.baseline.scores if (one.model, one.task) in places}
    scores = tuple(theirs.get((one.model, one.task), one) for one in saved.baseline.scores)
    frames = {place: other.predictions[place] for place in theirs if place in other.predictions}
    return replace(saved, baseline=replace(saved.baseline, scores=scores), predictions={**saved.predictions, **frames})


def file_of(place: Path) -> Path:
    """The JSON file that `place` means: itself, or the one in a folder."""
    return place if place.suffix == ".json" else place / FILE_NAME


def checkpoints_of(file: Path) -> Path:
    """The folder of the checkpoints kept with a baseline."""
    return file.with_suffix(".checkpoints")


def read(place: Path) -> Saved:
    """The baseline in a file or folder.

    Raises:
        StoreError: absent, not a baseline, of another schema, or without its predictions as they were saved.
    """
    file = file_of(place)
    try:
        data = json.loads(text_files.read(file), parse_constant=_finite, parse_float=_finite)
    except FileNotFoundError:
        raise StoreError(f"baseline {file}: no such file", MAKE) from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"baseline {file}: cannot be read ({str(error).splitlines()[0]})", MAKE) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise StoreError(f"baseline {file}: is no baseline of bertbench", MAKE)
    if data.get("schema_version") != SCHEMA_VERSION:
        found = data.get("schema_version")
        raise StoreError(f"baseline {file}: is of schema {found}, this bertbench reads {SCHEMA_VERSION}", MAKE)
    try:
        baseline: Baseline = _adapter().validate_python(data)
    except ValueError as error:
        raise StoreError(f"baseline {file}: is damaged ({str(error).splitlines()[0]})", MAKE) from None
    _check(baseline, file)
    return Saved(baseline, _read_predictions(baseline, file.with_suffix(".parquet")), file)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no figure")
    return value


def _check(baseline: Baseline, file: Path) -> None:
    """What the types do not say: protocol, options and outputs are such, and checkpoints lie beside the file and nowhere else.

    Raises:
        StoreError: they are not.
    """
    from bertbench.specs import TimingSpec

    names = [one.checkpoint.kept for one in baseline.scores if one.checkpoint and one.checkpoint.kept is not None]
    wrong = next((name for name in names if Path(name).name != name or name in {"", ".", ".."}), None)
    if wrong is not None:
        raise StoreError(f"baseline {file}: checkpoint {wrong!r:.80} does not lie beside it", MAKE)
    for one in baseline.scores:
        shape = one.checkpoint.output_shape if one.checkpoint else ()
        if one.checkpoint and (not shape or min(shape) < 1 or math.prod(shape) != len(one.checkpoint.outputs)):
            raise StoreError(f"baseline {file}: is damaged (outputs of {one.model} on {one.task})", MAKE)
    try:
        TimingSpec(**baseline.timing)
        _options_adapter().validate_python(baseline.options)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split("\n")[:3])
        raise StoreError(f"baseline {file}: is damaged ({reason})", MAKE) from None


@dataclass(frozen=True)
class _Options:
    """What of `options` is used to measure again."""

    threads: int | None = None
    seeds: tuple[int, ...] | None = None
    train_samples: int | None = None
    eval_samples: int | None = None
    batch_size: int | None = None
    max_length: int | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    recipes: str | None = None
    dtype: str | None = None


@lru_cache(maxsize=1)
def _options_adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_Options)


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Baseline)


def _read_predictions(baseline: Baseline, path: Path) -> dict[tuple[str, str], pd.DataFrame]:
    import pandas as pd

    if baseline.predictions_sha256 is None:
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: the baseline's predictions are lost ({error.strerror or error})", MAKE) from None
    if hashlib.sha256(content).hexdigest() != baseline.predictions_sha256:
        raise StoreError(f"{path}: differs from what the baseline was saved with", "restore it, or save a new baseline")
    table = pd.read_parquet(path)
    for name in ("prediction", "label"):
        table[name] = [json.loads(value) for value in table[name]]
    found = {}
    for (model, task), frame in table.groupby(["model", "task"], sort=False):
        part = frame.drop(columns=["model", "task"]).dropna(axis=1, how="all").reset_index(drop=True)
        found[str(model), str(task)] = part.infer_objects()
    return found
