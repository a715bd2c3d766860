"""Text without labels, streamed: from files of text, parquet, JSON lines or CSV, or from a data set of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertbench.errors import DatasetError, first_line
from bertbench.models import hub
from bertbench.tasks.kind import LONGEST_TEXT

READERS = {".txt": "text", ".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True)
class Texts:
    """Where text comes from: a file, a folder of files of one kind, or a hub id ('owner/name', 'owner/name:subset').

    `column` holds the text, in plain text files one line a text.
    """

    source: str
    column: str = "text"
    split: str = "train"

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in order, empty ones left out; read them as they are asked for.

        Raises:
            DatasetError, HubError: they cannot be read, or there is no such column, or it holds no text.
        """
        for number, row in enumerate(self._rows()):
            if self.column not in row:
                raise DatasetError(
                    f"{self.source}: no column '{self.column}' (columns: {', '.join(row)})",
                    "name it with --text-column",
                )
            text = row[self.column] or ""
            if not isinstance(text, str):
                raise DatasetError(
                    f"{self.source}: row {number}: expected text, found {text!r:.40}", "name another --text-column"
                )
            if len(text) > LONGEST_TEXT:
                raise DatasetError(
                    f"{self.source}: row {number}: a text of {len(text):,} characters, expected at most {LONGEST_TEXT:,}",
                    "split it into several lines or rows",
                )
            if text.strip():
                yield text

    def check(self) -> None:
        """Find out at once whether there are files, or a hub that answers; nothing is read, and `datasets` is not loaded.

        Raises:
            DatasetError: there are none of a known kind, and it is no id of the hub or the hub cannot be reached.
        """
        self._origin()

    def _origin(self) -> tuple[list[Path], str]:
        """Return the files, or none and the id of the hub's data set."""
        path = Path(self.source).expanduser()
        name = self.source.partition(":")[0]
        if path.exists():
            return files_of(path)[1], name
        if name.count("/") != 1:
            raise DatasetError(
                f"--text {self.source}: no such file or folder", "give text files, or a hub id like owner/name:subset"
            )
        if hub.state() != "online":
            raise DatasetError(f"data set {name}: the hub cannot be reached", "give text files")
        return [], name

    def _rows(self) -> Iterator[dict[str, Any]]:
        files, name = self._origin()
        import datasets

        datasets.disable_progress_bars()
        if files:
            reader = READERS[files[0].suffix]
            options = (
                {"encoding": "utf-8-sig"} if reader == "text" else {}
            )  # the others skip a byte-order mark by themselves
            yield from self._streamed(reader, data_files=[str(file) for file in files], split="train", **options)
            return
        subset = self.source.partition(":")[2]
        yield from self._streamed(name, name=subset or None, split=self.split)

    def _streamed(self, path: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        import datasets

        try:
            yield from datasets.load_dataset(path, streaming=True, **arguments)
        except DatasetError:
            raise
        except UnicodeDecodeError as error:
            raise DatasetError(f"{self.source}: is not UTF-8 ({error.reason})", "save the files as UTF-8") from error
        except Exception as error:
            raise DatasetError(
                f"{self.source}: cannot be read ({first_line(error, 160)})", "check the files, id or subset"
            ) from error


def files_of(path: Path) -> tuple[str, list[Path]]:
    """Return the reader's name and the files, sorted.

    Raises:
        DatasetError: there are none of a known kind, or of several kinds.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in READERS)
    kinds = {READERS.get(file.suffix) for file in files}
    if len(kinds) != 1 or None in kinds:
        problem = "files of several kinds" if len(kinds) > 1 else "no file of these kinds"
        raise DatasetError(f"--text {path}: {problem}", f"one of {', '.join(READERS)}")
    return str(kinds.pop()), files


def blocks(texts: Iterator[str], tokenizer: Any, length: int) -> Iterator[list[int]]:
    """Yield token ids in blocks of `length`, special tokens included; texts follow one another without padding.

    What is left at the end is shorter.
    """
    separator, first = tokenizer.sep_token_id, tokenizer.cls_token_id
    room = length - 2  # beside the first token and the separator
    waiting: list[int] = []
    for text in texts:
        # Quiet about texts beyond the model's limit, for they are cut into blocks.
        waiting += tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        while len(waiting) >= room:
            yield [first, *waiting[:room], separator]
            waiting = waiting[room:]
    if waiting:
        yield [first, *waiting, separator]
