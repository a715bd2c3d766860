"""Everything stored, as one table for pandas: a row a measurement, and a row for each run that gave none.

    import bertbench
    frame = bertbench.load_results("results")
    frame[frame.quantity == "latency"].groupby(["session", "model"]).value.median()

`value` is the median of a measurement's readings (round medians, say), `smallest` and `largest` bound them; the raw
values lie in the session's parquet files. `stale` says why a run no longer stands for what would be measured now: an older
version of a measuring module made it, or another configuration of its model or task, or another published recipe, than there
is now. A model or task without a configuration is never stale. Damaged files are left out with a warning that names them.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from bertbench.errors import ConfigError, StoreError
from bertbench.records.index import folders
from bertbench.records.record import (
    MEASURE_VERSIONS,
    NOT_MEASURED,
    UNDEFINED,
    Environment,
    Measurement,
    RunRecord,
    SessionRecord,
    canonical_json,
    digest,
)
from bertbench.records.store import Store, StoredSession, open_store
from bertbench.safe_text import visible
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import FineTuned, ModelSpec
from bertbench.specs.suites import RecipeSpec
from bertbench.specs.tasks import TrainingSpec

if TYPE_CHECKING:
    import pandas as pd

    from bertbench.specs.base import Spec

OF_MEASUREMENTS = (
    "split", "quantity", "statistic", "unit", "value", "smallest", "largest", "readings", "n", "n_unit", "scenario",
    "batch_size", "sequence_length", "note",
)  # fmt: skip
COLUMNS = (
    "session", "started_at", "model", "task", *OF_MEASUREMENTS, "seed", "kind", "status", "error", "run_id", "command",
    "complete", "taken_over", "suite", "checkpoint", "revision", "weights", "weights_digest", "device", "backend", "dtype",
    "threads", "environment_class", "cpu", "gpu", "usable_cores", "system", "python", "torch", "transformers", "commit",
    "dirty", "bertbench_version", "measure_version", "schema_version", "key", "data_fingerprint", "recipe",
    "capped", "finetuned_checkpoint", "seconds", "stale",
)  # fmt: skip
WHOLE = (
    "readings",
    "n",
    "batch_size",
    "sequence_length",
    "seed",
    "threads",
    "usable_cores",
    "measure_version",
    "schema_version",
)
NO_RECIPE = {"origin", "losses", "is_sample", "eval_available"}
OF_TRAINING = {*TrainingSpec.model_fields, "train_available", "bf16_training"} - {"max_length"}
NUMBERS = ("value", "smallest", "largest", "seconds")
GATES = {"check", "baseline"}  # which evaluate a baseline's kept checkpoint in place of what is configured
OF_A_CHECKPOINT = {"checkpoint", "revision", "tokenizer"}
OF_QUALITY = {"training", "finetuned", "distill"}  # parts of a model's spec that only its quality depends on
NOT_OF_A_TASK = {*NOT_MEASURED, "test_sets", "useful_samples"}
TRUTHS = ("complete", "taken_over", "dirty", "capped")


def load_results(folder: str | PathLike[str]) -> pd.DataFrame:
    """Load every measurement in a results folder as a row, the newest session first.

    Args:
        folder: what `--results-dir` names.

    Raises:
        StoreError: there is no such folder.
    """
    store = open_store(folder)
    frame = frame_of(store)
    for warning in store.warnings:
        warnings.warn(visible(warning), stacklevel=2)  # a warning may name files of a stranger
    return frame


def frame_of(store: Store, catalog: Catalog | None = None) -> pd.DataFrame:
    """Build what `load_results` gives; unreadable files are named in the store's `warnings`.

    `catalog` has the configurations by which runs are stale; None: those that commands find here.

    Raises:
        StoreError: there is no such folder.
    """
    if not store.is_there:
        raise StoreError(f"results directory {store.name}: not there", "name the right one; `bertbench run` makes one")
    return frame_of_sessions(_counted(store), Staleness(catalog or Catalog()))


def frame_of_sessions(sessions: Iterable[StoredSession], judge: Staleness | None = None) -> pd.DataFrame:
    """Build the rows of sessions that have been read; without a judge no run is stale."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for stored in sessions:
        for row in _rows(stored, judge):
            for name, values in columns.items():
                values.append(row.get(name))
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(name)) for name, values in columns.items()})


def _counted(store: Store) -> Iterator[StoredSession]:
    """Yield a store's sessions and say how many have been read."""
    total = len(folders(store.sessions_folder))
    for count, stored in enumerate(store.sessions(), 1):
        yield stored
        store.progress("reading stored sessions", count, total)
    store.progress("reading stored sessions", total, total)


def _dtype(name: str) -> str:
    """Return a column's type, the same whether it has values or not, so that files of two folders fit together."""
    if name in NUMBERS:
        return "float64"
    # Types of pandas' own, which leave room for what is absent.
    return "Int64" if name in WHOLE else "boolean" if name in TRUTHS else "string"


def _rows(stored: StoredSession, judge: Staleness | None) -> Iterator[dict[str, Any]]:
    for record in stored.records:
        base = (
            {"stale": judge.reason(stored.session, record) if judge else None}
            | _of_session(stored.session, record)
            | _of_run(record)
            | _of_environment(record.environment)
        )
        if not record.measurements:
            yield base
        for measurement in record.measurements:
            yield base | _of_measurement(measurement)
        for undefined in record.undefined:
            counted = {"split": undefined.split, "n": undefined.n, "n_unit": "examples", "note": undefined.reason}
            yield (
                base | {"status": UNDEFINED, "quantity": undefined.metric, "statistic": "value", "unit": "1"} | counted
            )


def _of_session(session: SessionRecord, record: RunRecord) -> dict[str, Any]:
    return {
        "session": session.session_id,
        "command": session.command,
        "complete": session.complete,
        "taken_over": record.started_at < session.started_at,  # a finished run of an earlier session, not run again
        "bertbench_version": session.bertbench_version or None,
        "measure_version": session.request.get("versions", {}).get(record.kind),
        "environment_class": session.environment_class,
    }


def _of_run(record: RunRecord) -> dict[str, Any]:
    names = (
        "started_at", "seed", "kind", "status", "run_id", "suite", "checkpoint", "revision", "weights", "weights_digest",
        "schema_version", "key", "data_fingerprint", "capped", "finetuned_checkpoint", "seconds",
    )  # fmt: skip
    error = record.error
    return {
        **{name: getattr(record, name) for name in names},
        **{name: record.settings.get(name) for name in ("device", "backend", "dtype", "threads")},
        "model": record.model_name,
        "recipe": _recipe(record.settings) if record.kind == "quality" else None,
        "task": record.task_name,
        "error": f"{error.kind}: {error.message}" if error else None,
    }


def _recipe(settings: Mapping[str, Any]) -> str:
    """Compute what tells recipes apart; of an evaluated checkpoint nothing of training, which earlier records hold."""
    left_out = NO_RECIPE | (OF_TRAINING if settings.get("mode") == "evaluate" else set())
    return digest({name: value for name, value in settings.items() if name not in left_out})[:8]


def _of_environment(environment: Environment | None) -> dict[str, Any]:
    if environment is None:
        return {}
    names = ("environment_class", "cpu", "gpu", "usable_cores", "system", "python", "commit", "dirty")
    return {name: getattr(environment, name) for name in names} | {
        name: environment.packages.get(name) for name in ("torch", "transformers")
    }


def _of_measurement(measurement: Measurement) -> dict[str, Any]:
    same = (
        "split",
        "quantity",
        "statistic",
        "unit",
        "n",
        "n_unit",
        "scenario",
        "batch_size",
        "sequence_length",
        "note",
    )
    values = measurement.values
    return {
        **{name: getattr(measurement, name) for name in same},
        "value": statistics.median(values),
        "smallest": min(values),
        "largest": max(values),
        "readings": len(values),
    }


@dataclass
class Staleness:
    """A judge of records against the configurations of a catalog, each of which is read once."""

    catalog: Catalog
    _now: dict[tuple[str, str], Spec | None] = field(default_factory=dict)
    _seen: dict[str, bool] = field(default_factory=dict)

    def reason(self, session: SessionRecord, record: RunRecord) -> str | None:
        """Say why a record is stale, or return None."""
        versions = session.request.get("versions", {})
        made, current = versions.get(record.kind), MEASURE_VERSIONS[record.kind]
        if made is not None and made != current:
            return f"measured by version {made} of how {record.kind} is measured, now {current}"
        if self._model_changed(session, record):
            return f"the configuration of model {record.model_name} has changed since"
        evaluated = record.settings.get("mode") == "evaluate"
        not_of_the_task = NOT_OF_A_TASK | ({"training"} if evaluated else set())
        task = self._spec("tasks", str(record.task_name)) if record.task else None
        if task is not None and record.task and self._changed(task, record.task, not_of_the_task):
            return f"the configuration of task {record.task_name} has changed since"
        if record.kind == "quality" and not evaluated and self._recipe_changed(session, record):
            return f"the published recipe of {record.model_name} for {record.task_name} has changed since"
        return None

    def _recipe_changed(self, session: SessionRecord, record: RunRecord) -> bool:
        """Tell whether a run took the published recipe, and now another is published; what options said is left out."""
        options, settings = session.request.get("options", {}), record.settings
        if options.get("recipes") != "published" or "teaching" in settings:
            return False
        recipe = self._spec("recipes", record.model_name)
        values = recipe.values(str(record.task_name)) if isinstance(recipe, RecipeSpec) else {}
        return any(
            name in settings and settings[name] != value and options.get(name) is None
            for name, value in values.items()
            if name != "source"
        )

    def _model_changed(self, session: SessionRecord, record: RunRecord) -> bool:
        now, left_out = self._spec("models", record.model_name), set(NOT_MEASURED)
        if not isinstance(now, ModelSpec):
            return False
        evaluated = record.settings.get("mode") == "evaluate"
        if record.kind != "quality" or evaluated:
            left_out |= OF_QUALITY
        elif _published_otherwise(session, record, now):
            return True
        left_out.add("finetuned")
        if evaluated and session.command in GATES:
            left_out |= OF_A_CHECKPOINT
        elif evaluated and (entry := now.finetuned.get(str(record.task_name))) is not None:
            # A record's model names the checkpoint that was evaluated, not the one that it would be trained from.
            now = now.model_copy(update={"checkpoint": entry.checkpoint, "revision": entry.revision})
        return self._changed(now, record.model, left_out)

    def _changed(self, now: Spec, stored: Mapping[str, Any], left_out: set[str]) -> bool:
        key = f"{canonical_json(now.model_dump(mode='json', exclude=left_out))}/{canonical_json(stored)}"
        if key not in self._seen:
            try:  # through the spec, since fields that were added later have their defaults in a record without them
                then = type(now)(**stored).model_dump(mode="json", exclude=left_out)
            except ValueError:
                then = None
            self._seen[key] = then != now.model_dump(mode="json", exclude=left_out)
        return self._seen[key]

    def _spec(self, kind: str, name: str) -> Spec | None:
        if (kind, name) not in self._now:
            try:
                known = name in self.catalog.entries(kind)
                read = {"models": self.catalog.model, "tasks": self.catalog.task, "recipes": self.catalog.recipe}[kind]
                self._now[kind, name] = read(name) if known else None
            except ConfigError:  # `bertbench validate` says what is wrong with it
                self._now[kind, name] = None
        return self._now[kind, name]


def _published_otherwise(session: SessionRecord, record: RunRecord, now: ModelSpec) -> bool:
    """Tell whether a model was trained on a task for which its configuration names another published checkpoint now, or a first one."""
    if session.request.get("options", {}).get("finetune"):  # which trains whatever is published
        return False
    task = str(record.task_name)
    stored, entry = (record.model.get("finetuned") or {}).get(task), now.finetuned.get(task)
    try:  # through the spec, as above
        then = FineTuned(**stored).measured if stored is not None else None
    except (TypeError, ValueError):
        return True
    return then != (entry.measured if entry is not None else None)
