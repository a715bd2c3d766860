"""How much of the texts the maximal length leaves, and how long they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.quality import features
from bertbench.quality.doctor._verdict import Verdict, ok, warning
from bertbench.specs.tasks import SEQUENCES
from bertbench.units import percent

if TYPE_CHECKING:
    from bertbench.quality.doctor._subjects import Pair

EXAMPLES = 2000
WHOLE = 10**6  # tokens: nothing is cut
MANY_CUT = 0.1
SHARES = (50, 95, 99)


def truncated(subject: Pair) -> Verdict:
    """The share of inputs that lose something or are taken in windows, and the lengths that half, 95 % and 99 % stay within."""
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
