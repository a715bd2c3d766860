"""All checks, in the order in which they are shown. Adding one is a function beside the others and a line here."""

from __future__ import annotations

from bertbench.quality.doctor import baselines, batches, content, labels, token_types, truncation, vocabulary, weights
from bertbench.quality.doctor._subjects import Checkpoint, Pair, TaskData
from bertbench.quality.doctor._verdict import Check

OF_DATA: tuple[Check[TaskData], ...] = (
    Check("taken as it stands", content.changed),
    Check("score without a model", baselines.without_a_model),
    Check("train/validation overlap", content.overlap),
    Check("labels", content.labels),
    Check("empty texts", content.empty),
    Check("contradicting duplicates", content.conflicts),
)

OF_CHECKPOINT: tuple[Check[Checkpoint], ...] = (
    Check("weights loaded", weights.loading),
    Check("weights trained", weights.values),
    Check("tokenizer size", vocabulary.sizes),
    Check("padding token", vocabulary.padding),
    Check("maximal length", vocabulary.lengths),
    Check("upper and lower case", vocabulary.casing),
)

LABEL_ORDER = Check("label order", labels.label_order)

OF_PAIR: tuple[Check[Pair], ...] = (
    LABEL_ORDER,
    Check("head trained", weights.head),
    Check("unknown tokens", vocabulary.unknown),
    Check("token types", token_types.pairs),
    Check("batch invariance", batches.invariance),
    Check("truncation", truncation.truncated),
    Check("score beside baselines", baselines.beaten),
)
