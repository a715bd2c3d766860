"""What is stored, as reports show it: which of it is wanted, the rows of a session, and the report on it with what was published."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bertbench.errors import UnknownNameError, UsageError
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    from bertbench.commands._options import RowOptions
    from bertbench.records.store import Store
    from bertbench.records.stored import StoredSession
    from bertbench.records.table import RowChoice
    from bertbench.report.row import Report, Row
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec


@contextmanager
def many_objects() -> Iterator[None]:
    """Make a hundred thousand small objects that all stay: Python's search for garbage among them takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def choice_of(store: Store, options: RowOptions) -> RowChoice:
    """Find out which rows are meant.

    Raises:
        UsageError: `--since` is no moment.
        UnknownNameError: nothing stored is called so.
    """
    from bertbench.records.table import RowChoice, moment_of  # pandas

    try:
        since = None if options.since is None else moment_of(options.since)
    except ValueError:
        raise UsageError(f"--since {options.since}: is no day and no moment", "write it like 2026-11-24") from None
    suites = None
    if options.suite is not None:
        suites = _known("suite", options.suite, store.suites())
    choice = RowChoice(suites, since)
    texts = {name: getattr(options, name) for name in ("model", "task", "kind", "quantity")}
    texts = {name: text for name, text in texts.items() if text is not None}
    known: dict[str, set[str]] = {name: set() for name in texts}
    for table in store.tables(choice.takes) if texts else ():
        for name, names in known.items():
            names.update(filter(None, table[name].unique().to_pylist()))
    if not any(known.values()):  # nothing is stored, which is to be said first
        return choice
    return RowChoice(suites, since, {name: _known(name, text, known[name]) for name, text in texts.items()})


def _known(option: str, text: str, known: set[str]) -> list[str]:
    """Return the names that a text lists.

    Raises:
        UnknownNameError: nothing stored is called so.
    """
    names = split(f"--{option}", text, known.__contains__, known.__contains__)
    for name in names:
        if known and name not in known:
            raise UnknownNameError(f"stored {option}", name, sorted(known))
    return names


def rows_of(stored: StoredSession, catalog: Catalog) -> list[Row]:
    """Build the rows of all models of a session."""
    from bertbench.report.compare.rows import all_rows, evidence_of  # scipy

    models = models_of(stored)
    return all_rows(evidence_of(stored, _specs(models, catalog), models, reference_of(stored, models)))


def report_of(stored: StoredSession, catalog: Catalog) -> Report:
    """Build the report on all models of a session."""
    from bertbench.report.compare.build import build
    from bertbench.report.compare.notes import mark_stale
    from bertbench.specs.claim_checks import usable

    models = models_of(stored)
    report = build(stored, _specs(models, catalog), models, reference_of(stored, models), claims=usable(catalog))
    return mark_stale(report, stored, catalog)


def models_of(stored: StoredSession) -> list[str]:
    """Return the models of a session, in the order asked for."""
    recorded = dict.fromkeys(record.model_name for record in stored.records)
    asked = [model for model in stored.session.models if model in recorded]
    return list(dict.fromkeys([*asked, *recorded]))


def reference_of(stored: StoredSession, models: list[str]) -> str:
    """Return what ratios refer to: the session's reference if it was measured, else the first model."""
    return stored.session.reference if stored.session.reference in models else models[0]


def _specs(models: list[str], catalog: Catalog) -> dict[str, ModelSpec]:
    known = set(catalog.entries("models"))
    return {name: catalog.model(name) for name in models if name in known}
