"""How `run` and `compare` work: options to a Request, measuring with a display, reporting, the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import typer

from bertbench.errors import NothingMeasuredError, UsageError

if TYPE_CHECKING:
    from bertbench.records.store import Store, StoredSession
    from bertbench.report.row import Report
    from bertbench.session.request import Options, Request
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.models import ModelSpec
    from bertbench.specs.suites import SuiteSpec


@dataclass(frozen=True)
class Answer:
    """What one suite gave: what was asked, its report, the session behind it and the models shown."""

    report: Report
    stored: StoredSession
    models: tuple[str, ...]
    request: Request | None = None


class Measuring:
    """One measuring command at work: the place of its output is proved first, then suite after suite is answered."""

    def __init__(self, command: str, given: Mapping[str, Any], *, with_published: bool = False) -> None:
        """Take the shared options. `with_published`: published scores on every task stand beside those measured.

        Raises:
            UsageError, ConfigError: the output or a config folder cannot be used.
        """
        from bertbench.commands._display import Waiting
        from bertbench.records.store import Store
        from bertbench.report import output
        from bertbench.specs import published
        from bertbench.specs.catalog import Catalog

        output.check_output(given["output"])
        self.command = command
        self.given = dict(given)
        self.catalog = Catalog(given["config_dir"] or ())
        self.store = Store(given["results_dir"], Waiting())
        self.published = published.load(self.catalog) if with_published else ()

    def answer(
        self,
        suite: SuiteSpec,
        tasks: Sequence[str],
        *,
        models: str | Sequence[ModelSpec],
        reference: str | None,
        run: bool,
    ) -> Answer:
        """Measure `models`, given by what the user wrote or as specs, on `tasks`, or read that from the store.

        `run`: what was asked for must be had, and the suite's reference is not added; otherwise random weights will do
        for size and speed.
        """
        from bertbench.commands.published import with_published
        from bertbench.report.compare.build import build
        from bertbench.report.compare.notes import mark_stale
        from bertbench.specs.claim_checks import usable

        request = self.request(suite, tasks, models=models, reference=reference, run=run)
        stored = measure_or_read(request, self.store, from_store=self.given["from_store"], yes=self.given["yes"])
        specs = {spec.name: with_published(spec, request.tasks, self.published) for spec in request.models}
        names = tuple(specs)
        found = build(stored, specs, names, request.reference, claims=usable(self.catalog))
        report = mark_stale(found, stored, self.catalog)
        return Answer(report, stored, names, request)

    def request(
        self,
        suite: SuiteSpec,
        tasks: Sequence[str],
        *,
        models: str | Sequence[ModelSpec],
        reference: str | None,
        run: bool,
    ) -> Request:
        """What `answer` measures or reads."""
        from bertbench.session.request import Request, parse_kinds
        from bertbench.session.selection import published_recipes, resolve, with_teachers
        from bertbench.stats import metric

        options, kinds = build_options(suite.seeds, self.given), parse_kinds(self.given["only"])
        specified = tuple(self.catalog.task(task) for task in tasks)
        if "quality" in kinds:
            for task in specified:
                metric.check_metrics(task)
        if not self.given["from_store"]:
            self.store.check_writable()
        wanted = resolve(models, self.catalog, suite, self.store) if isinstance(models, str) else list(models)
        if "quality" in kinds:
            wanted = with_teachers(wanted, self.catalog, suite, self.store)
        specs, name = pick_reference(wanted, suite, reference, self.catalog, self.store, add_suites=not run)
        return Request(
            command=self.command,
            argv=tuple(sys.argv[1:]),
            suite=suite,
            models=tuple(specs),
            reference=name,
            tasks=specified,
            options=options,
            may_be_random=not run,
            timing=suite.timing,
            kinds=kinds,
            recipes=published_recipes(specs, tasks, self.catalog) if options.recipes == "published" else {},
        )

    def finish(self, answers: Sequence[Answer], *, missing: int = 0, first: Report | None = None) -> None:
        """Show the reports, after one that comes `first`, and leave with the exit code.

        The cells, and files that are `missing`, decide it.
        """
        from bertbench.report import output
        from bertbench.report.row import Report

        report = Report.joined([*([first] if first else []), *(answer.report for answer in answers)])
        given = self.given
        output.emit(report, format=given["output_format"].value, output=given["output"], layout=given["layout"].value)
        raise typer.Exit(exit_code(answers) or (1 if missing else 0))


OPTION_NUMBERS = (
    "train_samples", "eval_samples", "epochs", "batch_size", "learning_rate", "max_length", "threads", "max_minutes",
    "max_train_minutes",
)  # fmt: skip


def build_options(default_seeds: int, given: Mapping[str, Any]) -> Options:
    """Checked options with the device, threads and seeds resolved.

    Raises:
        UsageError, DeviceError: a value cannot be used.
    """
    from bertbench.records import environment
    from bertbench.session.request import Options, check_positive, parse_seeds

    if given["keep_checkpoints"] not in {"all", "best", "none"}:
        raise UsageError(f"--keep-checkpoints {given['keep_checkpoints']}: must be all, best or none")
    if given["recipes"] not in {"published", "task"}:
        raise UsageError(f"--recipe {given['recipes']}: must be published or task")
    if given["from_store"] and given["fresh"]:
        raise UsageError("--fresh and --from-store contradict each other", "leave one out")
    check_positive(**{name: given[name] for name in OPTION_NUMBERS})
    device = environment.resolve_device(given["device"])
    resolved = {
        "device": device,
        "dtype": environment.resolve_dtype(given["dtype"], device),
        "threads": given["threads"] or environment.default_threads(),
        "seeds": parse_seeds(given["seeds"], given["seed"], default_seeds),
    }
    as_given = {field.name: given[field.name] for field in fields(Options) if field.name in given}
    return Options(**(as_given | resolved))


def pick_reference(
    models: list[ModelSpec], suite: SuiteSpec, wanted: str | None, catalog: Catalog, store: Store, *, add_suites: bool
) -> tuple[list[ModelSpec], str]:
    """The models with the reference among them, first if it was added, and its name.

    `add_suites` says that the suite's reference is added where it was not asked for; otherwise the first model stands in.
    """
    from bertbench.session.selection import resolve_one

    names = [spec.name for spec in models]
    if wanted is None:
        if suite.reference in names:
            return models, suite.reference
        if not add_suites:
            return models, names[0]
        wanted = suite.reference
    named = next((spec for spec in models if spec.name == wanted), None)
    reference = named or resolve_one(wanted, catalog, store)
    return (models if reference.name in names else [reference, *models]), reference.name


def measure_or_read(request: Request, store: Store, *, from_store: bool, yes: bool) -> StoredSession:
    """The session that answers a request: from the store if it holds one, else measured now.

    Raises:
        NothingMeasuredError: `from_store`, and the store has nothing that fits.
    """
    from bertbench.commands._display import Display, say

    if from_store:
        names = [spec.name for spec in request.models]
        wanted = request.recipe_parts()
        found = newest_of(store, names, request.reference, wanted)
        if found is None:  # by an older version of how it is measured: shown, and marked as stale
            found = newest_of(store, names, request.reference, {**wanted, "versions": None})
        show_warnings(store)
        if found is None:
            raise NothingMeasuredError(
                f"no complete session of {', '.join(names)} with these tasks and options in {store.root}",
                "leave --from-store out to measure",
            )
        return found
    from bertbench.session import measure as session

    request.check_recipes()
    encoders = session.find_weights(request, say)
    found = None if request.options.fresh else session.find(request, store, encoders)
    show_warnings(store)
    if found is not None:
        say(f"taken from session {found.session.session_id} of {found.session.started_at}; --fresh measures again")
        return found
    try:
        with Display() as display:
            return session.measure(request, store, encoders, say=display.say, progress=display, yes=yes)
    except KeyboardInterrupt:
        say(f"Interrupted. What was finished is kept in {store.root}; repeat the command to go on from there.")
        raise


def newest_of(store: Store, models: Sequence[str], reference: str, recipe: Mapping[str, Any]) -> StoredSession | None:
    """The newest complete session of all models with this recipe, on whatever machine and weights."""
    from bertbench.records.store import covers, newest
    from bertbench.session.request import same_recipe

    return newest(
        store,
        lambda _: True,
        lambda session: covers(session, models, reference) and same_recipe(session.request, recipe),
    )


def show_warnings(store: Store) -> None:
    from bertbench.commands._display import say

    for warning in dict.fromkeys(store.warnings):
        say(f"warning: {warning}")
    store.warnings.clear()


def exit_code(answers: Sequence[Answer]) -> int:
    """1 if a cell of a model that was asked for failed, a single timed shape included; 4 if nothing was measured; else 0."""
    records = [record for one in answers for record in one.stored.records if record.model_name in one.models]
    if not any(record.status == "ok" for record in records):
        return 4
    return 1 if any(record.status == "failed" or record.settings.get("failed_shapes") for record in records) else 0
