"""Checkpoint folders: which files hold the weights, whether they are whole, their digest, the memory they will take.

Only files are read: nothing is loaded, and no library is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bertbench.errors import CheckpointError
from bertbench.specs.text_files import MIB, object_of, read_object
from bertbench.specs.timing import ExecutionSettings, ShapeSpec
from bertbench.units import megabytes

MEMORY_SHARE = 0.8  # of what is free; beyond, the system would begin to kill
PROCESS_BYTES = 80 * 10**6  # what a forked worker holds of its own besides weights and activations, rounded up
DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER_FILES = (
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
SIDE_FILES = ("config.json", *TOKENIZER_FILES)
# Settings are read in Python, which takes ten times a file's size; word lists may be long.
WORD_LISTS = frozenset({"tokenizer.json", "vocab.json", "entity_vocab.json", "added_tokens.json"})
MOST_WORDS_BYTES = 100 * MIB
INDEX_BYTES = HEADER_BYTES = 20 * MIB
# transformers loads such files, where there is one, instead of those that are checked here.
OTHER_SHARDS = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
ABOUT_FILE = "bertbench.json"  # beside weights that were trained here: how they came about
# Without '/' and a leading dot: an index cannot name files elsewhere.
SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.(safetensors|bin)")
SAVED_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
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
        """sha256 over the weight files' sha256; the hub's cache names files by it. A user's folder may lie about that."""
        of = _sha256 if self.commit is None else _sha256_of_cached
        return hashlib.sha256("".join(map(of, self.weights)).encode()).hexdigest()


def side_digest(folder: Path) -> str:
    """Compute the sha256 over configuration and tokenizer files, which decide what the weights mean.

    Raises:
        CheckpointError: one is far larger than any real one.
    """
    content = hashlib.sha256()
    for name in SIDE_FILES:
        if (folder / name).is_file():
            _check_size(folder / name)
            # Names and ends are hashed too: content that moves from one file to the next changes the digest.
            content.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return content.hexdigest()


def write_about(folder: Path, **facts: Any) -> None:
    """Write beside a folder's weights how they came about."""
    (folder / ABOUT_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def trained_length(folder: Path | None, task: str) -> int | None:
    """Read how many tokens inputs had at most when a checkpoint was trained and scored here on a task, if known."""
    try:
        about = read_object(folder / ABOUT_FILE) if folder else {}
    except (OSError, ValueError):
        return None
    length = about.get("max_length")
    return length if about.get("task") == task and type(length) is int and length > 0 else None


def check_tokenizer_files(folder: Path, name: str) -> None:
    """Refuse tokenizer files far larger than any real one, and settings that are no JSON object.

    Raises:
        CheckpointError: a file is like that; `name` is the model's.
    """
    for path in (folder / file for file in TOKENIZER_FILES):
        try:
            if path.suffix == ".json" and path.name not in WORD_LISTS:
                read_object(path)
            _check_size(path, f"model {name}")
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}", "take the tokenizer's own files", about=f"model {name}") from None


def _check_size(path: Path, about: str | None = None) -> None:
    """Refuse a word list or settings that no tokenizer has, before they are read."""
    if (size := path.stat().st_size) > MOST_WORDS_BYTES:
        raise CheckpointError(
            f"{path}: has {megabytes(size)}, expected at most {megabytes(MOST_WORDS_BYTES)}",
            "take the tokenizer's own files",
            about=about,
        )


def local_snapshot(folder: Path, *, weights: bool = True) -> Snapshot:
    """Check a user's folder and return it as a checkpoint.

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
    """List the files of a checkpoint by name: configuration, tokenizer, weights with their index, how they came about.

    Raises:
        CheckpointError: there are no weights, one is damaged, or a file is a link or otherwise not a plain file.
    """
    side_paths = [folder / name for name in (*SIDE_FILES, ABOUT_FILE)]
    index = [folder / name for name in WEIGHT_FILES if (folder / name).exists()][:1]
    weights = weight_files(folder, str(folder))
    paths = dict.fromkeys([*(path for path in side_paths if os.path.lexists(path)), *index, *weights])
    # lstat, since a link could bring any file of this machine into the copy.
    for path in (folder, *paths):
        mode = path.lstat().st_mode
        if not (stat.S_ISDIR(mode) if path == folder else stat.S_ISREG(mode)):
            what = "is a link" if stat.S_ISLNK(mode) else "is no plain file"
            raise CheckpointError(
                f"checkpoint {folder}: {path.name} {what}", "replace it with a copy of the file or folder itself"
            )
    return tuple(paths)


def part_of_saved(name: str) -> Literal["weights", "text"] | None:
    """Tell what a file is by its name in a checkpoint that was trained and saved here; None for what none has."""
    if SAVED_WEIGHTS.fullmatch(name):
        return "weights"
    return "text" if name in {*SIDE_FILES, ABOUT_FILE, "model.safetensors.index.json"} else None


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
    """Find the weight files of a checkpoint folder, each checked to be whole.

    Raises:
        CheckpointError: there are none, a shard is missing, or a file is cut off.
    """
    other = next((path.name for path in folder.glob("shard-*.safetensors") if OTHER_SHARDS.fullmatch(path.name)), None)
    if other is not None:
        raise CheckpointError(
            f"checkpoint {checkpoint}: {other} belongs to a distributed checkpoint, which bertbench does not load",
            "save the model with model.save_pretrained(folder), or remove the file",
        )
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
        names = sorted(set(read_object(index, limit_bytes=INDEX_BYTES)["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f"checkpoint {checkpoint}: {index.name} is damaged", "download it again") from None
    odd = [name for name in names if not isinstance(name, str) or not SHARD.fullmatch(name)]
    if odd or not names:
        raise CheckpointError(
            f"checkpoint {checkpoint}: {index.name} names {f'{odd[0]!r:.60} as a' if odd else 'no'} weight file",
            "weight files lie beside it and are called like model-00001-of-00002.safetensors; download it again",
        )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(f"checkpoint {checkpoint}: {missing[0]} is missing", "download it again")
    return [index.parent / name for name in names]


def _check_whole(path: Path, checkpoint: str) -> None:
    """Compare a safetensors file's length with what its header promises; other formats show damage when loaded."""
    if path.suffix != ".safetensors":
        return
    try:
        length, tensors = header_of(path)
        ends = [entry["data_offsets"][1] for entry in tensors.values()]
        # The format: 8 bytes for the header's length, the header, the tensors.
        whole = 8 + length + max(ends, default=0) == path.stat().st_size
    except (ValueError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise CheckpointError(
            f"checkpoint {checkpoint}: {path.name} is damaged or cut off", f"download it again (delete {path} first)"
        )


def header_of(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Read a safetensors file's header: its bytes, and what it says of each tensor ('dtype', 'shape', 'data_offsets').

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer than the file or than any header, or no JSON of the format's form.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(path.stat().st_size, HEADER_BYTES):
            raise ValueError(f"a header of {length} bytes")
        header = object_of(stream.read(length).decode())
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in tensors.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"{name:.60} has no shape")
    return length, tensors


def remove_forged(files: Sequence[Path], known: Collection[str]) -> str | None:
    """Remove new files of the hub's cache from it whose content is another than their name says, and name the first.

    Only files with a sha256 for a name, which digests are taken from, and none of those `known` before the download.
    """
    forged = [
        path
        for path in files
        if BLOB_SHA256.match(name := path.resolve().name)
        and name not in known
        and path.is_file()
        and _sha256(path) != name
    ]
    for path in forged:
        path.resolve().unlink()
        path.unlink()
    return forged[0].name if forged else None


def _sha256_of_cached(path: Path) -> str:
    # The hub's cache links to a file that is named by its sha256, so gigabytes need not be read.
    name = path.resolve().name
    return name if BLOB_SHA256.match(name) else _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """Read the folder's config.json.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return read_object(folder / "config.json")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: config.json cannot be read ({error})", "download it again") from None


def modeling_module(folder: Path) -> str | None:
    """Return the name of transformers' module for the folder's architecture; None if config.json names none."""
    try:
        kind = str(read_object(folder / "config.json").get("model_type"))
    except (OSError, ValueError):
        return None
    return module_of(kind)


def module_of(architecture: str) -> str | None:
    """Return the name of transformers' module for an architecture; None for what cannot be a module's name."""
    name = architecture.replace("-", "_")
    return f"transformers.models.{name}.modeling_{name}" if name.isidentifier() else None  # it may come from anywhere


def predicted_bytes(folder: Path, settings: ExecutionSettings, shapes: Sequence[ShapeSpec]) -> int:
    """Estimate a worker's peak of main memory in bytes: weights, process, and the largest shape's activations.

    A forward pass without gradients holds one layer's activations; natural lengths count as 128 tokens. Of an exported
    file the runtime keeps weights in its own layout and, while it loads, the file's.
    """
    config = read_config(folder)
    exported = sum(file.stat().st_size for file in folder.glob("*.onnx*"))
    if exported:
        weights = 2 * exported
    else:
        files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
        stored = DTYPE_BYTES.get(str(config.get("dtype") or config.get("torch_dtype") or "fp32"), 4)
        weights = sum(file.stat().st_size for file in files) * _computed_bytes(settings) // stored
    activations = max((_activations(config, settings, shape) for shape in shapes), default=0)
    return weights + PROCESS_BYTES + activations * _computed_bytes(settings)


def _computed_bytes(settings: ExecutionSettings) -> int:
    """Return how many bytes a number has while it is computed with: int8 is quantized from fp32, and back."""
    return DTYPE_BYTES.get(settings.dtype, 4)


def _activations(config: Mapping[str, Any], settings: ExecutionSettings, shape: ShapeSpec) -> int:
    """Count a layer's numbers at once: hidden states, projections, feed-forward; scores unless attention is fused."""
    hidden = count_in(config, 768, "hidden_size", "dim")
    inner = count_in(config, 4 * hidden, "intermediate_size", "hidden_dim")
    heads = count_in(config, 12, "num_attention_heads", "n_heads")
    length = shape.sequence_length or 128
    scores = 0 if settings.attention == "sdpa" else 2 * heads * length * length
    return shape.batch_size * (length * (8 * hidden + 3 * inner) + scores)


def count_in(config: Mapping[str, Any], default: int, *names: str) -> int:
    """Return the first count of these names in config.json; whoever loads the model refuses what is no count."""
    return next((value for name in names if isinstance(value := config.get(name), int) and value > 0), default)
