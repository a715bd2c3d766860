"""Where each model's weights come from: a local folder, the hub, or, if it must be, random ones of the architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import HubError, UnavailableError
from bertbench.models import hub
from bertbench.models.checkpoints import Snapshot, local_snapshot, side_digest
from bertbench.records.bounds import RANDOM, claimed
from bertbench.records.record import Weights, digest
from bertbench.specs.models import ModelSpec

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Source:
    """Where a model's weights and tokenizer lie. `folder` None: only an architecture, weights are random."""

    spec: ModelSpec
    folder: Path | None
    tokenizer: str | Path
    weights: Weights
    digest: str
    checkpoint: str | None = None
    revision: str | None = None
    outputs: tuple[str, ...] | None = None  # the config's statement of what each output stands for

    @property
    def identity(self) -> str:
        """What tells equal sources: weights, configuration, tokenizer and the meaning of outputs."""
        folders = [path for path in (self.folder, self.tokenizer) if isinstance(path, Path)]
        sides = [] if self.weights == "random" else [side_digest(folder) for folder in folders]
        named = self.tokenizer if isinstance(self.tokenizer, str) else ""
        return digest([self.digest, sides, named, self.outputs])


Say = Callable[[str], None]

OFFLINE_HINT = "`bertbench compare` still measures size and speed; `--task demo-sentiment` needs no hub"


@dataclass(frozen=True)
class Encoder:
    """A model to be measured. `absent` says why its weights are random although it has a checkpoint."""

    source: Source
    snapshot: Snapshot | None
    absent: str | None = None

    @property
    def spec(self) -> ModelSpec:
        """What was asked for."""
        return self.source.spec


def gather(models: Sequence[ModelSpec], *, may_be_random: bool) -> list[Encoder]:
    """Find every model's weights; downloads what is not cached.

    Args:
        models: what was asked for.
        may_be_random: where the hub cannot be reached and nothing is cached, take random weights instead, provided the
            spec has the architecture.

    Raises:
        HubError, CheckpointError: weights cannot be had or are damaged.
    """
    return [_encoder(spec, may_be_random=may_be_random) for spec in models]


def _encoder(spec: ModelSpec, *, may_be_random: bool) -> Encoder:
    if spec.checkpoint is None:
        return _student(spec) if spec.distill else _random(spec, None)
    try:
        snapshot = hub.locate(spec)
    except HubError as error:
        if hub.state() == "online":
            raise
        if not may_be_random or spec.config is None:
            raise HubError(error.message, OFFLINE_HINT) from None
        return _random(spec, error.message)
    tokenizer: str | Path = snapshot.folder
    if spec.tokenizer is not None:
        tokenizer = spec.tokenizer if spec.tokenizer == "demo" else _tokenizer_folder(spec.tokenizer)
    return Encoder(
        Source(spec, snapshot.folder, tokenizer, "pretrained", snapshot.digest, spec.checkpoint, snapshot.commit),
        snapshot,
    )


def _tokenizer_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else hub.fetch(name, weights=False).folder


def _student(spec: ModelSpec) -> Encoder:
    """An architecture whose weights come from its teacher later, with the teacher's tokenizer."""
    encoder = _random(spec, None)
    if spec.tokenizer in {None, "demo"}:
        return encoder
    folder = _tokenizer_folder(str(spec.tokenizer))
    return replace(encoder, source=replace(encoder.source, tokenizer=folder))


def own_config(spec: ModelSpec) -> PretrainedConfig:
    """The configuration of a model's checkpoint; what the spec states, where there is none or it cannot be had.

    Raises:
        HubError, CheckpointError: there is neither.
    """
    from bertbench.models.architecture import config_of

    if spec.checkpoint is None:
        return config_of(spec)
    try:
        folder = hub.fetch_config(spec)
    except HubError:
        if spec.config is None or hub.state() == "online":
            raise
        return config_of(spec)
    return config_of(spec, folder)


def _random(spec: ModelSpec, absent: str | None) -> Encoder:
    key = digest(["random weights", spec.architecture, spec.config])
    return Encoder(Source(spec, None, spec.tokenizer or "", "random", key, spec.checkpoint), None, absent)


def finetuned_source(encoder: Encoder, task_name: str, say: Say) -> Source | None:
    """The published checkpoint already fine-tuned on a task, if the config names one and it can be had."""
    try:
        return published_source(encoder, task_name)
    except UnavailableError as error:
        say(f"{error.message}; it is fine-tuned here instead")
        return None


def published_source(encoder: Encoder, task_name: str) -> Source | None:
    """The published checkpoint already fine-tuned on a task, if the config names one.

    Raises:
        UnavailableError: it cannot be had.
    """
    entry = encoder.spec.finetuned.get(task_name)
    if entry is None:
        return None
    spec = encoder.spec.model_copy(update={"checkpoint": entry.checkpoint, "revision": entry.revision})
    try:
        snapshot = hub.locate(spec)
        tokenizer = _tokenizer_folder(entry.tokenizer) if entry.tokenizer else snapshot.folder
    except UnavailableError as error:
        reason = f"the fine-tuned {entry.checkpoint} cannot be had ({error.message})"
        raise UnavailableError(reason, error.hint, about=encoder.spec.name) from error
    return Source(
        spec, snapshot.folder, tokenizer, "fine-tuned", snapshot.digest, entry.checkpoint, snapshot.commit, entry.labels
    )


@contextmanager
def weight_folders(encoders: Sequence[Encoder], scratch: Path) -> Iterator[list[Encoder]]:
    """Encoders that all have a folder: random weights are written below `scratch` and removed afterwards."""
    from bertbench.models.architecture import config_of
    from bertbench.models.loading import save_random_encoder

    with_weights: list[Encoder] = []
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for encoder in encoders:
            if encoder.source.folder is not None:
                with_weights.append(encoder)
                continue
            folder = stack.enter_context(claimed(scratch, RANDOM))
            save_random_encoder(config_of(encoder.spec), folder)
            with_weights.append(Encoder(replace(encoder.source, folder=folder), local_snapshot(folder), encoder.absent))
        yield with_weights
