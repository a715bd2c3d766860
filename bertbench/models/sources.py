"""Where each model's weights come from: a local folder, the hub, or, if it must be, random ones of the architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertbench.errors import CheckpointError, HubError, UnavailableError
from bertbench.models import configurations, hub
from bertbench.models.checkpoints import Snapshot, local_snapshot, side_digest
from bertbench.records.bounds import RANDOM, claimed
from bertbench.records.record import Weights, digest
from bertbench.specs.models import FineTuned, ModelSpec

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertbench.specs.tasks import TaskSpec


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
    origin: Mapping[str, str] | None = None  # of a published checkpoint, for records: it decides no figure

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
    """Find every model's weights, and download what is not cached.

    Args:
        models: what was asked for.
        may_be_random: where the hub cannot be reached and nothing is cached, take random weights instead, provided the
            spec has the architecture.

    Raises:
        HubError, CheckpointError: weights are not available or damaged.
    """
    return [_encoder(spec, may_be_random=may_be_random) for spec in models]


def check(models: Sequence[ModelSpec], *, may_be_random: bool) -> dict[str, str]:
    """Find out at once which models' weights cannot be had; nothing is downloaded, of the hub only whether it answers.

    Returns:
        By the names of models that get random weights instead, the reason.

    Raises:
        HubError, CheckpointError: what `gather` would raise.
    """
    absent: dict[str, str] = {}
    for spec in models:
        if spec.checkpoint is not None and not _is_asked_for(spec.checkpoint):
            snapshot = _located(spec, may_be_random=may_be_random)
            if isinstance(snapshot, HubError):
                absent[spec.name] = snapshot.message
                continue
        takes_other = spec.tokenizer not in {None, "demo"} and (spec.checkpoint is not None or spec.distill is not None)
        if takes_other and not _is_asked_for(str(spec.tokenizer)):
            _tokenizer_folder(str(spec.tokenizer))
    return absent


def _is_asked_for(name: str) -> bool:
    """Tell whether a hub that answers will be asked for it."""
    return not Path(name).expanduser().is_dir() and hub.state() == "online"


def _located(spec: ModelSpec, *, may_be_random: bool) -> Snapshot | HubError:
    """Return a model's checkpoint, or why its weights will be random.

    Raises:
        HubError, CheckpointError: it cannot be had, and random weights will not do.
    """
    try:
        return hub.locate(spec)
    except HubError as error:
        if hub.state() == "online":  # its answer is final: random weights would hide a wrong id
            raise
        if not may_be_random or spec.config is None:
            raise HubError(error.message, OFFLINE_HINT) from None
        return error


def _encoder(spec: ModelSpec, *, may_be_random: bool) -> Encoder:
    if spec.checkpoint is None:
        return _student(spec) if spec.distill else _random(spec, None)
    snapshot = _located(spec, may_be_random=may_be_random)
    if isinstance(snapshot, HubError):
        return _random(spec, snapshot.message)
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
    """Return an encoder whose weights come from its teacher later, with the teacher's tokenizer."""
    encoder = _random(spec, None)
    if spec.tokenizer in {None, "demo"}:
        return encoder
    folder = _tokenizer_folder(str(spec.tokenizer))
    return replace(encoder, source=replace(encoder.source, tokenizer=folder))


def own_config(spec: ModelSpec) -> PretrainedConfig:
    """Read the configuration of a model's checkpoint, or the spec's where there is none or it is out of reach.

    Raises:
        HubError, CheckpointError: there is neither.
    """
    from bertbench.models.architecture import config_of  # loads torch

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


def finetuned_source(encoder: Encoder, task: TaskSpec, say: Say) -> Source | None:
    """Find the published checkpoint already fine-tuned on a task, if the config names one, it can be had and it fits the task."""
    entry = encoder.spec.finetuned.get(task.name)
    if entry is None:
        return None
    try:
        source = published_source(encoder.spec, entry)
    except UnavailableError as error:
        why = f"the fine-tuned {entry.checkpoint} cannot be had ({error.message})"
        say(f"{encoder.spec.name}: {why}; without it the model needs fine-tuning")
        return None
    try:
        check_fits(source, task)
    except CheckpointError as error:
        why = f"the fine-tuned checkpoint does not fit {task.name} ({error.message})"
        say(f"{encoder.spec.name}: {why}; without it the model needs fine-tuning")
        return None
    return source


def published_source(model: ModelSpec, entry: FineTuned) -> Source:
    """Where a model's published checkpoint lies, whether or not it fits the task.

    Raises:
        UnavailableError: it is gone, out of reach or damaged.
    """
    spec = model.model_copy(update={"checkpoint": entry.checkpoint, "revision": entry.revision})
    snapshot = hub.locate(spec)
    return Source(
        spec,
        snapshot.folder,
        _tokenizer_folder(entry.tokenizer) if entry.tokenizer else snapshot.folder,
        "fine-tuned",
        snapshot.digest,
        entry.checkpoint,
        snapshot.commit,
        entry.labels,
        entry.recorded_origin,
    )


def check_fits(source: Source, task: TaskSpec) -> None:
    """Refuse a checkpoint of another architecture than its model's, or whose outputs are not the task's labels.

    Raises:
        CheckpointError: it is so, or its configuration is damaged.
    """
    from bertbench.models.loading import output_order

    assert source.folder is not None  # noqa: S101 (what was published has a folder)
    config, checkpoint = configurations.load(source.folder), str(source.checkpoint)
    architecture, count = config.model_type, len(config.id2label)
    if architecture != source.spec.architecture:
        raise CheckpointError(
            f"model {checkpoint}: its architecture is {architecture}, that of {source.spec.name} {source.spec.architecture}",
            "correct 'finetuned' in the model's YAML",
        )
    if task.is_regression and count != 1:
        raise CheckpointError(
            f"model {checkpoint}: has {count} outputs but the task is a regression",
            "correct 'finetuned' in the model's YAML",
        )
    if task.labels is not None:
        # What the YAML states says nothing about how many outputs there are.
        output_order(checkpoint, config.id2label, task.labels, None if count != len(task.labels) else source.outputs)


@contextmanager
def weight_folders(encoders: Sequence[Encoder], scratch: Path) -> Iterator[list[Encoder]]:
    """Yield the encoders, each with a folder: random weights are written below `scratch` and removed afterwards."""
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
