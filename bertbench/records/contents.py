"""What types alone do not say of a record that was read: names are plain and its file's own, settings are what readers take them for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from bertbench.records.bounds import is_plain
from bertbench.records.record import RunRecord, SessionRecord
from bertbench.units import QUANTITIES

CHECKPOINTS = "checkpoints"
SIDECARS = frozenset({"timings", "predictions"})


def _fields() -> dict[str, dict[str, Any]]:
    """What readers of records look up in their free parts. None is absent; what is not named here is shown and not used."""
    from pydantic import Field

    some, count = Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]
    amount = Annotated[float, Field(ge=0)]
    reason = Annotated[list[str], Field(min_length=2, max_length=2)]  # kind and message of a failure
    names = list[str]
    return {
        "settings": {
            **dict.fromkeys(
                ("device", "dtype", "backend", "attention", "mode", "training_dtype", "reference"), str | None
            ),
            **dict.fromkeys(("threads", "max_length", "rounds"), some | None),
            **dict.fromkeys(("eval_samples", "train_samples", "train_available"), count | None),
            "natural_task": str | None,
            "epochs": amount | None,
            "shapes": names | None,
            "failed_shapes": dict[str, reason] | None,
        },
        "model": {
            **dict.fromkeys(("name", "title", "architecture", "compression"), str),
            **dict.fromkeys(("checkpoint", "revision"), str | None),
            "published": list[dict[str, Any]],
            "finetuned": dict[str, Any],
        },
        "training": {"epochs": amount, "train_samples": count | None},
        "task": {"name": str, "kind": str, "metrics": names, "primary_metrics": names, "labels": names | None},
        "options": {"recipes": str | None, "threads": some | None},
        "decisions": {
            "cuts": dict[str, Annotated[list[amount], Field(min_length=2, max_length=2)] | None],
            "training_dtype": Literal["fp32", "bf16"],
        },
    }


@lru_cache(maxsize=1)
def _shapes() -> dict[str, Any]:
    """Validators of the free parts of a run's and a session's record, made when they are first needed."""
    from pydantic import ConfigDict, create_model

    fields = _fields()

    def shape(name: str, /, **more: Any) -> Any:
        lenient = ConfigDict(strict=True, extra="allow")
        optional: dict[str, Any] = {key: (kind, None) for key, kind in (fields.get(name, {}) | more).items()}
        return create_model(name, __config__=lenient, **optional)

    task = shape("task", training=shape("training"))
    request = shape("request", options=shape("options"), timing=dict[str, Any], versions=dict[str, int])
    return {
        "run": shape("run", settings=shape("settings"), model=shape("model"), task=task | None),
        "session": shape("session", request=request, decisions=shape("decisions")),
    }


def check_values(record: RunRecord | SessionRecord) -> None:
    """Refuse what the free parts of a record cannot hold, and figures in another unit than theirs.

    Raises:
        ValueError: they are of another type; the message says which.
    """
    if isinstance(record, SessionRecord):
        _shapes()["session"].model_validate({"request": record.request, "decisions": record.decisions})
        return
    _shapes()["run"].model_validate({"settings": record.settings, "model": record.model, "task": record.task})
    for one in record.measurements:
        known = QUANTITIES.get(one.quantity)
        if known is not None and one.unit != known.unit:
            raise ValueError(f"measurement of {one.quantity} is in {one.unit!r:.60}, not in {known.unit}")


def check_names(record: RunRecord | SessionRecord, path: Path) -> None:
    """Refuse names that are not those of the file and its folder, or that lead elsewhere.

    Raises:
        ValueError: a name is another, or no plain one.
    """
    if record.session_id != path.parent.name or not is_plain(record.session_id):
        raise ValueError(f"session_id is {record.session_id!r:.60}, not its folder's name")
    if isinstance(record, SessionRecord):
        return
    if record.run_id != path.stem or not is_plain(record.run_id):
        raise ValueError(f"run_id is {record.run_id!r:.60}, not its file's name")
    for name, entry in record.sidecars.items():
        if name not in SIDECARS or not (is_plain(entry.name) and entry.name.endswith(".parquet")):
            raise ValueError(f"sidecar {name!r:.60} is {entry.name!r:.60}, no file beside it")
    kept = record.finetuned_checkpoint
    if kept is not None:
        folder, _, name = kept.partition("/")
        if folder != CHECKPOINTS or not is_plain(name):
            raise ValueError(f"finetuned_checkpoint is {kept!r:.60}, no folder in {CHECKPOINTS}/")
