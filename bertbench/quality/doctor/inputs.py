"""What a model is given: are the two texts of a pair told apart, are texts cut, does padding change an answer?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertbench.models.lengths import length_limit
from bertbench.models.loading import uses_token_types
from bertbench.quality import features
from bertbench.quality.doctor.verdict import Verdict, ok, problem, warning
from bertbench.quality.features import padded
from bertbench.specs.tasks import SEQUENCES
from bertbench.units import percent

if TYPE_CHECKING:
    from bertbench.quality.doctor.subjects import ModelOnTask


def pairs(subject: ModelOnTask) -> Verdict | None:
    """Whether a model that uses token types gets them, by bertbench and by default."""
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


# Does an example get the same answer alone as in a padded batch? Not if a model looks at its padding.

Row = dict[str, list[int]]

INPUTS = 8
EXTRA = 16  # tokens by which even the longest is padded
LARGEST = 1e-4  # of the outputs' spread; rounding in fp32 is a hundredth of it
ROUNDING = 1e-5  # of the outputs' size: where all are nearly equal, their spread is no measure


def invariance(subject: ModelOnTask) -> Verdict:
    """The largest difference between outputs of batches of 1 and of one padded batch."""
    import numpy as np

    rows = _chosen(subject.features.rows)
    alone = [_outputs(subject, [row])[0] for row in rows]
    longest = max(len(row["input_ids"]) for row in rows)
    limit = min(length_limit(subject.config) or longest + EXTRA, longest + EXTRA)
    together = _outputs(subject, [*rows, _lengthened(rows[-1], limit)])[: len(rows)]
    everything = np.concatenate([values.ravel() for values in alone])
    if not np.isfinite(everything).all():
        return problem("some outputs are not finite", "check the weights")
    spread = float(everything.max() - everything.min())
    if spread == 0:
        return warning("all outputs are equal, whatever the input", "check the weights")
    worst = max(float(np.abs(single - padded_too).max()) for single, padded_too in zip(alone, together, strict=True))
    shown = f"alone and in a padded batch outputs differ by {worst / spread:.0e} of their spread at most"
    if not worst <= max(LARGEST * spread, ROUNDING * float(np.abs(everything).max())):
        return problem(shown, "the model looks at its padding: check that it heeds attention_mask")
    return ok(f"{shown} ({len(rows)} inputs, fp32)")


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """A few inputs from the shortest to the longest."""
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    count = min(INPUTS, len(ordered))
    return [ordered[i * (len(ordered) - 1) // max(count - 1, 1)] for i in range(count)]


def _lengthened(row: Row, length: int) -> Row:
    """The row repeated up to a length."""
    times = -(-length // len(row["input_ids"]))
    return {key: (values * times)[:length] for key, values in row.items()}


def _outputs(subject: ModelOnTask, rows: Sequence[Row]) -> list[Any]:
    """Outputs of one batch, those of padding left out."""
    import torch

    ready = subject.ready
    ready.model.eval()
    with torch.inference_mode():
        inputs = {key: tensor.to(ready.model.device) for key, tensor in padded(rows, ready.pad).items()}
        values = ready.kind.outputs(ready.model(**inputs)).float().cpu().numpy()
    return [
        value[: len(row["input_ids"])] if value.ndim == 2 else value for row, value in zip(rows, values, strict=True)
    ]
