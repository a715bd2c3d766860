"""Rows of a file as they stand in it: parquet, CSV, TSV, JSON lines, JSON. No value is guessed at.

Each row keeps its place for messages.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertbench.errors import DatasetError, first_line
from bertbench.records.sidecars import MOST_BYTES, bounded_table
from bertbench.specs.text_files import is_deep, object_of
from bertbench.tasks.delimited import Delimited, Expected, read_csv, read_tsv, tidy
from bertbench.units import megabytes

ID_COLUMNS = ("idx", "id")


ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".json")
# The longer mark first: UTF-32 begins like UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
# By their first bytes.
NO_TEXT = {b"\x1f\x8b": "compressed (gzip)", b"PK\x03\x04": "a zip archive or an Excel file"}


@dataclass(frozen=True)
class RowTable:
    """Rows by column name; `lines` where each begins, if the file has lines.

    `classes` holds by column the names that the data set itself gives its label ids.
    """

    where: str
    rows: list[dict[str, Any]]
    lines: Sequence[int | str] | None = None
    classes: dict[str, tuple[str, ...]] | None = None
    notes: tuple[str, ...] = ()

    def place(self, number: int) -> str:
        """Say where a row stands, for people; `number` counts from 0."""
        if self.lines and isinstance(self.lines[number], str):
            return str(self.lines[number])
        return f"line {self.lines[number]}" if self.lines else f"row {number + 1} (counted from 1)"

    @property
    def columns(self) -> list[str]:
        """Names of columns, in the order of the rows."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def read(path: Path, expected: Expected) -> RowTable:
    """Read the rows of a file; its ending says which kind it is.

    Raises:
        DatasetError: it cannot be read, is damaged, or can be read in two ways.
        OSError: there is no such file, or no right to read it.
    """
    where = str(path)
    if path.suffix == ".parquet":
        return _parquet(path, expected)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise DatasetError(
            f"{where}: has {megabytes(size)}, expected at most {megabytes(MOST_BYTES)}",
            "leave rows out, all of them would be held in memory",
        )
    text, notes = decode(where, path.read_bytes())
    if path.suffix == ".jsonl":
        return _json_lines(where, text, notes)
    if path.suffix == ".json":
        return RowTable(where, _json(where, text), notes=notes)
    table: Delimited = (read_tsv if path.suffix == ".tsv" else read_csv)(where, text, expected)
    return RowTable(where, table.rows, table.lines, notes=(*notes, *table.notes))


def decode(where: str, content: bytes) -> tuple[str, tuple[str, ...]]:
    """Decode bytes by their byte order mark or as UTF-8; add a note where the mark says otherwise.

    Raises:
        DatasetError: they are neither, or no text at all.
    """
    for mark, what in NO_TEXT.items():
        if content.startswith(mark):
            raise DatasetError(f"{where}: is {what}, not text", "unpack it, or save it as CSV, JSON lines or parquet")
    encoding, name = next(
        ((encoding, name) for mark, encoding, name in BYTE_ORDER_MARKS if content.startswith(mark)), ("utf-8", "")
    )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{where}: line {line}: not {name or 'UTF-8'} (byte 0x{content[error.start]:02x})",
            "convert the file to UTF-8: iconv -f LATIN1 -t UTF-8 FILE, with the encoding that it has",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DatasetError(
            f"{where}: line {line}: holds a NUL, as UTF-16 without a byte order mark and damaged files do",
            "convert the file to UTF-8: iconv -f UTF-16LE -t UTF-8 FILE",
        )
    return text, (f"read as {name}, as its first bytes say",) if name else ()


def _json_lines(where: str, text: str, notes: tuple[str, ...]) -> RowTable:
    rows, lines = [], []
    # Not splitlines(): texts in JSON may hold other line breaks, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_object(f"{where}: line {number}", parsed(f"{where}: line {number}", line)))
            lines.append(number)
    return RowTable(where, rows, lines, notes=notes)


def _json(where: str, text: str) -> list[dict[str, Any]]:
    """Read the rows of a list of objects, or of an object of columns of equal length."""
    value = parsed(where, text)
    if isinstance(value, dict) and _nested(value):
        raise DatasetError(
            f"{where}: its rows are nested under 'data', as in SQuAD's own files",
            "save a list with one object a question: {question, context, answers: {text: [...], answer_start: [...]}}",
        )
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            raise DatasetError(
                f"{where}: its columns are of unequal length ({_listed(f'{k} {n}' for k, n in lengths.items())})",
                "save the rows as a list of objects",
            )
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise DatasetError(
            f"{where}: expected a list of objects, found {_kind(value)}",
            "save one object a row, e.g. with pandas' to_json(orient='records')",
        )
    return [_object(f"{where}: row {number} (counted from 1)", row) for number, row in enumerate(value, 1)]


def _nested(value: dict[str, Any]) -> bool:
    rows = value.get("data")
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "paragraphs" in rows[0]


def parsed(where: str, text: str) -> Any:
    """Parse a JSON value; a key that stands twice in an object is an error.

    Raises:
        DatasetError: it is no JSON, or no text that a file can hold.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        if is_deep(text, value):
            raise RecursionError  # noqa: TRY301 (as where Python itself gives up)
        if "\\u" in text:  # an escape may be half of a character, which no file can hold
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DatasetError(
            f"{where}: {half} is half of a character, the other half is missing", "correct the text, or remove it"
        ) from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and where.endswith(".json"):
            raise DatasetError(f"{where}: holds JSON lines, not one list", "rename it to end in .jsonl") from None
        inside = f", line {error.lineno}" if error.lineno > 1 else ""
        reason = f"{error.msg}{inside}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
    else:
        return value
    raise DatasetError(f"{where}: damaged or not what its ending says ({reason:.120})", "correct or replace the file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"key '{counts.most_common(1)[0][0]:.60}' stands twice in one object")
    return members


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: expected an object, found {_kind(value)}", "give one object a row")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), f"{value!r:.40}")


def _parquet(path: Path, expected: Expected) -> RowTable:
    import pyarrow as pa

    wanted = {tidy(name).casefold() for name in (*expected.columns, expected.label, *ID_COLUMNS)}
    names: list[str] = []

    def choose(there: list[str]) -> list[str] | None:
        names.extend(there)
        some = [name for name in there if tidy(name).casefold() in wanted]
        known = {tidy(name) for name in some} >= {tidy(name) for name in expected.columns}
        return some if known and expected.columns else None

    try:
        table = bounded_table(path, choose)
        rows = table.to_pylist()
    except (pa.ArrowException, ValueError, OSError, OverflowError) as error:
        # The file is absent or closed to us: not damaged.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = first_line(error).partition(". ")[0]
        raise DatasetError(f"{path}: damaged or not what its ending says ({reason:.120})", "replace the file") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path}: has column '{twice[0]}' twice", "rename one of them")
    return RowTable(str(path), rows, classes=_stated_classes((table.schema.metadata or {}).get(b"huggingface")))


def _stated_classes(metadata: bytes | None) -> dict[str, tuple[str, ...]]:
    """Read class names by column, as the `datasets` library notes them in parquet files that it writes."""
    try:
        features = object_of((metadata or b"{}").decode())["info"]["features"]
        return {name: names for name, feature in features.items() if (names := _class_names(feature))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _class_names(feature: Any) -> tuple[str, ...]:
    while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):  # a list of classes
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
