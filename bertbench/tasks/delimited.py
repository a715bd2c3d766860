"""Rows of CSV and TSV files, every field as text: nothing is taken for a number, a gap or an index.

CSV is read by RFC 4180, strictly. TSV has no such rule: it is read with and without quotation marks as quotes, and where
both readings are possible and differ, it is refused. A header with all the columns that are needed tells the delimiter.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertbench.errors import DatasetError

CSV_DELIMITERS = (",", ";", "\t")
DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
OTHER_FORMS = "or save the rows as JSON lines (.jsonl) or parquet"


@dataclass
class Delimited:
    """Rows by column name, the line at which each begins, and what a reader should know."""

    header: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is read: columns that it must have, and what its label column holds."""

    columns: Sequence[str] = ()
    label: str = ""
    is_label: Callable[[str], bool] = lambda _: True


def read_csv(where: str, text: str, expected: Expected) -> Delimited:
    """Read the rows of a CSV file.

    Raises:
        DatasetError: a row has more or fewer fields than the header, or a quotation mark is not closed.
    """
    fitting = [mark for mark in CSV_DELIMITERS if _has_columns(_first(text, mark), expected.columns)]
    mark = fitting[0] if fitting else CSV_DELIMITERS[0]
    table = _table(where, text, mark, csv.QUOTE_MINIMAL, expected)
    if mark != CSV_DELIMITERS[0]:
        table.notes.append(f"fields are separated by {DELIMITER_NAMES[mark]}")
    return table


def read_tsv(where: str, text: str, expected: Expected) -> Delimited:
    """Read the rows of a TSV file.

    Raises:
        DatasetError: as `read_csv`, or quotation marks can be read in two ways.
    """
    if '"' not in text:
        return _table(where, text, "\t", csv.QUOTE_NONE, expected)
    readings: list[Delimited] = []
    errors: list[DatasetError] = []
    for quoting in (csv.QUOTE_NONE, csv.QUOTE_MINIMAL):
        try:
            readings.append(_table(where, text, "\t", quoting, expected))
        except DatasetError as error:
            errors.append(error)
    if not readings:
        raise errors[0]
    fitting = [reading for reading in readings if _has_columns(reading.header, expected.columns)]
    if len(readings) == 2 and len(fitting) != 1:
        plain, quoted = readings
        if plain.rows != quoted.rows and not _all_quoted(plain):
            raise _two_readings(where, plain, quoted)
        return quoted
    table = fitting[0] if len(fitting) == 1 else readings[0]
    if any('"' in value for row in table.rows for value in row.values()):
        table.notes.append("quotation marks are read as part of the texts, since they cannot be quotes")
    return table


def _table(where: str, text: str, mark: str, quoting: int, expected: Expected) -> Delimited:
    """Read rows of equal width.

    Raises:
        DatasetError: their widths differ.
    """
    table, header, line, blank = Delimited(), None, 0, 0
    reader = _reader(text, mark, quoting)
    while True:
        begin = line + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise _broken(where, begin, reader.line_num, str(error)) from None
        line = reader.line_num
        if not fields:
            blank = begin
            continue
        if header is None:
            header, blank = _header(where, fields), 0
            table.header, is_row = header, _Rows(header, mark, expected)
            continue
        _check_row(where, (begin, line), fields, is_row, quoting)
        # Of a single column, a blank line may be an empty text or nothing at all.
        if blank and len(header) == 1:
            raise DatasetError(f"{where}: line {blank} is blank", 'write "" for an empty text, or remove it')
        table.rows.append(dict(zip(header, fields, strict=True)))
        table.lines.append(begin)
    if header is None:
        raise DatasetError(f"{where}: is empty: not even a header", "the first line names the columns")
    return table


def _check_row(where: str, lines: tuple[int, int], fields: list[str], rows: _Rows, quoting: int) -> None:
    """Check that a row is as wide as the header and holds no rows itself.

    Raises:
        DatasetError: it does not fit.
    """
    if len(fields) != len(rows.header):
        raise _ragged(where, *lines, len(fields), rows.header, rows.mark)
    if lines[1] > lines[0]:
        _check_swallowed(where, *lines, fields, rows)
    if quoting != csv.QUOTE_NONE:
        _check_blank_before_quote(where, lines[0], fields)


def _reader(text: str, mark: str, quoting: int) -> Any:
    csv.field_size_limit(2**31 - 1)  # Python's own limit, 131,072 characters, is less than a long text
    stream = io.StringIO(text, newline="")
    if quoting == csv.QUOTE_NONE:
        return csv.reader(stream, delimiter=mark, quoting=csv.QUOTE_NONE, quotechar=None, strict=True)
    return csv.reader(stream, delimiter=mark, strict=True)


def _first(text: str, mark: str) -> list[str]:
    """Return the fields of the first line that has any."""
    try:
        return next((fields for fields in _reader(text, mark, csv.QUOTE_MINIMAL) if fields), [])
    except csv.Error:
        return []


def _has_columns(header: Sequence[str], needed: Sequence[str]) -> bool:
    return bool(needed) and {tidy(name) for name in needed} <= {tidy(name) for name in header}


def tidy(name: str) -> str:
    """Return a column's name without blanks around it and in composed form (NFC)."""
    return unicodedata.normalize("NFC", name).strip()


def _header(where: str, fields: list[str]) -> list[str]:
    # Excel reads such a line as the delimiter, and no one else does.
    if fields[0].lower().startswith("sep="):
        raise DatasetError(
            f"{where}: its first line is '{fields[0]}{';' * (len(fields) > 1)}', not a header", "remove that line"
        )
    twice = sorted({name for name in fields if name and fields.count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: the header names column '{twice[0]}' twice", "rename one of them")
    return fields


def _lines(begin: int, end: int) -> str:
    return f"line {begin}" if end <= begin else f"lines {begin} to {end}"


def _broken(where: str, begin: int, end: int, reason: str) -> DatasetError:
    # csv.Error has no code: only its text tells the two faults apart.
    if "end of data" in reason:
        return DatasetError(
            f"{where}: line {begin}: a quotation mark is opened and never closed",
            f'close it, or write a text that begins with one as three: """…, {OTHER_FORMS}',
        )
    return DatasetError(
        f"{where}: {_lines(begin, end)}: a quoted field goes on after its closing quotation mark",
        f'write quotation marks within a quoted field twice (""), {OTHER_FORMS}',
    )


def _ragged(where: str, begin: int, end: int, width: int, header: Sequence[str], mark: str) -> DatasetError:
    what = DELIMITER_NAMES[mark]
    return DatasetError(
        f"{where}: {_lines(begin, end)}: {width} field{'s' * (width != 1)}, but the header names {len(header)} ({', '.join(header)})",
        f"put texts that hold {what} into quotation marks, end no row with a delimiter, {OTHER_FORMS}",
    )


@dataclass(frozen=True)
class _Rows:
    """What tells a row from a text: its width, and a label in its place or, without that column, an id like the others'."""

    header: Sequence[str]
    mark: str
    expected: Expected

    def within(self, fields: Sequence[str]) -> str | None:
        """Return a line within a field that is a row of its own, or None."""
        for column, text in enumerate(fields):
            first, *others = text.replace("\r\n", "\n").split("\n")
            if not others:
                continue
            *middle, last = others
            whole = next((line for line in middle if self._is_row(line.split(self.mark), fields)), None)
            if whole is not None:
                return whole
            ends = [*fields[:column], *first.split(self.mark)], [*last.split(self.mark), *fields[column + 1 :]]
            if all(self._is_row(parts, fields) for parts in ends):
                return last
        return None

    def _is_row(self, parts: Sequence[str], row: Sequence[str]) -> bool:
        if len(parts) != len(self.header) or len(parts) < 2:
            return False
        names = [tidy(name) for name in self.header]
        if self.expected.label in names:
            column = names.index(self.expected.label)
            label = parts[column]
            return self.expected.is_label(label.strip() if self.header[column] != names[column] else label)
        ids = next((column for column, name in enumerate(names) if name.casefold() in {"idx", "id"}), None)
        return ids is not None and parts[ids].isdigit() and row[ids].isdigit()


def _check_swallowed(where: str, begin: int, end: int, fields: Sequence[str], rows: _Rows) -> None:
    """Refuse a field over several lines that holds rows: its opening quotation mark then belongs to a text.

    Raises:
        DatasetError: a line of it is a row of its own.
    """
    swallowed = rows.within(fields)
    if swallowed is not None:
        raise DatasetError(
            f"{where}: lines {begin} to {end} are read as one row, since a quotation mark opens in line {begin}; "
            f"rows would be lost ({swallowed.strip():.40})",
            "write a quotation mark of a text twice and the text in quotation marks; if it is one text, "
            "save the rows as JSON lines (.jsonl) or parquet",
        )


def _check_blank_before_quote(where: str, begin: int, fields: Sequence[str]) -> None:
    """Refuse a quotation mark after a blank: it is no quote by the standard, and hardly part of the text.

    Raises:
        DatasetError: a field has one.
    """
    for value in fields:
        if value[:1] == " " and value.lstrip(" ")[:1] == '"' and value.rstrip()[-1:] == '"':
            raise DatasetError(
                f"{where}: line {begin}: a blank stands before the quotation mark of {value:.40}",
                f"write no blanks between fields, {OTHER_FORMS}",
            )


def _all_quoted(plain: Delimited) -> bool:
    """Tell whether every field of every row stands in quotation marks, which then are quotes."""
    return all(
        len(value) > 1 and value.startswith('"') and value.endswith('"') for row in plain.rows for value in row.values()
    )


def _two_readings(where: str, plain: Delimited, quoted: Delimited) -> DatasetError:
    if len(plain.rows) != len(quoted.rows):
        return DatasetError(
            f"{where}: {len(plain.rows)} rows if quotation marks are part of the texts, {len(quoted.rows)} if they are quotes",
            "save it as CSV, JSON lines or parquet, where that is settled",
        )
    number = next(i for i, (a, b) in enumerate(zip(plain.rows, quoted.rows, strict=True)) if a != b)
    odd = next(
        value
        for value, other in zip(plain.rows[number].values(), quoted.rows[number].values(), strict=True)
        if value != other
    )
    return DatasetError(
        f"{where}: line {plain.lines[number]}: the quotation marks of {odd:.40} may be quotes or part of the text",
        "save it as CSV, JSON lines or parquet, where that is settled",
    )
