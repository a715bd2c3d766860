"""Do tokenizer and model belong together, and what is a model given: embeddings, padding, case, token types, cut texts?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError
from bertbench.models.lengths import length_limit, unused_positions, vocabulary_size
from bertbench.models.loading import uses_token_types
from bertbench.quality import features
from bertbench.quality.doctor.verdict import Verdict, ok, problem, unchecked, warning
from bertbench.quality.features import padded
from bertbench.specs.tasks import SEQUENCES
from bertbench.specs.text_files import read_object
from bertbench.units import percent

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import ExaminedCheckpoint, ModelOnTask

PADDED_TO = 128  # embeddings are often padded to a multiple of 8, 64 or 128, for speed
UNLIMITED = 10**9  # transformers writes 1e30 where a tokenizer states no limit
FEW_UPPER = 0.01
SOME_UNKNOWN, MANY_UNKNOWN = 0.01, 0.1
BELONGING = "name the tokenizer that belongs to the checkpoint ('tokenizer' in the model's YAML)"
_PLACES = "do_lower_case in tokenizer_config.json and the normalizer of tokenizer.json"
LOWER_CASE, KEEP_CASE = f"set {_PLACES}", f"unset {_PLACES}"


def sizes(subject: ExaminedCheckpoint) -> Verdict:
    """Tell whether every token has an embedding, and nearly every embedding a token."""
    if not subject.source.tokenizer:
        return unchecked("the model states no tokenizer", "name one ('tokenizer' in the model's YAML)")
    try:
        tokens = len(subject.tokenizer)
    except CheckpointError as error:
        return problem(error.finding, error.hint)
    rows = vocabulary_size(subject.config)
    shown = f"{tokens:,} tokens, {rows:,} embeddings"
    if tokens > rows:
        return problem(f"{shown}: {tokens - rows:,} tokens have none", BELONGING)
    is_padding = rows % 8 == 0 and rows - tokens < PADDED_TO
    if tokens < rows and not is_padding and subject.source.folder is not None:  # from scratch that costs only size
        return warning(f"{shown}: {rows - tokens:,} are never used", BELONGING)
    return ok(shown)


def padding(subject: ExaminedCheckpoint) -> Verdict:
    """Tell whether tokenizer and config.json name the same padding token."""
    pad_id, stated_id = subject.tokenizer.pad_token_id, getattr(subject.config, "pad_token_id", None)
    if pad_id is None:
        return problem("the tokenizer has no padding token", "choose an encoder's tokenizer")
    if stated_id is None or pad_id == stated_id:
        return ok(f"id {pad_id}" + (" (config.json states none)" if stated_id is None else ""))
    shown, advice = (
        f"the tokenizer pads with id {pad_id}, config.json says {stated_id}",
        "set pad_token_id in config.json",
    )
    if unused_positions(subject.config):
        return problem(f"{shown}, and positions are counted from it", advice)
    return warning(shown, advice)


def lengths(subject: ExaminedCheckpoint) -> Verdict:
    """Tell whether the tokenizer lets more tokens through than the model has positions for."""
    stated, limit = subject.tokenizer.model_max_length, length_limit(subject.config)
    if limit is None:
        return ok("the model has no positions that could run out; bertbench cuts to --max-length")
    if stated > UNLIMITED:
        return ok(f"the tokenizer states none, the model takes {limit}; bertbench cuts to --max-length")
    if stated > limit:
        shown = f"the tokenizer lets {stated} tokens through, the model takes {limit}"
        return warning(shown, f"bertbench cuts to --max-length; elsewhere pass max_length={limit}")
    return ok(f"{stated} by the tokenizer, {limit} by the model")


def casing(subject: ExaminedCheckpoint) -> Verdict:
    """Tell whether upper case is kept where the model knows it, and only there."""
    lowers = _lowers(subject.tokenizer)
    kept = "the tokenizer lower-cases" if lowers else "the tokenizer keeps case"
    says = _stated(subject)
    upper, lower = (_share_with(subject.tokenizer, letters) for letters in ("[A-Z]", "[a-z]"))
    if says is not None and (says == "uncased") != lowers:
        return problem(f"{kept}, but the checkpoint is called {says}", KEEP_CASE if lowers else LOWER_CASE)
    if not lowers and upper == 0 < lower:
        return problem(f"{kept}, but no token has upper case: it is all unknown", LOWER_CASE)
    if lowers and upper > FEW_UPPER:
        shown = f"{kept}, but {percent(upper)} of its tokens have upper case and are never used"
        return problem(shown, KEEP_CASE)
    return ok(kept + (f", as {says} says" if says else ""))


def _lowers(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        text = "Paris IN The Spring"
        return bool(tokenizer.tokenize(text) == tokenizer.tokenize(text.lower()))
    return backend.normalizer is not None and "ab" in str(backend.normalizer.normalize_str("Ab"))


def _stated(subject: ExaminedCheckpoint) -> str | None:
    """Return 'cased' or 'uncased' if the checkpoint's name, or that of what it was made from, says so."""
    source = subject.source
    names = [Path(source.checkpoint or "").name]
    if source.folder is not None:
        try:
            values = read_object(source.folder / "config.json")
        except (OSError, ValueError):
            values = {}
        names.append(Path(str(values.get("_name_or_path", ""))).name)
    for name in names:
        match = re.search(r"(?<![a-z])(un)?cased(?![a-z])", name.lower())
        if match:
            return match[0]
    return None


def _share_with(tokenizer: Any, letters: str) -> float:
    """Compute the share of tokens with one of these letters, special ones left out."""
    special = set(tokenizer.all_special_tokens)
    words = [token for token in tokenizer.get_vocab() if token not in special]
    return sum(re.search(letters, token) is not None for token in words) / max(len(words), 1)


def unknown(subject: ModelOnTask) -> Verdict | None:
    """Compute the share of the sample's tokens that the tokenizer does not know."""
    tokenizer = subject.ready.tokenizer
    if tokenizer.unk_token_id is None:
        return None
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = [token_id for row in subject.features.rows for token_id in row["input_ids"] if token_id not in special]
    share = ids.count(tokenizer.unk_token_id) / max(len(ids), 1)
    shown = f"{percent(share)} of {len(ids):,} tokens"
    if share > MANY_UNKNOWN:
        return problem(shown, "the vocabulary does not fit these texts; see upper and lower case above")
    if share > SOME_UNKNOWN:
        return warning(shown, "the vocabulary does not fit these texts well")
    return ok(shown)


# What a model is given: are the two texts of a pair told apart, are texts cut, does padding change an answer?


def pairs(subject: ModelOnTask) -> Verdict | None:
    """Tell whether a model that uses token types gets them, by bertbench and by default."""
    if len(subject.task.inputs) != 2:
        return None
    if not uses_token_types(subject.config):
        return ok("the model has none: a separator tells the texts apart")
    types = [set(row.get("token_type_ids", ())) for row in subject.features.rows]
    if not any(1 in seen for seen in types):
        shown = "bertbench feeds none" if not any(types) else "the second text has type 0, as the first"
        return problem(shown, "the model uses them: take the tokenizer that belongs to it")
    if "token_type_ids" not in subject.ready.tokenizer("one", "two"):
        return ok(
            "bertbench feeds them; the tokenizer by default gives none",
            "pass return_token_type_ids=True where you tokenize yourself",
        )
    return ok("bertbench feeds them, and so does the tokenizer by default")


# How much of the texts the maximal length leaves, and how long they are.

EXAMPLES = 2000
WHOLE = 10**6  # tokens: nothing is cut
MANY_CUT = 0.1
SHARES = (50, 95, 99)


def truncated(subject: ModelOnTask) -> Verdict:
    """Measure the share of inputs that is cut or taken in windows, and the lengths that 50, 95 and 99 % stay within."""
    import numpy as np

    ready, examples = subject.ready, subject.data.validation.take(EXAMPLES)
    whole = features.of(ready.kind, ready.tokenizer, subject.task, examples, WHOLE, ready.model.config)
    lengths = np.array([len(row["input_ids"]) for row in whole.rows])
    percentiles = np.percentile(lengths, SHARES, method="inverted_cdf").astype(int).tolist()
    share = float((lengths > ready.max_length).mean())
    limit = f"longer than {ready.max_length} tokens"
    shown = f"{percent(share)} of {len(examples):,} {limit}; {', '.join(map(str, SHARES))} %: {', '.join(map(str, percentiles))} tokens"
    if subject.task.kind != SEQUENCES:
        return ok(f"{shown}; taken in windows, nothing is lost")
    if share > MANY_CUT:
        return warning(f"{shown}; their ends are lost", f"raise --max-length, to {percentiles[1]} for 95 %")
    return ok(shown)


# Does an example get the same answer alone as in a padded batch? Not if a model looks at its padding.

Row = dict[str, list[int]]

INPUTS = 8
EXTRA = 16  # tokens by which even the longest is padded
LARGEST = 1e-4  # of the outputs' spread; rounding in fp32 is a hundredth of it
ROUNDING = 1e-5  # of the outputs' size: where all are nearly equal, their spread is no measure


def invariance(subject: ModelOnTask) -> Verdict:
    """Measure the largest difference between outputs of batches of 1 and of one padded batch."""
    import numpy as np

    rows = _chosen(subject.features.rows)
    alone = [_outputs(subject, [row])[0] for row in rows]
    longest = max(len(row["input_ids"]) for row in rows)
    limit = min(length_limit(subject.config) or longest + EXTRA, longest + EXTRA)
    together = _outputs(subject, [*rows, _lengthened(rows[-1], limit)])[: len(rows)]
    all_values = np.concatenate([values.ravel() for values in alone])
    if not np.isfinite(all_values).all():
        return problem("some outputs are not finite", "check the weights")
    spread = float(all_values.max() - all_values.min())
    if spread == 0:
        return warning("all outputs are equal, whatever the input", "check the weights")
    worst = max(float(np.abs(single - padded_too).max()) for single, padded_too in zip(alone, together, strict=True))
    shown = f"alone and in a padded batch outputs differ by {worst / spread:.0e} of their spread at most"
    if not worst <= max(LARGEST * spread, ROUNDING * float(np.abs(all_values).max())):
        return problem(shown, "the model looks at its padding: check that it heeds attention_mask")
    return ok(f"{shown} ({len(rows)} inputs, fp32)")


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """Choose a few inputs from the shortest to the longest."""
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    count = min(INPUTS, len(ordered))
    return [ordered[i * (len(ordered) - 1) // max(count - 1, 1)] for i in range(count)]


def _lengthened(row: Row, length: int) -> Row:
    """Repeat the row up to a length."""
    times = -(-length // len(row["input_ids"]))
    return {key: (values * times)[:length] for key, values in row.items()}


def _outputs(subject: ModelOnTask, rows: Sequence[Row]) -> list[Any]:
    """Compute the outputs of one batch, those of padding left out."""
    import torch

    ready = subject.ready
    ready.model.eval()
    with torch.inference_mode():
        inputs = {key: tensor.to(ready.model.device) for key, tensor in padded(rows, ready.pad).items()}
        values = ready.kind.outputs(ready.model(**inputs)).float().cpu().numpy()
    return [
        value[: len(row["input_ids"])] if value.ndim == 2 else value for row, value in zip(rows, values, strict=True)
    ]
