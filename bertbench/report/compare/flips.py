"""Which examples two quality runs disagree on, and who is right. Not aware of how an answer is made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertbench.records.record import RunRecord
from bertbench.records.store import StoredSession
from bertbench.stats.answer_scores import words

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Flips:
    """Ids of examples, 'split/id' where there are several splits. `otherwise`: both wrong, each in its own way.

    Where right and wrong do not exist (a regression), `only_first` and `only_second` hold examples whose prediction came
    closer to the label in that run.
    """

    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    otherwise: tuple[str, ...]
    same: int
    unmatched: int


def flips(before: StoredSession, first: RunRecord, after: StoredSession, second: RunRecord) -> Flips | None:
    """The disagreements of two runs on the examples both saw; None where one has no predictions.

    Raises:
        StoreError: a file is missing, damaged or not the one that was recorded.
    """
    frames = [stored.sidecar(record, "predictions") for stored, record in ((before, first), (after, second))]
    one, two = frames
    return None if one is None or two is None else compared(one, two)


def compared(one: pd.DataFrame, two: pd.DataFrame) -> Flips:
    """The disagreements of two frames of predictions."""
    keys = ["split", "example_id", "occurrence"]
    both = _numbered(one).merge(_numbered(two), on=keys, how="outer", suffixes=("_1", "_2"), indicator=True)
    shared = both[(both["_merge"] == "both") & (both["label_1"] == both["label_2"])]
    several = len(set(shared["split"])) > 1
    found: dict[str, list[str]] = {"first": [], "second": [], "otherwise": []}
    same = 0
    for split, example, a, b, label in zip(
        shared["split"],
        shared["example_id"],
        shared["prediction_1"],
        shared["prediction_2"],
        shared["label_1"],
        strict=True,
    ):
        if a == b:
            same += 1
            continue
        distances = _distance(a, label), _distance(b, label)
        side = "otherwise" if distances[0] == distances[1] else "first" if distances[0] < distances[1] else "second"
        found[side].append(f"{split}/{example}" if several else str(example))
    return Flips(
        tuple(found["first"]), tuple(found["second"]), tuple(found["otherwise"]), same, len(both) - len(shared)
    )


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """With a column that tells rows of one id apart, which older records may hold."""
    named = frame.astype({"example_id": str})
    return named.assign(occurrence=named.groupby(["split", "example_id"]).cumcount())


def _distance(prediction: Any, label: Any) -> float:
    """How far an answer is from the label: 0 is right; of numbers that are no classes the difference."""
    if isinstance(label, str):
        return _of_structures(json.loads(prediction), json.loads(label))
    if float(label).is_integer() and float(prediction).is_integer():
        return float(prediction != label)
    return abs(float(prediction) - float(label))


def _of_structures(prediction: Any, label: Any) -> float:
    """Tag lists: the number of wrong tags. Answers: 0 where it is one of those accepted, as SQuAD compares them."""
    if isinstance(prediction, list) and isinstance(label, list) and len(prediction) == len(label):
        return float(sum(given != wanted for given, wanted in zip(prediction, label, strict=True)))
    if isinstance(label, list):
        golds = [words(gold) for gold in label] or [[]]
        return float(words(str(prediction)) not in golds)
    return float(prediction != label)
