"""Which output of a classifier stands for which label: the config's mapping first, then names.

Published checkpoints often say only LABEL_0, LABEL_1, and some are permuted; a wrong order costs all accuracy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bertbench.errors import CheckpointError
from bertbench.specs.names import differ_in_detail_only, match

PLACEHOLDER = re.compile(r"^LABEL_(\d+)$", re.IGNORECASE)


def output_order(
    name: str, id2label: Mapping[int, str], labels: Sequence[str], mapping: Sequence[str] | None
) -> tuple[tuple[str, ...], str | None]:
    """The label that each output stands for, and a warning if that is a guess.

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
                f"model {name}: 'labels' {list(mapping)} are not the task's {list(labels)}", "correct the model's YAML"
            )
        return tuple(mapping), None
    if len(outputs) != len(labels):
        raise CheckpointError(
            f"model {name}: has {len(outputs)} outputs but the task {len(labels)} labels",
            "choose a checkpoint fine-tuned on this task, or --finetune",
        )
    if sorted(outputs) != sorted(labels) and all(PLACEHOLDER.match(output) for output in outputs):
        return tuple(labels), f"its outputs are called {outputs[0]}…: taken in the task's order ({', '.join(labels)})"
    order = match(outputs, labels)
    if order is None:
        strict = (
            "; names that case or separators alone tell apart must be the same" if differ_in_detail_only(labels) else ""
        )
        raise CheckpointError(
            f"model {name}: its labels {outputs} conflict with the task's {list(labels)}{strict}",
            "state the order under 'finetuned: <task>: labels' in a model's YAML, or --finetune",
        )
    return order, None
