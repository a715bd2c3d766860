"""Sequence classification and regression: one label for a text or a pair of texts (GLUE and its like)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertbench.data import Examples


class SequenceClassification:
    """How examples become inputs, and outputs become predictions."""

    name = "sequence-classification"

    def encode(
        self, tokenizer: Any, examples: Examples, max_length: int, *, token_types: bool
    ) -> list[dict[str, list[int]]]:
        """Token ids of each example, truncated to `max_length`, not padded; token types where the model uses them."""
        columns = list(zip(*examples.inputs, strict=True))
        encoded = tokenizer(
            *(list(column) for column in columns),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_token_type_ids=token_types,
        )
        keys = [key for key in ("input_ids", "token_type_ids", "attention_mask") if key in encoded]
        return [{key: encoded[key][i] for key in keys} for i in range(len(examples))]

    def decode(self, logits: NDArray[np.float32], order: Sequence[int] | None) -> NDArray[np.float64]:
        """Predictions (float, shape (n,)) from logits of shape (n, outputs).

        `order[i]` is the class index that output i stands for; None means regression: the output itself.
        """
        import numpy as np

        if order is None:
            return np.asarray(logits[:, 0], dtype=float)
        classes: NDArray[np.float64] = np.asarray(order, dtype=float)
        winners: NDArray[np.intp] = logits.argmax(axis=1)
        return np.asarray(classes[winners], dtype=np.float64)


PLUGIN = SequenceClassification()
