"""`bertbench run`: evaluate or fine-tune models on a task, and time them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from typer import Option

from bertbench.commands._display import Display
from bertbench.commands._options import MeasuringOptions, spread
from bertbench.commands._study import Answer, answer, finish, open_study, report_of, show_plan
from bertbench.errors import ConfigError, UsageError
from bertbench.session.sweep import SweepOptions, chosen_session, options_of, splits_of, trials_of

if TYPE_CHECKING:
    from bertbench.records.store import Store
    from bertbench.session.options import StudyOptions
    from bertbench.session.study import Study
    from bertbench.specs.catalog import Catalog
    from bertbench.specs.suites import SuiteSpec

TaskOption = Annotated[
    str,
    Option(
        "--task",
        "-t",
        help="Tasks or groups, separated by commas, or 'all' (`bertbench list tasks`, `bertbench list groups`).",
    ),
]
PredictOption = Annotated[
    Path | None,
    Option(
        "--predict-test",
        help="Write predictions of the test sets here, in the official formats: <folder>/<model>/<file>.",
        show_default=False,
    ),
]


@spread()
def run(
    task: TaskOption, *, predict_test: PredictOption = None, sweeping: SweepOptions, options: MeasuringOptions
) -> None:
    """Evaluate or fine-tune each model on a task, and time it.

    Example: bertbench run --task sst2 --models bert,distilbert,albert
    """
    from bertbench.session.selection import resolve_tasks, suite_for  # specs: slow for a help text

    study = open_study("run", options)
    catalog = study.catalog
    tasks = resolve_tasks(task, catalog, options.suite or "base")
    for name in tasks:
        catalog.task(name)
    if predict_test:
        check_predict(predict_test, tasks, catalog, options)
    suite = catalog.suite(options.suite or suite_for(tasks[0], catalog))
    if sweeping.sweep:
        if predict_test:
            raise UsageError(
                "--predict-test and --sweep do not go together", "predict with the values that were chosen"
            )
        sweep(study, suite, tasks, sweeping)
        return
    if sweeping.select_on is not None:
        raise UsageError(f"--select-on {sweeping.select_on} chooses among trials", "add --sweep")
    request = study.request(suite, tasks, models=options.models, reference=options.reference, run=True)
    if options.dry_run:
        show_plan(study, request)
        return
    measured = answer(study, request)
    missing = predict(measured, study.store, predict_test) if predict_test else 0
    finish(options, [measured], missing=missing)


def sweep(study: Study, suite: SuiteSpec, tasks: Sequence[str], sweeping: SweepOptions) -> None:
    """Measure every trial, and show each model's best; a shard shows its trials, since only all shards together can choose."""
    from bertbench.session.request import check_many

    options = cast("MeasuringOptions", study.options)
    trials = trials_of(sweeping.sweep or ())
    studies = [replace(study, options=options_of(options, values)) for values in trials]
    requests = [
        each.request(suite, tasks, models=options.models, reference=options.reference, run=True) for each in studies
    ]
    splits = splits_of(requests[0].tasks, sweeping.select_on)
    if options.dry_run:
        for each, request in zip(studies, requests, strict=True):
            show_plan(each, request)
        return
    check_many(len(trials) * len(requests[0].units), yes=options.yes or options.from_store)
    answers = [answer(each, request) for each, request in zip(studies, requests, strict=True)]
    measured = answers
    if options.shard is None:
        stored = [(values, each.stored) for values, each in zip(trials, answers, strict=True)]
        plain = replace(study, options=replace(options, only="quality", finetune=True))
        whole = plain.request(suite, tasks, models=options.models, reference=options.reference, run=True)
        chosen = chosen_session(plain, whole, stored, splits)
        answers = [Answer(report_of(chosen, study.catalog), chosen, answers[0].models, whole)]
    finish(options, answers, decided_by=measured)  # a trial that failed is not among what was chosen


def check_predict(folder: Path, tasks: Sequence[str], catalog: Catalog, options: StudyOptions) -> None:
    """Find out before any work whether there can be predictions of test sets.

    Raises:
        UsageError: no task has any, or there will be no weights, or the folder cannot be made.
    """
    from bertbench.session.request import parse_kinds

    if options.shard is not None:
        raise UsageError("--predict-test needs all models and tasks", "join the shards first, then run without --shard")
    if not any(catalog.task(name).test_sets for name in tasks):
        having = ", ".join(_with_test_sets(catalog))
        raise UsageError(f"--predict-test: {', '.join(tasks)}: no test set to predict", f"these have one: {having}")
    if options.keep_checkpoints == "none":
        raise UsageError("--predict-test predicts from the checkpoint", "leave out --keep-checkpoints none")
    if "quality" not in parse_kinds(options.only):
        raise UsageError("--predict-test needs quality", f"--only {options.only},quality")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # now, not after hours of training
    except OSError as error:
        raise UsageError(f"--predict-test {folder}: {error.strerror or error}", "name a folder") from None


def _with_test_sets(catalog: Catalog) -> Iterator[str]:
    """Yield the tasks that state test sets; a broken file matters only when its name is asked for."""
    for name, entry in catalog.entries("tasks").items():
        try:
            if catalog.raw(entry).get("test_sets"):
                yield name
        except ConfigError:
            continue


def predict(measured: Answer, store: Store, folder: Path) -> int:
    """Write predictions of the test sets, and return how many files are missing."""
    from bertbench.session.submission import Submission  # slow

    assert measured.request is not None  # noqa: S101 (only `speed` has none)
    with Display() as display:
        return Submission(measured.request, store, folder, display.say, display).write(measured.stored)
