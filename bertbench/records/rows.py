"""The rows of a session's records, a row a measurement, as a table of columns, and that table as bytes for the index."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bertbench.errors import first_line
from bertbench.records.record import (
    UNDEFINED,
    Environment,
    Measurement,
    RunRecord,
    SessionRecord,
    canonical_json,
    digest,
)
from bertbench.specs.tasks import TrainingSpec

if TYPE_CHECKING:
    import pyarrow as pa

Value = TypeVar("Value")
Result = TypeVar("Result")

OF_MEASUREMENTS = (
    "split", "quantity", "statistic", "unit", "value", "smallest", "largest", "readings", "n", "n_unit", "scenario",
    "batch_size", "sequence_length", "note",
)  # fmt: skip
STORED = (
    "session", "started_at", "model", "task", *OF_MEASUREMENTS, "seed", "data_seed", "kind", "status", "error", "run_id", "command",
    "complete", "taken_over", "suite", "checkpoint", "revision", "weights", "weights_digest", "device", "backend", "dtype",
    "threads", "environment_class", "cpu", "gpu", "usable_cores", "system", "python", "torch", "transformers", "commit",
    "dirty", "bertbench_version", "measure_version", "schema_version", "key", "data_fingerprint", "recipe",
    "capped", "finetuned_checkpoint", "seconds",
)  # fmt: skip
ORIGINS = ("request", "settings", "model_spec", "task_spec")  # JSON of what decides whether a record is stale
WHOLE = (
    "readings",
    "n",
    "batch_size",
    "sequence_length",
    "seed",
    "data_seed",
    "threads",
    "usable_cores",
    "measure_version",
    "schema_version",
)
NUMBERS = ("value", "smallest", "largest", "seconds")
TRUTHS = ("complete", "taken_over", "dirty", "capped")
NO_RECIPE = {"origin", "losses", "is_sample", "eval_available"}
OF_DRAWS = {"train_distinct", "left_out_of_training"}  # of a seed's training set, where each has its own
OF_TRAINING = {*TrainingSpec.model_fields, "train_available", "bf16_training"} - {"max_length"}


def schema() -> pa.Schema:
    """Return the columns of a session's table; texts are numbers of texts, each of which stands once."""
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(WHOLE, pa.int64()),
        **dict.fromkeys(TRUTHS, pa.bool_()),
    }
    return pa.schema([(name, kinds.get(name, text)) for name in (*STORED, *ORIGINS)])


def table_of(session: SessionRecord, records: Iterable[RunRecord]) -> pa.Table:
    """Make the table of a session: a row a measurement, and a row for each run that gave none."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in (*STORED, *ORIGINS)}
    text_of_model, text_of_task, of_environment = (
        _Latest(canonical_json),
        _Latest(canonical_json),
        _Latest(_of_environment),
    )
    request = canonical_json({name: session.request.get(name, {}) for name in ("versions", "options")})
    for record in records:
        base = {
            "request": request,
            "settings": canonical_json(record.settings),
            "model_spec": text_of_model(record.model),
            "task_spec": text_of_task(record.task),
            **_of_session(session, record),
            **_of_run(record),
            **of_environment(record.environment),
        }
        for row in _rows(record, base):
            for name, values in columns.items():
                values.append(row.get(name))
    return pa.Table.from_pydict(columns, schema=schema())


class _Latest(Generic[Value, Result]):
    """A function that is not called again for what equals its latest argument, as in records of one model it does."""

    def __init__(self, compute: Callable[[Value], Result]) -> None:
        self._compute = compute
        self._latest: tuple[Value, Result] | None = None

    def __call__(self, value: Value) -> Result:
        if self._latest is None or self._latest[0] != value:
            self._latest = (value, self._compute(value))
        return self._latest[1]


def _rows(record: RunRecord, base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not record.measurements:
        yield base
    for measurement in record.measurements:
        yield base | _of_measurement(measurement)
    for undefined in record.undefined:
        counted = {"split": undefined.split, "n": undefined.n, "n_unit": "examples", "note": undefined.reason}
        yield base | {"status": UNDEFINED, "quantity": undefined.metric, "statistic": "value", "unit": "1"} | counted


def _of_session(session: SessionRecord, record: RunRecord) -> dict[str, Any]:
    return {
        "session": session.session_id,
        "command": session.command,
        "complete": session.complete,
        # A finished run of an earlier session, not run again; a clock that goes back makes none of it.
        "taken_over": record.started_at < session.started_at and not record.run_id.startswith(session.session_id),
        "bertbench_version": session.bertbench_version or None,
        "measure_version": session.request.get("versions", {}).get(record.kind),
        "environment_class": session.environment_class,
    }


def _of_run(record: RunRecord) -> dict[str, Any]:
    names = (
        "started_at", "seed", "data_seed", "kind", "status", "run_id", "suite", "checkpoint", "revision", "weights",
        "weights_digest", "schema_version", "key", "data_fingerprint", "capped", "finetuned_checkpoint", "seconds",
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
    left_out |= OF_DRAWS if settings.get("resample_training") else set()
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
        "value": float(statistics.median(values)),
        "smallest": min(values),
        "largest": max(values),
        "readings": len(values),
    }


# The table as bytes. Whoever can write the index may have written them: they are read within bounds and checked.

MOST_BYTES = 2**28  # of a session's table; one of 1,000 records has half a megabyte
_SIZE, _SUM = 8, 16  # bytes before the packed ones


def packed(table: pa.Table, files: str) -> bytes:
    """Pack a session's table into bytes that fit to its `files` alone."""
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    content = stream.getvalue()
    body: bytes = content.size.to_bytes(_SIZE, "big") + pa.compress(content, codec="zstd", asbytes=True)
    return _sum(body, files) + body


def unpacked(content: bytes, files: str) -> pa.Table:
    """Unpack a session's table.

    Raises:
        ValueError: it is damaged, of other files, too large, or no such table.
    """
    import pyarrow as pa

    body = content[_SUM:]
    size = int.from_bytes(body[:_SIZE], "big")
    if content[:_SUM] != _sum(body, files) or size > MOST_BYTES:
        raise ValueError("the rows are damaged")
    try:
        table = pa.ipc.open_stream(pa.decompress(body[_SIZE:], decompressed_size=size, codec="zstd")).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(first_line(error, 120)) from None
    if table.schema != schema():
        raise ValueError("the rows have other columns")
    return table


def _sum(body: bytes, files: str) -> bytes:
    return hashlib.blake2b(body, digest_size=_SUM, key=files.encode()[:64]).digest()
