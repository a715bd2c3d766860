"""Why two results differ: what was asked, with what, on what, and for quality which examples flipped.

Works on records alone; what no record holds (the hour, the neighbours on the machine) cannot be seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bertbench.records.record import Measurement, RunRecord
from bertbench.records.stored import StoredSession
from bertbench.report.row import Report, Table
from bertbench.stats.answer_scores import words
from bertbench.units import quantity_of

if TYPE_CHECKING:
    import pandas as pd

# Which examples two quality runs disagree on, and who is right.


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
    """Compare two runs on the examples that both saw; None where a run has no predictions.

    Raises:
        StoreError: a file is missing, damaged or not the one that was recorded.
    """
    frames = [stored.sidecar(record, "predictions") for stored, record in ((before, first), (after, second))]
    first_frame, second_frame = frames
    return None if first_frame is None or second_frame is None else compared(first_frame, second_frame)


def compared(first: pd.DataFrame, second: pd.DataFrame) -> Flips:
    """Compare two frames of predictions example by example."""
    keys = ["split", "example_id", "occurrence"]
    both = _numbered(first).merge(_numbered(second), on=keys, how="outer", suffixes=("_1", "_2"), indicator=True)
    # An example whose label has changed counts as unmatched: being right means another thing there.
    shared = both[(both["_merge"] == "both") & (both["label_1"] == both["label_2"])]
    several = len(set(shared["split"])) > 1
    examples: dict[str, list[str]] = {"first": [], "second": [], "otherwise": []}
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
        examples[side].append(f"{split}/{example}" if several else str(example))
    return Flips(
        tuple(examples["first"]), tuple(examples["second"]), tuple(examples["otherwise"]), same, len(both) - len(shared)
    )


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column that tells rows of one id apart, which older records may hold."""
    named = frame.astype({"example_id": str})  # ids of two files may be of two types, which no merge matches
    return named.assign(occurrence=named.groupby(["split", "example_id"]).cumcount())


def _distance(prediction: Any, label: Any) -> float:
    """Measure how far an answer is from the label: 0 is right; for numbers that are no classes, the difference."""
    if isinstance(label, str):
        return _of_structures(json.loads(prediction), json.loads(label))
    if float(label).is_integer() and float(prediction).is_integer():  # class ids, whose distance means nothing
        return float(prediction != label)
    return abs(float(prediction) - float(label))


def _of_structures(prediction: Any, label: Any) -> float:
    """Count wrong tags; an answer has distance 0 where it is one of those accepted, as SQuAD compares them."""
    if isinstance(prediction, list) and isinstance(label, list) and len(prediction) == len(label):
        return float(sum(tag != wanted for tag, wanted in zip(prediction, label, strict=True)))
    if isinstance(label, list):
        golds = [words(gold) for gold in label] or [[]]  # no accepted answer means that the right one is empty
        return float(words(str(prediction)) not in golds)
    return float(prediction != label)


NOTHING = "nothing that is recorded differs; what remains is chance: seeds' and machines' noise between sessions"
MISSING = object()


@dataclass(frozen=True)
class Pair:
    """Two runs of the same: kind, model, task, seed and way of running."""

    name: str
    before: RunRecord
    after: RunRecord


Facts = dict[tuple[str, str], Any]


def pairs_of(before: StoredSession, after: StoredSession) -> tuple[list[Pair], list[str]]:
    """Pair the runs of two sessions that belong together, and name those that only one session has."""
    first, second = ({name_of(record): record for record in stored.records} for stored in (before, after))
    both = [Pair(name, first[name], second[name]) for name in first if name in second]
    only = [f"only in the first: {name}" for name in first if name not in second]
    return both, [*only, *(f"only in the second: {name}" for name in second if name not in first)]


def name_of(record: RunRecord) -> str:
    """Name a run: 'quality bert sst2 seed 1', 'speed bert eager fp32'."""
    way = [record.settings.get("backend"), record.settings.get("dtype")] if record.kind == "speed" else []
    seed = None if record.seed_label is None else f"seed {record.seed_label}"
    return " ".join(
        str(part) for part in (record.kind, record.model_name, record.task_name, seed, *way) if part is not None
    )


def facts_of(stored: StoredSession, record: RunRecord) -> Facts:
    """Collect all that a record says of how it came about, by group and name."""
    session, environment = stored.session, record.environment
    versions = {
        "bertbench": session.bertbench_version or None,
        **{f"measure version of {kind}": number for kind, number in session.request.get("versions", {}).items() if kind == record.kind},
        **(environment.packages if environment else {}),
        "python": environment.python if environment else None,
        "commit": environment.commit if environment else None,
        "uncommitted changes": environment.dirty if environment else None,
    }  # fmt: skip
    machine = asdict(environment) if environment else {}
    # These stand under 'versions'.
    machine = {name: machine[name] for name in machine if name not in {"packages", "python", "commit", "dirty"}}
    weights = {name: getattr(record, name) for name in ("checkpoint", "revision", "weights", "weights_digest")}
    groups: dict[str, Mapping[str, Any]] = {
        "status": {"status": record.status, "error": record.error.message if record.error else None},
        "settings": {
            **record.settings,
            "seed": record.seed_label,
            "training capped": record.capped,
            "suite": record.suite,
        },
        # What was published shapes no figure.
        "model": {name: value for name, value in record.model.items() if name != "published"},
        "weights": weights,
        "task": record.task or {},
        "data": {"fingerprint": record.data_fingerprint},
        "environment": machine,
        "versions": versions,
    }
    return {(group, name): value for group, facts in groups.items() for name, value in _flat(facts)}


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def differing(before: Facts, after: Facts) -> Iterator[tuple[str, str, str, str]]:
    """Yield group, name and both values of facts that are not the same; absent is empty."""
    for fact in dict.fromkeys((*before, *after)):
        first, second = before.get(fact, MISSING), after.get(fact, MISSING)
        if first != second:
            yield (*fact, _text(first), _text(second))


def _text(value: Any) -> str:
    if value is MISSING:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def build(
    before: StoredSession, after: StoredSession, pairs: list[Pair], unmatched: list[str], *, title: str, ids: int
) -> Report:
    """Report what differs, the figures side by side, and each pair's flipped examples, `ids` of each kind.

    Raises:
        StoreError: predictions are missing or damaged.
    """
    runs_of_difference: dict[tuple[str, str, str, str], list[str]] = {}
    for pair in pairs:
        for difference in differing(facts_of(before, pair.before), facts_of(after, pair.after)):
            runs_of_difference.setdefault(difference, []).append(pair.name)
    rows = tuple(
        (*what, "all" if len(runs) == len(pairs) else ", ".join(runs)) for what, runs in runs_of_difference.items()
    )
    tables = []
    if rows:
        columns = ("Of", "What", "First", "Second", "Runs")
        tables.append(Table("What differs", columns, rows, kinds=("text",) * 5))
    tables.append(_figures(pairs))
    flipped = [(pair, flips(before, pair.before, after, pair.after)) for pair in pairs if pair.before.kind == "quality"]
    tables += [_flips_table(pair, disagreements, ids) for pair, disagreements in flipped if disagreements is not None]
    notes = [*([] if rows else [NOTHING]), *unmatched]
    return Report(title, tuple(tables), notes=tuple(notes))


def _figures(pairs: list[Pair]) -> Table:
    rows = []
    for pair in pairs:
        second = {_figure_key(measurement): measurement for measurement in pair.after.measurements}
        for measurement in pair.before.measurements:
            other = second.get(_figure_key(measurement))
            # Figures of parts ('/' in the statistic) are many: only those that differ are shown.
            if other is None or ("/" in measurement.statistic and measurement.values == other.values):
                continue
            a, b = _middle(measurement), _middle(other)
            write = quantity_of(measurement.quantity).format
            ratio = f"{b / a:.3f}x" if a else ""
            rows.append((pair.name, _where(measurement), write(a), write(b), ratio))
    kinds = ("text", "text", "number", "number", "number")
    note = "times of two sessions also differ by what else the machine did; only ratios within one session can be relied on"
    timed = any(measurement.unit == "s" for pair in pairs for measurement in pair.before.measurements)
    return Table("Figures", ("Run", "Quantity", "First", "Second", "Ratio"), tuple(rows), (note,) * timed, kinds)


def _middle(measurement: Measurement) -> float:
    return median(measurement.values)


def _figure_key(measurement: Measurement) -> tuple[Any, ...]:
    return (
        measurement.quantity,
        measurement.statistic,
        measurement.split,
        measurement.scenario,
        measurement.batch_size,
        measurement.sequence_length,
    )


def _where(measurement: Measurement) -> str:
    shape = f"{measurement.batch_size}x{measurement.sequence_length or 'natural'}" if measurement.batch_size else None
    statistic = None if measurement.statistic == "value" else measurement.statistic
    return ", ".join(filter(None, (quantity_of(measurement.quantity).title, statistic, measurement.split, shape)))


def _flips_table(pair: Pair, flips: Flips, most: int) -> Table:
    kinds = {
        "only the first is right": flips.only_first,
        "only the second is right": flips.only_second,
        "both wrong, differently": flips.otherwise,
    }
    rows = tuple((what, str(len(ids)), ", ".join(ids[:most])) for what, ids in kinds.items())
    notes = [f"{flips.same:,} of {flips.same + sum(map(len, kinds.values())):,} examples have the same prediction"]
    if flips.unmatched:
        notes.append(f"{flips.unmatched:,} examples are in one of the runs only, or have another label there")
    if any(len(ids) > most for ids in kinds.values()):
        notes.append(f"the first {most} ids of each kind are listed; --examples N lists more")
    return Table(
        f"Flipped examples: {pair.name}", ("What", "Examples", "Ids"), rows, tuple(notes), ("text", "number", "text")
    )
