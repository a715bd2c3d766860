"""Which stored records no longer stand for what would be measured now, and why.

Stale is what an older version of a measuring module made, and what was made with another configuration of its model or
task, or another published recipe, than there is now. A model or task without a configuration is never stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertbench.errors import ConfigError
from bertbench.records.record import MEASURE_VERSIONS, NOT_MEASURED, RunRecord, SessionRecord, canonical_json
from bertbench.specs.models import ModelSpec
from bertbench.specs.suites import RecipeSpec

if TYPE_CHECKING:
    from bertbench.specs.base import Spec
    from bertbench.specs.catalog import Catalog

GATES = {"check", "baseline"}  # which evaluate a baseline's kept checkpoint in place of what is configured
OF_A_CHECKPOINT = {"checkpoint", "revision", "tokenizer"}
OF_QUALITY = {"training", "finetuned", "distill"}  # parts of a model's spec that only its quality depends on
NOT_OF_A_TASK = {*NOT_MEASURED, "test_sets"}


@dataclass
class Staleness:
    """Judges records against the configurations of a catalog, each of which is read once."""

    catalog: Catalog
    _now: dict[tuple[str, str], Spec | None] = field(default_factory=dict)
    _seen: dict[str, bool] = field(default_factory=dict)

    def reason(self, session: SessionRecord, record: RunRecord) -> str | None:
        """Why a record is stale, or None."""
        versions = session.request.get("versions", {})
        made, current = versions.get(record.kind), MEASURE_VERSIONS[record.kind]
        if made is not None and made != current:
            return f"measured by version {made} of how {record.kind} is measured, now {current}"
        if self._model_changed(session, record):
            return f"the configuration of model {record.model_name} has changed since"
        evaluated = record.settings.get("mode") == "evaluate"
        not_of_the_task = NOT_OF_A_TASK | ({"training"} if evaluated else set())
        task = self._spec("tasks", str(record.task_name)) if record.task else None
        if task is not None and record.task and self._changed(task, record.task, not_of_the_task):
            return f"the configuration of task {record.task_name} has changed since"
        if record.kind == "quality" and not evaluated and self._recipe_changed(session, record):
            return f"the published recipe of {record.model_name} for {record.task_name} has changed since"
        return None

    def _recipe_changed(self, session: SessionRecord, record: RunRecord) -> bool:
        """True if a run took the published recipe, and now another is published; what options said is left out."""
        options, settings = session.request.get("options", {}), record.settings
        if options.get("recipes") != "published" or "teaching" in settings:
            return False
        recipe = self._spec("recipes", record.model_name)
        values = recipe.values(str(record.task_name)) if isinstance(recipe, RecipeSpec) else {}
        return any(
            name in settings and settings[name] != value and options.get(name) is None
            for name, value in values.items()
            if name != "source"
        )

    def _model_changed(self, session: SessionRecord, record: RunRecord) -> bool:
        now, left_out = self._spec("models", record.model_name), set(NOT_MEASURED)
        if not isinstance(now, ModelSpec):
            return False
        evaluated = record.settings.get("mode") == "evaluate"
        if record.kind != "quality" or evaluated:
            left_out |= OF_QUALITY
        if evaluated and session.command in GATES:
            left_out |= OF_A_CHECKPOINT
        elif evaluated and (entry := now.finetuned.get(str(record.task_name))) is not None:
            # A record's model names the checkpoint that was evaluated, not the one that it would be trained from.
            now = now.model_copy(update={"checkpoint": entry.checkpoint, "revision": entry.revision})
        return self._changed(now, record.model, left_out)

    def _changed(self, now: Spec, stored: Mapping[str, Any], left_out: set[str]) -> bool:
        key = f"{canonical_json(now.model_dump(mode='json', exclude=left_out))}/{canonical_json(stored)}"
        if key not in self._seen:
            try:  # through the spec, since fields that were added later have their defaults in a record without them
                then = type(now)(**stored).model_dump(mode="json", exclude=left_out)
            except ValueError:
                then = None
            self._seen[key] = then != now.model_dump(mode="json", exclude=left_out)
        return self._seen[key]

    def _spec(self, kind: str, name: str) -> Spec | None:
        if (kind, name) not in self._now:
            try:
                known = name in self.catalog.entries(kind)
                read = {"models": self.catalog.model, "tasks": self.catalog.task, "recipes": self.catalog.recipe}[kind]
                self._now[kind, name] = read(name) if known else None
            except ConfigError:  # `bertbench validate` says what is wrong with it
                self._now[kind, name] = None
        return self._now[kind, name]
