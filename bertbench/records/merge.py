"""Results folders made into one: sessions copied, equal records once, and shards of one grid joined to the session that they are.

A joined session has the records of its shards as they are, run ids included; its own id follows from theirs, so that whoever
joins the same shards again gets the same session. Nothing is overwritten: of what differs the target keeps its own, and the
other is named.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bertbench.errors import StoreError
from bertbench.records.bounds import SAVING, claimed, inside
from bertbench.records.files import sync
from bertbench.records.garbage import Item, remove
from bertbench.records.record import RunRecord, SessionRecord, digest
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession

Said = Callable[[str, int, int], None]
JOINED = "joined"  # key of a joined session's request: the ids of the sessions that it has been joined from
OF_THE_MACHINE = frozenset({"threads", "processes"})  # options in which shards of one grid may differ
OF_A_PART = ("label", "units", "total", "reference", "models", "tasks", "kinds")
MUST_AGREE = {  # parts of a request, by name in it, and how it is said that shards differ in one
    "models": "weights or configuration of model {} differ",
    "tasks": "data or configuration of task {} differ",
    "starts": "what model {} starts from differs",
}
LISTED = 8  # labels of shards in a sentence
MOST_COPIES = 10_000  # of checkpoints with one key


@dataclass
class Merged:
    """What merging has done: counts of records, joined sessions, and lines on what is missing or was left out."""

    copied: int = 0
    known: int = 0
    joined: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)  # sessions of shards that were measured again, and are dropped
    again: int = 0  # records that several shards have, such as those of a teacher
    waiting: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def merge(sources: Sequence[Store], target: Store, said: Said | None = None) -> Merged:
    """Copy the sessions of `sources` into `target`, then join the shards that lie there.

    Args:
        sources: results folders, which are only read.
        target: the one that is written.
        said: takes how many sessions of a folder have been looked at.

    Raises:
        StoreError: the target cannot be written.
    """
    target.check_writable()
    merged = Merged()
    for source in sources:
        copy_sessions(source, target, merged, said)
        _copy_machines(source, target)
    join_shards(target, merged)
    return merged


def copy_sessions(
    source: Store, target: Store, merged: Merged, said: Said | None = None, *, with_paths: bool = False
) -> None:
    """Copy all sessions of a results folder; `with_paths`: where checkpoints lie in the target, records keep their place."""
    in_joined = _joined_before(target)
    stored = list(source.sessions())
    for number, session in enumerate(reversed(stored), 1):
        if session.session.session_id in in_joined:
            merged.known += len(session.records)
        else:
            _copy_session(source, session, target, merged, with_paths=with_paths)
        if said is not None:
            said(f"reading {source.root}", number, len(stored))
    merged.problems += source.warnings
    source.warnings.clear()


def _joined_before(store: Store) -> set[str]:
    """Name the sessions that are part of a joined one."""
    ids: set[str] = set()

    def note(session: SessionRecord) -> bool:
        ids.update(session.request.get(JOINED) or ())
        return False  # what it has measured need not be read

    for _ in store.sessions(note):
        pass
    return ids


# Copying.


def _copy_session(source: Store, stored: StoredSession, target: Store, merged: Merged, *, with_paths: bool) -> None:
    there = target.load(stored.session.session_id)
    if there is not None and not _continues(stored.session, there.session):
        merged.problems.append(f"{stored.folder}: left out, another session has its id in {target.root}")
        return
    had = {record.run_id: record for record in there.records} if there else {}
    for record in stored.records:
        twin = had.get(record.run_id)
        if twin is None:
            _copy_run(source, stored, record, target, merged, with_paths=with_paths)
        elif _same(record, twin):
            merged.known += 1
        else:
            merged.problems.append(
                f"{stored.folder / record.run_id}.json: left out, it differs from that in {target.root}"
            )
    if there is None or (stored.session.complete and not there.session.complete):
        target.write_session(stored.session)  # the last one: without it records are not read


def _continues(session: SessionRecord, there: SessionRecord) -> bool:
    """Tell whether both are of one session, perhaps at different times of it."""
    return _as_begun(session) == _as_begun(there)


def _as_begun(session: SessionRecord) -> SessionRecord:
    return replace(session, complete=False, ended_at=None, decisions={})


def _same(record: RunRecord, twin: RunRecord) -> bool:
    """Tell whether two records differ in nothing but the folder that their checkpoint lies in."""
    return replace(record, finetuned_checkpoint=None) == replace(twin, finetuned_checkpoint=None)


def _copy_run(
    source: Store, stored: StoredSession, record: RunRecord, target: Store, merged: Merged, *, with_paths: bool
) -> None:
    for name in record.sidecars:
        try:
            stored.sidecar(record, name)
        except StoreError as error:
            merged.problems.append(f"{stored.folder / record.run_id}.json: left out: {error.message}")
            return
    try:
        kept = _copy_checkpoint(source, record, target)
    except (OSError, StoreError) as error:
        merged.problems.append(f"{stored.folder / record.run_id}.json: its checkpoint is left out ({error})")
        kept = None
    if kept is None and with_paths and target.checkpoint(record) is not None:
        kept = record.finetuned_checkpoint
    target.copy_run(stored, record, record.session_id, finetuned_checkpoint=kept)
    merged.copied += 1


def _copy_checkpoint(source: Store, record: RunRecord, target: Store) -> str | None:
    """Copy the checkpoint of a run, numbered where another has its name, and return its path in the target.

    Raises:
        OSError, StoreError: it cannot be copied, or has links in it.
    """
    folder = source.checkpoint(record)
    if folder is None:
        return None
    if any(path.is_symlink() for path in folder.rglob("*")):
        raise StoreError(f"{folder}: has links in it", "copy it without")
    target.checkpoints_folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_COPIES):
        name = folder.name if number == 1 else f"{folder.name}-{number}"
        copy = inside(target.root, target.checkpoints_folder / name)
        if copy.exists():
            if not _equal_folders(folder, copy):
                continue
        else:
            with claimed(target.checkpoints_folder, SAVING) as scratch:
                shutil.copytree(folder, scratch / "model")
                sync(scratch / "model")
                (scratch / "model").rename(copy)
            target.keep_checkpoint(copy)
        return copy.relative_to(target.root).as_posix()
    raise StoreError(
        f"{target.checkpoints_folder}: holds too many checkpoints of one run", "`bertbench gc` removes them"
    )


def _equal_folders(left: Path, right: Path) -> bool:
    """Tell whether two folders hold the same files, byte by byte."""
    names = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in (left, right)
    ]
    return names[0] == names[1] and all(filecmp.cmp(left / name, right / name, shallow=False) for name in names[0])


def _copy_machines(source: Store, target: Store) -> None:
    """Copy what is known of machines that the target does not know."""
    folder = inside(source.root, source.root / "machines")
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        copy = inside(target.root, target.root / "machines" / path.name)
        if path.is_file() and not path.is_symlink() and not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)


# Joining.


def join_shards(store: Store, merged: Merged, only: Collection[str] | None = None, first: Collection[str] = ()) -> None:
    """Join the shards in a results folder that make a whole grid, each grid to one session in the place of its shards.

    `only` names grids as `grid_of` does; None: all. Of shards of the same cells those whose ids are among `first` count, then the
    newest: clocks of several machines do not tell which was measured last.
    """
    grids: dict[str, list[StoredSession]] = {}
    for stored in store.sessions(lambda session: session.complete and part_of(session) is not None):
        grids.setdefault(grid_of(stored.session), []).append(stored)  # the newest first
    for shards in (shards for grid, shards in grids.items() if only is None or grid in only):
        shards.sort(key=lambda stored: stored.session.session_id not in first)
        chosen, missing = _covering(shards)
        part = chosen[0].session.request["part"]
        labels = ", ".join(sorted(stored.session.request["part"]["label"] for stored in chosen))
        if missing:
            are_missing = f"{missing:,} of {part['total']:,} cells {'is' if missing == 1 else 'are'} missing"
            merged.waiting.append(f"{', '.join(part['models'])}: shards {labels} are here, {are_missing}")
            continue
        differing = _difference(chosen)
        if differing:
            merged.problems.append(f"shards {labels} are not joined: {differing}")
            continue
        merged.joined.append(_join(store, chosen, merged))
        merged.outdated += [stored.session.session_id for stored in shards if stored not in chosen]
        folders = [stored.folder for stored in shards]
        merged.problems += remove([Item(folder, 0, "joined") for folder in folders], store)[1]


def part_of(session: SessionRecord) -> dict[str, Any] | None:
    """Return which part of a grid a session is; None if it is a whole one, or does not say it as bertbench does."""
    part = session.request.get("part")
    if not isinstance(part, dict) or any(part.get(key) is None for key in OF_A_PART):
        return None
    return part if part["units"] and 0 <= min(part["units"]) <= max(part["units"]) < part["total"] else None


def grid_of(session: SessionRecord) -> str:
    """Identify the grid that a session is a part of: by all that was asked, but for which part, and on which machine."""
    request = session.request
    part = {name: value for name, value in request["part"].items() if name not in {"label", "units"}}
    options = {name: value for name, value in request.get("options", {}).items() if name not in OF_THE_MACHINE}
    return digest(
        [
            session.command,
            session.suite,
            part,
            options,
            *(request.get(name) for name in ("suite", "timing", "versions")),
        ]
    )


def _covering(shards: Sequence[StoredSession]) -> tuple[list[StoredSession], int]:
    """Choose the first sessions that together have as many units as can be, in the grid's order, and count what is missing."""
    chosen: list[StoredSession] = []
    covered: set[int] = set()
    for stored in shards:
        units = set(stored.session.request["part"]["units"])
        if not units <= covered:
            chosen.append(stored)
            covered |= units
    return sorted(chosen, key=_first_unit), shards[0].session.request["part"]["total"] - len(covered)


def _first_unit(stored: StoredSession) -> int:
    return min(stored.session.request["part"]["units"], default=0)


def _difference(shards: Sequence[StoredSession]) -> str | None:
    """Say in what shards differ that must not; None if they fit together."""
    known: dict[tuple[str, str], Any] = {}
    for session in (stored.session for stored in shards):
        asked = {name: session.request.get(name) or {} for name in ("models", "tasks")}
        asked["starts"] = trained_from(session.request, session.models)
        for part, values in asked.items():
            for name, value in values.items():
                if known.setdefault((part, name), value) != value:
                    return f"{MUST_AGREE[part].format(name)} between them; measure anew with --fresh"
    decided: dict[tuple[str, str], Any] = {}
    for stored in shards:
        for about, decision in _decisions(stored.session):
            if decided.setdefault(about, decision) != decision:
                return f"{' of '.join(filter(None, about))} was decided differently; measure anew with --fresh"
    return None


def trained_from(request: Mapping[str, Any], models: Iterable[str]) -> dict[str, Any]:
    """Return what those models that a request trains start from, other than themselves; what is merely timed trains nothing."""
    starts = (request.get("starts") or {}) if "quality" in request.get("kinds", ()) else {}
    return {model: starts[model] for model in models if model in starts}


def _decisions(session: SessionRecord) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what a session has decided: each decision, but cuts of training task by task."""
    for name, value in session.decisions.items():
        if name == "cuts":
            yield from (((name, task), cut) for task, cut in value.items())
        else:
            yield (name, ""), value


def _join(store: Store, shards: Sequence[StoredSession], merged: Merged) -> str:
    """Write the session that shards make together, and return its id."""
    sessions = [stored.session for stored in shards]
    ids = [session.session_id for session in sessions]
    first = min(sessions, key=lambda session: session.started_at)
    began = datetime.fromisoformat(first.started_at).astimezone(UTC)
    joined_id = f"{began:%Y%m%dT%H%M%S}-{digest(sorted(ids))[:6]}"
    cells: set[tuple[Any, ...]] = set()
    for stored in shards:
        for record in stored.records:
            if _cell(record) in cells:
                merged.again += 1
                continue
            cells.add(_cell(record))
            store.copy_run(stored, record, joined_id)
    # Timing ratios are of the machine that did the first unit, where it is size, speed and memory.
    host, part = sessions[0], sessions[0].request["part"]
    request = {name: value for name, value in host.request.items() if name != "part"}
    request |= {
        name: _united((session.request.get(name) or {} for session in sessions), part.get(name, ()))
        for name in ("models", "tasks", "teaching")
    }
    if "starts" in request:  # each model's as the shards have it that trained it
        trained = (trained_from(session.request, session.models) for session in sessions)
        request["starts"] = _united([request["starts"] or {}, *trained], part["models"])
    labels = ", ".join(session.request["part"]["label"] for session in sessions[:LISTED])
    labels += f" and {len(sessions) - LISTED} more" if len(sessions) > LISTED else ""
    store.write_session(
        replace(
            host,
            session_id=joined_id,
            argv=_without_shard(host.argv),
            models=tuple(part["models"]),
            tasks=tuple(part["tasks"]),
            reference=part["reference"],
            request=request | {"kinds": part["kinds"], "reference": part["reference"], JOINED: sorted(ids)},
            started_at=first.started_at,
            ended_at=max((session.ended_at for session in sessions if session.ended_at), default=None),
            decisions=_united((session.decisions for session in sessions), ())
            | {"cuts": _united((session.decisions.get("cuts", {}) for session in sessions), part["tasks"])},
            notes=(f"joined from shards {labels}, which may be of several machines",),
        )
    )
    return joined_id


def _cell(record: RunRecord) -> tuple[Any, ...]:
    of_speed = (record.settings.get("backend"), record.settings.get("dtype")) if record.kind == "speed" else ()
    return record.kind, record.model_name, record.task_name, record.seeds, *of_speed


def _united(parts: Iterable[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for part in parts:
        together |= part
    return {name: together[name] for name in [*order, *together] if name in together}


def _without_shard(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command line without its --shard."""
    words = [word for word in argv if not word.startswith("--shard=")]
    while "--shard" in words:
        start = words.index("--shard")
        del words[start : start + 2]
    return tuple(words)
