"""A bucket as a store of results: its URL, what lies in it, and errors of its library in one line.

Objects are a stranger's files. Only those are seen that have names of bertbench's own form, and no more is read of one than it may have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bertbench.errors import StoreError, first_line
from bertbench.records.bounds import MARK, is_plain
from bertbench.records.files import CHECKPOINTS, write_atomically

# Stores of objects, each of which appears whole or not at all, and the package that each kind needs.
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "memory": "fsspec",
}
KINDS = "beside folders there are s3://BUCKET/PATH, gs://, az:// and memory://"
AGAIN = "check the address, the connection and the credentials, then repeat the command"
TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
LONGEST_KEY = 800
CHUNK = 16 * 2**20


class StoredObject(NamedTuple):
    """An object as it was listed: its size, when it changed, if that is said, and what changes with it."""

    size: int
    changed: float | None
    version: str


def is_url(name: str) -> bool:
    """Tell whether what a user names is a URL, not a folder."""
    return "://" in name


@dataclass(frozen=True)
class Bucket:
    """Where a store's objects lie; `base` is where it begins for the file system `fs`. A key is a path below that."""

    url: str
    fs: Any
    base: str

    @staticmethod
    def open(url: str) -> Bucket:
        """Find what a URL means; whether it can be reached shows when it is first asked.

        Raises:
            StoreError: it is none of a store, or a package is missing.
        """
        url = _checked(url)
        with _asking(url):
            import fsspec

            fs, base = fsspec.core.url_to_fs(url)
        return Bucket(url, fs, base.rstrip("/"))

    def listed(self) -> tuple[dict[str, StoredObject], list[str]]:
        """List the objects of bertbench's by key, and the keys beside them that are none.

        Raises:
            StoreError: the store cannot be read.
        """
        prefix = f"{self.base}/"
        with _asking(self.url):
            self.fs.invalidate_cache()
            facts = self.fs.find(self.base, detail=True)
        objects, odd = {}, []
        for name, about in facts.items():
            key = name.removeprefix(prefix)
            if about.get("type", "file") != "file" or not name.startswith(prefix) or name.endswith("/"):
                continue
            if is_ours(key):
                objects[key] = StoredObject(int(about.get("size") or 0), _changed(about), _version(about))
            elif key.partition("/")[0] in {"sessions", CHECKPOINTS, "", "..", "."}:
                odd.append(key)
        return objects, odd

    def contents(self, sizes: Mapping[str, int]) -> dict[str, bytes | str | None]:
        """Fetch objects together, no more of each than is said; in the place of one a reason, or None if it has gone.

        Raises:
            StoreError: none could be fetched.
        """
        paths = [f"{self.base}/{key}" for key in sizes]
        with _asking(self.url):
            contents = self.fs.cat_ranges(paths, [0] * len(paths), list(sizes.values()), on_error="return")
            lost = [content for content in contents if isinstance(content, Exception)]
            if lost and len(lost) == len(contents) and not isinstance(lost[0], FileNotFoundError):
                raise lost[0]
        return {
            key: None
            if isinstance(content, FileNotFoundError)
            else content
            if isinstance(content, bytes)
            else _reason(content)
            for key, content in zip(sizes, contents, strict=True)
        }

    def download(self, key: str, size: int, path: Path, limit_bytes: int) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises:
            StoreError: it is larger than the limit, or cannot be fetched.
        """
        about = f"{self.url}/{key}"
        if size > limit_bytes:
            raise StoreError(f"{about}: {size / 1e6:,.0f} MB, expected at most {limit_bytes / 1e6:,.0f} MB")

        def copy(scratch: Path) -> None:
            count = 0
            with self.fs.open(f"{self.base}/{key}", "rb") as source, scratch.open("wb") as target:
                while chunk := source.read(CHUNK):
                    count += len(chunk)
                    if count > limit_bytes:  # it has grown since
                        raise ValueError(f"more than {limit_bytes / 1e6:,.0f} MB")
                    target.write(chunk)

        with _asking(about):
            write_atomically(path, copy)

    def write(self, key: str, content: bytes) -> None:
        """Write an object.

        Raises:
            StoreError: it cannot be written.
        """
        with _asking(self.url):
            self.fs.pipe_file(f"{self.base}/{key}", content)

    def upload(self, key: str, path: Path) -> None:
        """Write a file as an object; one that has gone is none.

        Raises:
            StoreError: it cannot be written.
        """
        if path.is_file():
            with _asking(self.url):
                self.fs.put_file(str(path), f"{self.base}/{key}")

    def remove(self, key: str) -> None:
        """Remove an object, if it is there.

        Raises:
            StoreError: it cannot be removed.
        """
        with _asking(self.url), suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.base}/{key}")


def _checked(url: str) -> str:
    """Return a URL without needless slashes.

    Raises:
        StoreError: it is none of a store; a password in it would be shown and kept.
    """
    kind, _, rest = url.partition("://")
    parts = [part for part in rest.split("/") if part]
    if kind not in PACKAGES:
        raise StoreError(f"results directory {kind}://…: no kind of store that is known", KINDS)
    if not parts or not all(map(is_plain, parts)):
        raise StoreError(
            f"results directory {kind}://…: must be {kind}://BUCKET/PATH, of plain names",
            "credentials are given as the library of the store takes them, not in the URL",
        )
    return f"{kind}://{'/'.join(parts)}"


@contextmanager
def _asking(about: str) -> Iterator[None]:
    """Turn what libraries of stores raise into one line.

    Raises:
        StoreError: something was raised.
    """
    try:
        yield
    except StoreError:
        raise
    except ImportError as error:
        package = PACKAGES[about.partition("://")[0]]
        raise StoreError(
            f"{about}: {package} is needed, and cannot be imported ({first_line(error)})",
            f"install it: pip install {package}",
        ) from None
    except Exception as error:  # noqa: BLE001 (each library has classes of its own, without a common one)
        raise StoreError(_reason(error), AGAIN, about=about) from None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no such bucket or object ({first_line(error, 100)})"
    if isinstance(error, PermissionError):
        return f"no permission ({first_line(error, 100)})"
    return first_line(error)


def is_ours(key: str) -> bool:
    """Tell whether a key is one that bertbench writes: each part a plain name, in its place."""
    top, *parts = key.split("/")
    if not parts:
        return key == MARK
    if not all(map(is_plain, parts)) or len(key) > LONGEST_KEY:
        return False
    return (top == "sessions" and len(parts) == 2 and key.endswith((".json", ".parquet"))) or (
        top == CHECKPOINTS and len(parts) >= 2
    )


def _version(about: dict[str, Any]) -> str:
    """Digest all that is said of an object: what changes with it differs from store to store."""
    text = repr(sorted((str(name), str(value)) for name, value in about.items()))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _changed(about: dict[str, Any]) -> float | None:
    value = next((about[name] for name in TIMES if about.get(name)), None)
    if isinstance(value, datetime):
        return value.timestamp()
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    return None
