"""Checkpoint folders: which files hold the weights, whether they are whole, and their digest. No library is needed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertbench.errors import CheckpointError

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
SIDE_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "word_shape.json",
    "word_pronunciation.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "added_tokens.json",
    "entity_vocab.json",
)
ABOUT_FILE = "bertbench.json"  # beside weights that were trained here: how they came about
BLOB_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint as a local folder. `commit` is the hub's, None for a folder of the user's."""

    folder: Path
    commit: str | None
    weights: tuple[Path, ...]

    @property
    def checkpoint_bytes(self) -> int:
        """Size on disk of the weight files, which may hold more than the bare model."""
        return sum(path.stat().st_size for path in self.weights)

    @property
    def digest(self) -> str:
        """sha256 over the weight files' sha256; the hub's cache names files by it."""
        return hashlib.sha256("".join(_sha256(path) for path in self.weights).encode()).hexdigest()


def side_digest(folder: Path) -> str:
    """sha256 over configuration and tokenizer files: they decide what weights mean."""
    content = hashlib.sha256()
    for name in SIDE_FILES:
        if (folder / name).is_file():
            content.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return content.hexdigest()


def write_about(folder: Path, **facts: Any) -> None:
    """Leave beside the weights of a folder how they came about."""
    (folder / ABOUT_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def trained_length(folder: Path | None, task: str) -> int | None:
    """The most tokens of the inputs that a checkpoint was fine-tuned and scored with here, on this task; None if unknown."""
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8")) if folder else {}
        return about["max_length"] if about.get("task") == task and isinstance(about["max_length"], int) else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def local_snapshot(folder: Path, *, weights: bool = True) -> Snapshot:
    """A user's folder as a checkpoint.

    Raises:
        CheckpointError: no folder, no config.json, no weights, or a damaged weight file.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"checkpoint {folder}: no such folder", "give a folder with config.json and model.safetensors"
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"checkpoint {folder}: has no config.json", "save it with model.save_pretrained(folder)")
    return Snapshot(folder, None, weight_files(folder, str(folder)) if weights else ())


def files_to_keep(folder: Path) -> tuple[Path, ...]:
    """What makes up a checkpoint, by name: configuration, tokenizer, weights with their index, and how they came about.

    Raises:
        CheckpointError: there are no weights, one is damaged, or something of it is a link or otherwise no plain file.
    """
    beside = [folder / name for name in (*SIDE_FILES, ABOUT_FILE)]
    index = [folder / name for name in WEIGHT_FILES if (folder / name).exists()][:1]
    weights = weight_files(folder, str(folder))
    found = dict.fromkeys([*(path for path in beside if os.path.lexists(path)), *index, *weights])
    for path in (folder, *found):
        mode = path.lstat().st_mode
        if not (stat.S_ISDIR(mode) if path == folder else stat.S_ISREG(mode)):
            what = "is a link" if stat.S_ISLNK(mode) else "is no plain file"
            raise CheckpointError(f"checkpoint {folder}: {path.name} {what}", "put a copy of what it stands for there")
    return tuple(found)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy what makes up a checkpoint, and nothing else, into a folder; new files and folders have the umask's modes.

    Raises:
        CheckpointError: see `files_to_keep`.
        OSError: it cannot be read or written.
    """
    files = files_to_keep(source)
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, target / path.name, follow_symlinks=False)


def weight_files(folder: Path, checkpoint: str) -> tuple[Path, ...]:
    """The weight files of a checkpoint folder, each checked to be whole.

    Raises:
        CheckpointError: there are none, a shard is missing, or a file is cut off.
    """
    for first in WEIGHT_FILES:
        path = folder / first
        if not path.is_file():
            continue
        files = [path] if not first.endswith(".index.json") else _shards(path, checkpoint)
        for file in files:
            _check_whole(file, checkpoint)
        return tuple(files)
    raise CheckpointError(
        f"checkpoint {checkpoint}: has no weights (model.safetensors or pytorch_model.bin)",
        "save them with model.save_pretrained(folder)",
    )


def _shards(index: Path, checkpoint: str) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"checkpoint {checkpoint}: {index.name} is damaged", "download it again") from None
    strange = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if strange:
        raise CheckpointError(f"checkpoint {checkpoint}: {index.name} names {strange[0]!r:.80}, which lies elsewhere")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(f"checkpoint {checkpoint}: {missing[0]} is missing", "download it again")
    return [index.parent / name for name in names]


def _check_whole(path: Path, checkpoint: str) -> None:
    """Compare a safetensors file's length with what its header promises; other formats show damage when loaded."""
    if path.suffix != ".safetensors":
        return
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if 0 < length < path.stat().st_size else None
        ends = [entry["data_offsets"][1] for name, entry in (header or {}).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        header, ends = None, []
    if header is None or 8 + length + max(ends, default=0) != path.stat().st_size:
        raise CheckpointError(
            f"checkpoint {checkpoint}: {path.name} is damaged or cut off", f"download it again (delete {path} first)"
        )


def _sha256(path: Path) -> str:
    name = path.resolve().name
    if BLOB_SHA256.match(name):
        return name
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
