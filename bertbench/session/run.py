"""What the steps of one command share, and the one place where records are made. Not aware of how things are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bertbench.errors import BertBenchError, StoreError
from bertbench.models.sources import Encoder, Say
from bertbench.quality.apart import unexpected
from bertbench.records.files import now
from bertbench.records.progress import Progress
from bertbench.records.record import Environment, Failure, Kind, RunRecord, SessionRecord, Status, digest
from bertbench.records.store import Store
from bertbench.session.request import Request
from bertbench.speed.rounds import failure_of

T = TypeVar("T")


@dataclass
class Session:
    """What the steps of one command share. `deadline` is time.monotonic() at which --max-minutes is used up.

    `teachers` holds quality_keys of runs whose checkpoints others learn from.
    """

    request: Request
    store: Store
    say: Say
    progress: Progress
    environment: Environment
    record: SessionRecord
    deadline: float | None
    teachers: frozenset[str] = frozenset()
    written: list[RunRecord] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The session's id."""
        return self.record.session_id

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that every record of the session carries."""
        options = self.request.options
        return {
            "device": options.device,
            "dtype": options.dtype,
            "threads": options.threads,
            "backend": "eager",
            "attention": options.attention,
        }

    def write(self, kind: Kind, encoder: Encoder, status: Status, **fields: Any) -> RunRecord:
        """Store a record of one run; `variant` tells runs of one model apart that differ in how it is executed."""
        source = encoder.source
        settings = self.settings | fields.pop("settings", {})
        parts = (fields.get("task_name"), fields.get("seed"), fields.pop("variant", None))
        middle = "-".join(str(part) for part in parts if part is not None)
        run_id = "-".join(filter(None, (self.id, kind, slug(encoder.spec.name), middle)))
        values = {
            "checkpoint": source.checkpoint,
            "revision": source.revision,
            "weights": source.weights,
            "weights_digest": source.digest,
        } | fields
        record = RunRecord(
            run_id=run_id,
            session_id=self.id,
            kind=kind,
            suite=self.request.suite.name,
            model_name=encoder.spec.name,
            model=encoder.spec.model_dump(mode="json"),
            status=status,
            started_at=now(),
            settings=settings,
            environment=self.environment,
            **values,
        )
        self.store.write_record(record)
        self.written.append(record)
        return record


def guarded(action: Callable[[], T]) -> tuple[T | None, Failure | None, float]:
    """The action's result or its failure, and the seconds it took. Only Ctrl-C and a store that fails go through."""
    started = time.perf_counter()
    try:
        return action(), None, time.perf_counter() - started
    except StoreError:
        raise
    except BertBenchError as error:
        failure = failure_of(error)
    except Exception as error:  # noqa: BLE001 (a failed run is a record; the others go on)
        failure = unexpected(error)
    return None, failure, time.perf_counter() - started


def slug(name: str) -> str:
    """`name` as part of a file name."""
    plain = "".join(char if char.isalnum() or char in "._-" else "-" for char in name).strip("-.")[:50]
    return plain if plain == name else f"{plain}-{digest(name)[:6]}"
