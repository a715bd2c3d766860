"""What is stored, as reports show it: the rows of a session, and the report on it with what was published and claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bertbench.records.store import StoredSession
    from bertbench.report.row import Report, Row
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec


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
