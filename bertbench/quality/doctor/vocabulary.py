"""Do tokenizer and model belong together: tokens and embeddings, padding, lengths, upper and lower case?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertbench.errors import CheckpointError
from bertbench.models.lengths import length_limit, unused_positions, vocabulary_size
from bertbench.quality.doctor.verdict import Verdict, ok, problem, unchecked, warning
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
    """Whether every token has an embedding, and nearly every embedding a token."""
    if not subject.source.tokenizer:
        return unchecked("the model states no tokenizer", "name one ('tokenizer' in the model's YAML)")
    try:
        tokens = len(subject.tokenizer)
    except CheckpointError as error:
        return problem(error.message.removeprefix(f"model {subject.name}: "), error.hint)
    rows = vocabulary_size(subject.config)
    shown = f"{tokens:,} tokens, {rows:,} embeddings"
    if tokens > rows:
        return problem(f"{shown}: {tokens - rows:,} tokens have none", BELONGING)
    padded = rows % 8 == 0 and rows - tokens < PADDED_TO
    if tokens < rows and not padded and subject.source.folder is not None:  # from scratch that costs only size
        return warning(f"{shown}: {rows - tokens:,} are never used", BELONGING)
    return ok(shown)


def padding(subject: ExaminedCheckpoint) -> Verdict:
    """Whether both pad with the same token."""
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
    """Whether the tokenizer lets more through than the model has positions for."""
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
    """Whether upper case is kept where the model knows it, and only there."""
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
    """'cased' or 'uncased' if the checkpoint's name, or that of what it was made from, says so."""
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
    """The share of tokens with one of these letters, special ones left out."""
    special = set(tokenizer.all_special_tokens)
    words = [token for token in tokenizer.get_vocab() if token not in special]
    return sum(re.search(letters, token) is not None for token in words) / max(len(words), 1)


def unknown(subject: ModelOnTask) -> Verdict | None:
    """Which share of the sample's tokens the tokenizer does not know."""
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
