"""Tokenizers and models, loaded from local folders only, with what is missing or does not fit said clearly.

One of the doors to `transformers`. The files are here already: `bertbench.models.hub` brings them.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertbench.errors import CheckpointError, first_line
from bertbench.models import attention, configurations
from bertbench.models.checkpoints import check_tokenizer_files
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.models.lengths import vocabulary_size
from bertbench.models.students.sharing import is_tied, tie, untied_state
from bertbench.models.suitability import auto_class, bare_weights, check_buildable, why_not_loaded
from bertbench.specs.names import differ_in_detail_only, match
from bertbench.specs.tasks import QUESTIONS, SEQUENCES, TaskSpec
from bertbench.specs.text_files import read_object

# Which output of a classifier stands for which label: the config's mapping first, then names.
#
# Published checkpoints often say only LABEL_0, LABEL_1, and some are permuted; a wrong order costs all accuracy.

PLACEHOLDER = re.compile(r"^LABEL_(\d+)$", re.IGNORECASE)


def output_order(
    name: str, id2label: Mapping[int, str], labels: Sequence[str], mapping: Sequence[str] | None
) -> tuple[tuple[str, ...], str | None]:
    """Decide which label each output stands for, and return a warning if that is a guess.

    Args:
        name: the model, for messages.
        id2label: the checkpoint's own names by output.
        labels: the task's labels.
        mapping: the order stated in the model's YAML, which wins.

    Raises:
        CheckpointError: the number of outputs differs, or the names are others than the task's.
    """
    outputs = [str(id2label[i]) for i in sorted(id2label)]
    if mapping is not None:
        if sorted(mapping) != sorted(labels):
            raise CheckpointError(
                f"'labels' {list(mapping)} are not the task's {list(labels)}",
                "correct the model's YAML",
                about=f"model {name}",
            )
        return tuple(mapping), None
    if len(outputs) != len(labels):
        raise CheckpointError(
            f"has {len(outputs)} outputs but the task {len(labels)} labels",
            "choose a checkpoint fine-tuned on this task, or --finetune",
            about=f"model {name}",
        )
    if sorted(outputs) != sorted(labels) and all(PLACEHOLDER.match(output) for output in outputs):
        return tuple(labels), f"its outputs are called {outputs[0]}…: taken in the task's order ({', '.join(labels)})"
    order = match(outputs, labels)
    if order is None:
        strict = (
            "; names that case or separators alone tell apart must be the same" if differ_in_detail_only(labels) else ""
        )
        raise CheckpointError(
            f"its labels {outputs} conflict with the task's {list(labels)}{strict}",
            "state the order under 'finetuned: <task>: labels' in a model's YAML, or --finetune",
            about=f"model {name}",
        )
    return order, None


POOLER = ".pooler."  # new in a masked-language-model checkpoint; trained anew with the head


@dataclass(frozen=True)
class LoadReport:
    """What loading found: names of weights that were missing and are random now."""

    new_head: tuple[str, ...]
    new_pooler: tuple[str, ...]


def load_tokenizer(source: str | Path, config: Any, name: str, *, split_words: bool = False) -> Any:
    """Load a folder's fast tokenizer, or the demo tasks' ('demo'); `split_words`: texts are given as lists of words.

    Raises:
        CheckpointError: absent, damaged, or with more tokens than the model has embeddings.
    """
    tokenizer = open_tokenizer(source, name, split_words=split_words)
    if len(tokenizer) > (rows := vocabulary_size(config)):
        raise CheckpointError(
            f"its tokenizer has {len(tokenizer)} tokens but the model only {rows} embeddings",
            "name the tokenizer that belongs to the checkpoint ('tokenizer' in the model's YAML)",
            about=f"model {name}",
        )
    if tokenizer.pad_token_id is None:
        raise CheckpointError(
            "its tokenizer has no padding token", "choose an encoder's tokenizer", about=f"model {name}"
        )
    return tokenizer


def open_tokenizer(source: str | Path, name: str, *, split_words: bool = False) -> Any:
    """Load a tokenizer as `load_tokenizer` does, but without a look at the model.

    Raises:
        CheckpointError: absent or damaged.
    """
    if source == "demo":
        return build_tokenizer()
    from transformers import AutoTokenizer

    check_tokenizer_files(Path(source), name)
    config = configurations.for_tokenizer(Path(source))
    try:
        with quiet():
            # Tokenizers of bytes (RoBERTa's) mark a word by the space before it, which a list of words has not.
            space = {"add_prefix_space": True} if split_words else {}
            tokenizer = AutoTokenizer.from_pretrained(
                str(source), config=config, trust_remote_code=False, local_files_only=True, **space
            )
    except Exception as error:
        raise CheckpointError(
            f"its tokenizer cannot be loaded ({first_line(error)})",
            "the folder needs tokenizer.json, or vocab.txt",
            about=f"model {name}",
        ) from error
    files = tokenizer.vocab_files_names.values()
    if files and not any((Path(source) / file).is_file() for file in files):  # transformers makes an empty one then
        raise CheckpointError(
            f"has no tokenizer (none of {', '.join(files)})",
            "the folder needs tokenizer.json, or vocab.txt",
            about=f"model {name}",
        )
    return tokenizer


def uses_token_types(config: Any) -> bool:
    """Tell whether the model distinguishes first and second sentences by token_type_ids.

    ALBERT does, though its tokenizer returns none unless asked; DistilBERT and RoBERTa (one type) do not.
    """
    return getattr(config, "type_vocab_size", 0) > 1 and config.model_type != "distilbert"


def head_settings(task: TaskSpec, outputs: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the settings of a task's head; `outputs` are the names of the outputs in order."""
    if task.kind == QUESTIONS:
        return {"num_labels": 2}  # start and end
    if task.labels is None:
        return {"num_labels": 1, "problem_type": "regression"}
    names = tuple(outputs or task.labels)
    problem = {"problem_type": "single_label_classification"} if task.kind == SEQUENCES else {}
    return problem | {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {label: i for i, label in enumerate(names)},
    }


def load_with_head(
    folder: Path, name: str, head: str, asked: str, settings: dict[str, Any], *, trained: bool
) -> tuple[Any, LoadReport]:
    """Load a model with a head for tasks of the kind `head`; with `trained`, its weights must be in `folder` too.

    `asked` is the attention to use where the architecture has it (`bertbench.models.attention`).

    Raises:
        CheckpointError: weights are missing (outside a new head), damaged or of other shapes, or the architecture has no
            such head.
    """

    def make(implementation: str) -> Any:
        return auto_class(head).from_pretrained(
            str(folder),
            config=configurations.load(folder, **settings),
            trust_remote_code=False,  # code that comes with a checkpoint is never run
            local_files_only=True,
            attn_implementation=implementation,
            output_loading_info=True,
            ignore_mismatched_sizes=not trained,  # a new head may be of another size than the stored one
            dtype="float32",
        )

    try:
        with quiet():
            check_buildable(name, configurations.load(folder, **settings), head)
            model, info = attention.build_with_attention(make, asked)
    except CheckpointError:
        raise
    except Exception as error:
        with quiet():
            reason = why_not_loaded(folder, name, head, settings, error)
        raise reason from error
    mismatched = [str(entry[0]) for entry in info.get("mismatched_keys") or ()]
    body = [key for key in mismatched if key.startswith(f"{model.base_model_prefix}.")]
    if body:
        raise CheckpointError(
            f"{body[0]} has another shape than config.json says",
            "the checkpoint is damaged; download it again",
            about=f"model {name}",
        )
    tie(model)
    return model, _judge(name, model, sorted({*info["missing_keys"], *mismatched}), trained=trained)


def _judge(name: str, model: Any, missing: list[str], *, trained: bool) -> LoadReport:
    prefix = f"{model.base_model_prefix}."
    pooler = tuple(key for key in missing if POOLER in f".{key}")
    body = [key for key in missing if key.startswith(prefix) and key not in pooler]
    if body:  # some keep their head inside of it, as Perceiver its decoder
        encoder_weights = bare_weights(model.config)
        body = [key for key in body if key.removeprefix(prefix) in encoder_weights]
    head = tuple(key for key in missing if key not in body and key not in pooler)
    if body:
        raise CheckpointError(
            f"{len(body)} weights of the encoder are missing from the checkpoint, first {body[0]}",
            "its quality would be that of random weights; use a complete checkpoint",
            about=f"model {name}",
        )
    if trained and (head or pooler):
        raise CheckpointError(
            f"the checkpoint has no trained head ({(head + pooler)[0]} is missing)",
            "fine-tune it (--finetune)",
            about=f"model {name}",
        )
    return LoadReport(head, pooler)


def new_with_head(config: Any, head: str, asked: str, settings: dict[str, Any]) -> Any:
    """Build a model with random weights (seed torch first), for what has only an architecture.

    Raises:
        CheckpointError: the architecture has no such head, or its values do not go together.
    """
    for key, value in settings.items():
        setattr(config, key, value)
    check_buildable(config.model_type, config, head)

    def make(implementation: str) -> Any:
        return auto_class(head).from_config(config, attn_implementation=implementation)

    with quiet():
        return tie(attention.build_with_attention(make, asked))


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write an ordinary checkpoint folder, with what only bertbench ties untied, so that transformers reads it."""
    with quiet():
        model.save_pretrained(folder, state_dict=untied_state(model) if is_tied(model) else None)
        tokenizer.save_pretrained(folder)
    mode = (folder / "config.json").stat().st_mode & 0o777  # what the umask leaves; safetensors bars all but the owner
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)


def save_random_encoder(config: Any, folder: Path, seed: int = 0) -> None:
    """Write the bare encoder with seeded random weights, so that size and speed can be measured without a hub.

    Raises:
        ConfigError: it cannot be built, or not in this machine's memory.
    """
    import torch
    from transformers import AutoModel

    from bertbench.models.architecture import check_memory, with_class

    check_memory(config)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModel.from_config(with_class(config, AutoModel)).save_pretrained(folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers: what matters of its messages is checked here and said in our words."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def has_head(folder: Path | None, kind: str) -> bool:
    """Tell whether a checkpoint says that it is fine-tuned on tasks of a kind."""
    from bertbench.models.architecture import HEADS

    if folder is None:
        return False
    try:
        names = read_object(folder / "config.json").get("architectures")
    except (OSError, ValueError):
        return False
    return isinstance(names, list) and any(str(name).endswith(HEADS[kind].removeprefix("AutoModel")) for name in names)
