"""What of a baseline is checked: its models, tasks, recipe and timing, on the code and configs of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertbench.errors import BertBenchError, StoreError, UsageError, first_line
from bertbench.gate.baseline import Baseline, Saved, StoredScore
from bertbench.gate.collect import spec_with
from bertbench.gate.finding import Margins, ModelTask
from bertbench.gate.judging import incomparable
from bertbench.gate.ratios import enough, protocol
from bertbench.models import hub
from bertbench.records import environment
from bertbench.records.record import Kind
from bertbench.session.request import Request, names_of, parse_kinds
from bertbench.session.study import Study
from bertbench.specs.models import ModelSpec
from bertbench.specs.name_lists import split
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.timing import TimingSpec

Place = tuple[str, str]  # model and task
AS_BEFORE = ("train_samples", "eval_samples", "epochs", "batch_size", "learning_rate", "max_length", "recipes", "dtype")


@dataclass(frozen=True)
class GateScope:
    """What of a baseline is checked: `names` are gated, `specs` are measured and may include the reference."""

    study: Study
    before: Saved
    suite: SuiteSpec
    names: tuple[str, ...]
    specs: tuple[ModelSpec, ...]
    kinds: tuple[Kind, ...]
    environment_class: str
    threads: int

    @staticmethod
    def of(study: Study, before: Saved) -> GateScope:
        """Resolve the options against the baseline.

        Raises:
            UsageError: other tasks or models, or nothing in common; ConfigError: a task or suite is gone.
        """
        chosen, base = study.options, before.baseline
        suite = study.catalog.suite(chosen.suite or base.suite)
        strange = [task for task in base.tasks if task not in suite.tasks]
        if strange:
            raise UsageError(
                f"the baseline is of {', '.join(base.tasks)}, suite {suite.name} has {', '.join(suite.tasks) or 'no task'}",
                "choose the suite that it was saved for, or save a new baseline",
            )
        names = _names(chosen.models, base)
        measured = [
            *names,
            *([base.reference] if base.reference in base.models and base.reference not in names else []),
        ]
        specs = tuple(_spec(name, study, before) for name in measured)
        kinds = _kinds(chosen.only, base, names)
        # As many threads as before, since ratios depend on it, but no more than there are cores.
        threads = chosen.threads or min(base.options.get("threads") or 1, environment.default_threads())
        now = environment.capture(environment.resolve_device(chosen.device)).environment_class
        return GateScope(study, before, suite, names, specs, kinds, now, threads)

    @property
    def incomparable(self) -> str:
        """Why nothing that is timed now says anything against the baseline; empty if it does."""
        base = self.before.baseline
        return incomparable(base, self.as_of_now(base))

    def as_of_now(self, measured: Baseline) -> Baseline:
        """Put in the class of this machine and the threads of now, which stand even where nothing was measured."""
        options = {**measured.options, "threads": self.threads}
        return replace(measured, environment_class=self.environment_class, options=options)

    def checkpoints(self) -> dict[Place, tuple[Path, str, str | None]]:
        """Find the folder of each checkpoint to evaluate, with its task's kind and the name it is kept as.

        Raises:
            StoreError: a kept checkpoint is gone.
        """
        folders = {}
        for score in self.before.baseline.scores:
            folder = self._folder(score) if score.checkpoint and score.model in self.names else None
            if folder is not None and score.checkpoint is not None:
                folders[score.model, score.task] = (folder, score.kind, score.checkpoint.kept)
        return folders

    def _folder(self, score: StoredScore) -> Path | None:
        kept = self.before.checkpoint_folder(score)
        if kept is not None:
            if not kept.is_dir():
                raise StoreError(f"checkpoint {kept} of the baseline is gone", "restore it, or save a new baseline")
            return kept
        if score.mode != "evaluate":
            return None
        spec = next(spec for spec in self.specs if spec.name == score.model)
        entry = spec.finetuned.get(score.task)
        published = {"checkpoint": entry.checkpoint, "revision": entry.revision} if entry else {}
        try:
            return hub.locate(spec.model_copy(update=published)).folder
        except BertBenchError:
            return None  # the session will say so, with the reason

    def request(self, kinds: Sequence[Kind], *margins: Margins, without: frozenset[ModelTask] = frozenset()) -> Request:
        """Build the request for these kinds; timing may end where every verdict is clear, by all of the margins.

        Models on tasks in `without` get no score; those of which nothing else is asked are not even looked for.
        """
        base = self.before.baseline
        tasks = base.tasks or self.suite.tasks
        has_cost = any(kind != "quality" for kind in kinds)
        specs = [spec for spec in self.specs if has_cost or any((spec.name, task) not in without for task in tasks)]
        names = names_of(specs)
        recipe: dict[str, Any] = {name: base.options[name] for name in AS_BEFORE if base.options.get(name) is not None}
        # One seed: a baseline holds the first one's score.
        seeds = base.options.get("seeds") or [0]
        options = replace(
            self.study.options,
            threads=self.threads,
            seed=seeds[0],
            only=",".join(kinds),
            keep_checkpoints="none",  # nothing needs them once they are scored
            **recipe,
        )
        request = replace(self.study, options=options).request(
            self.suite,
            tasks,
            models=specs,
            reference=names[0] if without and base.reference not in names else base.reference,
            run=False,
        )
        timing = protocol(TimingSpec(**base.timing))
        return replace(
            request,
            without=without,
            timing=timing,
            enough=lambda ratios: all(enough(base.times, each, ratios) for each in margins),
        )

    def nothing(self) -> Saved:
        """Return what is known where nothing is measured."""
        empty: dict[str, Any] = {"counts": {}, "weights": {}, "scores": (), "times": (), "peak_memory": {}, "lost": ()}
        return Saved(replace(self.before.baseline, **empty), {})


def of_tasks(saved: Saved, task: str | None) -> Saved:
    """Limit a baseline to the scores of the named tasks.

    Raises:
        UsageError: it has none of one.
    """
    if task is None:
        return saved
    base, names = saved.baseline, tuple(dict.fromkeys(part.strip() for part in task.split(",")))
    for name in names:
        if name not in base.tasks:
            raise UsageError(f"--task {name}: is not in the baseline", f"it has {', '.join(base.tasks) or 'no scores'}")
    scores = tuple(score for score in base.scores if score.task in names)
    return replace(saved, baseline=replace(base, tasks=names, scores=scores))


def _names(models: str, base: Baseline) -> tuple[str, ...]:
    if models == "all":
        return tuple(base.models)
    is_known = base.models.__contains__
    names = tuple(dict.fromkeys(split("--models", models, is_known, is_known)))
    for name in names:
        if name not in base.models:
            raise UsageError(f"--models {name}: is not in the baseline", f"it has {', '.join(base.models)}")
    if not names:
        raise UsageError("--models: no model is named", f"the baseline has {', '.join(base.models)}")
    return names


def _kinds(only: str | None, base: Baseline, names: Sequence[str]) -> tuple[Kind, ...]:
    """Choose what is asked for and in the baseline.

    Raises:
        UsageError: nothing is both.
    """
    present = {
        "size": any(name in base.counts for name in names),
        "quality": any(score.model in names for score in base.scores),
        "speed": any(timed.model in names for timed in base.times),
        "memory": any(name in base.peak_memory and name != base.reference for name in names),
    }
    asked = parse_kinds(only)
    kinds = tuple(kind for kind in asked if present[kind])
    if only is not None and kinds and len(kinds) < len(asked):
        lacks = ", ".join(kind for kind in asked if not present[kind])
        raise UsageError(
            f"--only {only}: the baseline has no {lacks} of {', '.join(names)}", "leave it out, or save a new baseline"
        )
    if not kinds:
        has = ", ".join(kind for kind, is_present in present.items() if is_present) or "nothing"
        raise UsageError(f"the baseline has {has} of {', '.join(names)}: nothing to compare", "see --only and --models")
    return kinds


def _spec(name: str, study: Study, before: Saved) -> ModelSpec:
    """Return the model as configs have it now, else as it was; with the kept checkpoints in place of training."""
    known = name in study.catalog.entries("models")
    spec = study.catalog.model(name) if known else _stored_spec(name, before)
    kept = {
        score.task: folder
        for score in before.baseline.scores
        if score.model == name and (folder := before.checkpoint_folder(score)) is not None
    }
    return spec_with(spec, kept, before.baseline.tasks) if kept else spec


def _stored_spec(name: str, before: Saved) -> ModelSpec:
    """Build a model's spec as the baseline has it.

    Raises:
        StoreError: it is no model's.
    """
    # Another version may have had more.
    fields = {field: value for field, value in before.baseline.models[name].items() if field in ModelSpec.model_fields}
    try:
        return ModelSpec(**{**fields, "name": name})
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"baseline {before.path}: model {name} is damaged ({first_line(error)})", "save a new baseline"
        ) from None
