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

import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from typing import TYPE_CHECKING, Any

from bertbench.errors import ConfigError, StoreError
from bertbench.records.record import MEASURE_VERSIONS, NOT_MEASURED, RunRecord, SessionRecord, canonical_json
from bertbench.records.rows import NUMBERS, ORIGINS, STORED, TRUTHS, WHOLE, schema, table_of
from bertbench.records.store import Store, open_store
from bertbench.records.stored import StoredSession
from bertbench.safe_text import visible
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import FineTuned, ModelSpec
from bertbench.specs.suites import RecipeSpec

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from bertbench.specs.base import Spec

COLUMNS = (*STORED, "stale")
JUDGED_BY = (*ORIGINS, "model", "task", "kind", "command")
GATES = {"check", "baseline"}  # which evaluate a baseline's kept checkpoint in place of what is configured
OF_A_CHECKPOINT = {"checkpoint", "revision", "tokenizer"}
OF_QUALITY = {"training", "finetuned", "distill"}  # parts of a model's spec that only its quality depends on
NOT_OF_A_TASK = {*NOT_MEASURED, "test_sets", "useful_samples"}


@dataclass(frozen=True)
class RowChoice:
    """Which rows are wanted: of sessions of these suites, from a moment on, with one of these names in a column; None: all."""

    suites: Collection[str] | None = None
    since: datetime | None = None
    names: Mapping[str, Collection[str]] = field(default_factory=dict)

    def takes(self, session: SessionRecord) -> bool:
        """Tell whether a session's rows are wanted."""
        is_late = self.since is None or datetime.fromisoformat(session.started_at) >= self.since
        return is_late and (self.suites is None or session.suite in self.suites)

    def of(self, table: pa.Table) -> pa.Table:
        """Keep the rows with the names that are wanted."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for column, names in self.names.items():
            table = table.filter(pc.is_in(table[column], pa.array(sorted(names), pa.string())))
        return table


EVERYTHING = RowChoice()


def moment_of(text: str) -> datetime:
    """Read a day or a moment in ISO 8601; without a zone it is UTC.

    Raises:
        ValueError: it is neither.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def load_results(folder: str | PathLike[str], **only: str | Sequence[str]) -> pd.DataFrame:
    """Load every measurement in a results folder as a row, the newest session first.

    Args:
        folder: what `--results-dir` names.
        only: what rows are limited to, a name or several: `suite` (of the session), or another column of texts.

    Raises:
        StoreError: there is no such folder.
        KeyError: there is no such column of texts.
    """
    store = open_store(folder)
    names = {column: {chosen} if isinstance(chosen, str) else set(chosen) for column, chosen in only.items()}
    unknown = names.keys() - set(STORED) | names.keys() & {*NUMBERS, *WHOLE, *TRUTHS}
    if unknown:
        raise KeyError(f"no column of texts: {', '.join(sorted(unknown))}")
    frame = frame_of(store, choice=RowChoice(names.pop("suite", None), names=names))
    for warning in store.warnings:
        warnings.warn(visible(warning), stacklevel=2)  # a warning may name files of a stranger
    return frame


def frame_of(store: Store, catalog: Catalog | None = None, choice: RowChoice = EVERYTHING) -> pd.DataFrame:
    """Build what `load_results` gives; unreadable files are named in the store's `warnings`.

    `catalog` has the configurations by which runs are stale; None: those that commands find here.

    Raises:
        StoreError: there is no such folder.
    """
    return frame_of_tables(tables_of(store, catalog, choice))


def check_there(store: Store) -> None:
    """Refuse a folder that is not there, instead of finding nothing in it.

    Raises:
        StoreError: it is not there.
    """
    if not store.is_there:
        raise StoreError(f"results directory {store.name}: not there", "name the right one; `bertbench run` makes one")


def tables_of(store: Store, catalog: Catalog | None = None, choice: RowChoice = EVERYTHING) -> Iterator[pa.Table]:
    """Yield the rows of `load_results` by session, as columns of pyarrow; sessions without a row are left out.

    Raises:
        StoreError: there is no such folder.
    """
    check_there(store)
    judge = Staleness(catalog or Catalog())
    for whole in store.tables(choice.takes):
        table = choice.of(whole)
        if table.num_rows:
            yield _judged(table, judge)


def frame_of_sessions(sessions: Iterable[StoredSession]) -> pd.DataFrame:
    """Build the rows of sessions that have been read; no run counts as stale."""
    return frame_of_tables(_judged(table_of(stored.session, stored.records), None) for stored in sessions)


def frame_of_tables(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Join tables to a frame; columns have the same types, whether they hold values or not."""
    import pandas as pd
    import pyarrow as pa

    # Types of pandas' own, which leave room for what is absent.
    kinds = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}
    nothing = _judged(schema().empty_table(), None)
    whole = pa.concat_tables([nothing, *tables])
    plain = pa.schema(
        [(part.name, pa.string() if pa.types.is_dictionary(part.type) else part.type) for part in whole.schema]
    )
    frame: pd.DataFrame = whole.cast(plain).to_pandas(types_mapper=kinds.get)
    return frame


def _judged(table: pa.Table, judge: Staleness | None) -> pa.Table:
    """Put what is stale in place of what decides it; without a judge nothing is."""
    import pyarrow as pa

    reasons: list[str | None] = [None] * table.num_rows
    if judge is not None:
        columns = [table[name].combine_chunks() for name in JUDGED_BY]
        texts = [column.dictionary.to_pylist() for column in columns]
        # By the numbers of texts: a row's texts together are longer than all its figures.
        rows = list(zip(*(column.indices.to_pylist() for column in columns), strict=True))
        judged = {
            row: judge.of_row(tuple(None if n is None else known[n] for known, n in zip(texts, row, strict=True)))
            for row in dict.fromkeys(rows)
        }
        reasons = [judged[row] for row in rows]
    stale = pa.array(reasons, pa.dictionary(pa.int32(), pa.string()))
    return table.select(STORED).append_column("stale", stale)


@dataclass
class Staleness:
    """A judge of records against the configurations of a catalog, each of which is read once."""

    catalog: Catalog
    _now: dict[tuple[str, str], Spec | None] = field(default_factory=dict)
    _seen: dict[str, bool] = field(default_factory=dict)
    _parsed: dict[str, Any] = field(default_factory=dict)
    _of_rows: dict[tuple[str | None, ...], str | None] = field(default_factory=dict)

    def of_row(self, origin: tuple[Any, ...]) -> str | None:
        """Say why a row is stale, by its columns JUDGED_BY; each combination is judged once."""
        if origin not in self._of_rows:
            *texts, model, task, kind, command = origin
            request, settings, model_spec, task_spec = map(self._parse, texts)
            started = "1970-01-01T00:00:00+00:00"  # which nothing is judged by
            session = SessionRecord("", command, (), "", (), "", (), request, started)
            record = RunRecord(
                "", "", kind, "", model, model_spec, "ok", started, task_name=task, task=task_spec, settings=settings
            )
            self._of_rows[origin] = self.reason(session, record)
        return self._of_rows[origin]

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

    def _parse(self, text: str) -> Any:
        if text not in self._parsed:
            self._parsed[text] = json.loads(text)
        return self._parsed[text]

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
