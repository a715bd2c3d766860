"""A sweep over hyperparameters: the same trials for every model, each an ordinary session, and one session of what was chosen.

Trials differ in options of the command line alone, so that each is stored, continued, shared out and found like any other run. The
session of the choice holds copies of the best trial's runs by model and task; nothing is trained again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from bertbench.errors import UsageError

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.records.stored import StoredSession
    from bertbench.session.options import StudyOptions
    from bertbench.session.request import Request
    from bertbench.session.study import Study
    from bertbench.specs.tasks import TaskSpec

SWEPT: dict[str, type[int | float]] = {
    "learning_rate": float,
    "batch_size": int,
    "epochs": float,
    "max_length": int,
}
MOST_TRIALS = 100
CHOSEN_RECIPES = "swept"  # the option `recipes` of a session of the choice: no plain request is answered by it
Values = dict[str, int | float]


@dataclass(frozen=True)
class SweepOptions:
    """What is tried, and on what the best is chosen."""

    sweep: Annotated[
        list[str] | None,
        Option(
            "--sweep",
            metavar="NAME=V,V",
            help="Try these values with every model, e.g. learning_rate=1e-5,2e-5; repeated: a grid.",
            show_default=False,
        ),
    ] = None
    select_on: Annotated[
        str | None,
        Option("--select-on", help="Split whose score chooses the trial (default: the first).", show_default=False),
    ] = None


def trials_of(texts: Sequence[str]) -> list[Values]:
    """Read the values of every trial: the grid of all that is swept.

    Raises:
        UsageError: nothing that can be swept, no number, a value twice, or too many trials.
    """
    columns: dict[str, list[int | float]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        key = name.strip().replace("-", "_")
        if key not in SWEPT or not values:
            raise UsageError(f"--sweep {text}: expected NAME=V,V", f"names: {', '.join(SWEPT)}")
        if key in columns:
            raise UsageError(f"--sweep {text}: {key} is swept twice", "list all its values once")
        columns[key] = [_number(text, key, value) for value in values.split(",")]
        if len(set(columns[key])) < len(columns[key]):
            raise UsageError(f"--sweep {text}: a value is given twice", "every trial counts as one draw")
    trials = [dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())]
    if not 2 <= len(trials) <= MOST_TRIALS:
        raise UsageError(f"--sweep: {len(trials)} trials; 2 to {MOST_TRIALS} are taken")
    return trials


def _number(text: str, key: str, value: str) -> int | float:
    try:
        number = SWEPT[key](value)
    except ValueError:
        whole = " whole" if SWEPT[key] is int else ""
        raise UsageError(f"--sweep {text}: '{value.strip()}' is no{whole} number", f"for example {key}=1,2") from None
    return number


def options_of(options: StudyOptions, values: Values) -> StudyOptions:
    """Return the options of one trial: trained to the end, quality alone, these values for every model.

    Raises:
        UsageError: an option goes against a sweep.
    """
    if options.only not in {None, "quality"}:
        raise UsageError(f"--sweep and --only {options.only}: a sweep measures quality alone", "time without --sweep")
    if options.max_minutes or options.max_train_minutes:
        raise UsageError(
            "--sweep takes no time limit: trials would do different amounts",
            "bound the work itself with --train-samples, --eval-samples or --epochs",
        )
    if twice := next((name for name in values if getattr(options, name) is not None), None):
        raise UsageError(f"--sweep {twice} and --{twice.replace('_', '-')} contradict each other", "leave one out")
    changed: dict[str, Any] = {"only": "quality", "finetune": True, "full": False, **values}
    return replace(options, **changed)


def splits_of(tasks: Sequence[TaskSpec], select_on: str | None) -> dict[str, str]:
    """Return the split that chooses, by task.

    Raises:
        UsageError: a task has no such split.
    """
    for task in tasks:
        if select_on is not None and select_on not in task.evaluation_splits:
            known = ", ".join(task.evaluation_splits)
            raise UsageError(f"--select-on {select_on}: task {task.name} is evaluated on {known}")
    return {task.name: select_on or task.evaluation_splits[0] for task in tasks}


def chosen_session(
    study: Study, request: Request, trials: Sequence[tuple[Values, StoredSession]], splits: Mapping[str, str]
) -> StoredSession:
    """Store the session of each model's best trial by task, or return the one that is there."""
    from bertbench.records.files import now
    from bertbench.records.store import newest
    from bertbench.session.request import names_of
    from bertbench.session.steps import session_of

    models, tasks = names_of(request.models), names_of(request.tasks)
    outcome: dict[str, Any] = {"selected_on": dict(splits), "trials": [], "chosen": {}}
    for values, stored in trials:
        scores = {model: {task: _score(stored, model, task, splits[task]) for task in tasks} for model in models}
        outcome["trials"].append({"values": values, "session": stored.session.session_id, "scores": scores})
    for model in models:
        outcome["chosen"][model] = {task: _best(outcome["trials"], model, task) for task in tasks}
    whole = request.canonical(dict.fromkeys(models, ""), dict.fromkeys(tasks, ""), "")
    sessions = [stored.session.session_id for _, stored in trials]
    canonical = whole | {
        "options": whole["options"] | {"recipes": CHOSEN_RECIPES},
        "sweep": {"trials": [values for values, _ in trials], "sessions": sessions, "selected_on": dict(splits)},
    }
    earlier = newest(study.store, lambda _: True, lambda session: session.complete and session.request == canonical)
    if earlier is not None:
        return earlier
    session = session_of(
        request,
        canonical,
        study.store.new_session_id(),
        decisions={"sweep": outcome},
        environment_class=trials[0][1].session.environment_class,
        notes=(_note(request, splits, len(trials)),),
    )
    study.store.write_session(session)
    records = [
        study.store.adopt(stored, record, session.session_id)  # without times, which belong to their session
        for model in models
        for task in tasks
        for stored in [trials[outcome["chosen"][model][task] or 0][1]]
        for record in _runs(stored, model, task)
    ]
    ended = replace(session, complete=True, ended_at=now())
    study.store.write_session(ended)
    return study.store.stored(ended, records)


def _note(request: Request, splits: Mapping[str, str], count: int) -> str:
    same = [task.name for task in request.tasks if splits[task.name] == task.evaluation_splits[0]]
    text = f"each model has its best of the same {count} trials by task, chosen on {', '.join(dict.fromkeys(splits.values()))}"
    flattered = f"; on {', '.join(same)} the score is of the same examples, and optimistic" if same else ""
    return f"{text}{flattered}"


def _runs(stored: StoredSession, model: str, task: str) -> Iterator[RunRecord]:
    for record in stored.records:
        if (record.kind, record.model_name, record.task_name) == ("quality", model, task):
            yield record


def _score(stored: StoredSession, model: str, task: str, split: str) -> float | None:
    """Return a trial's score, the mean over its seeds; None where one of them has none."""
    measured = [record.find("score", "value", split=split) for record in _runs(stored, model, task)]
    values = [score.values[0] for score in measured if score is not None]
    return sum(values) / len(values) if values and len(values) == len(measured) else None


def _best(trials: Sequence[Mapping[str, Any]], model: str, task: str) -> int | None:
    """Return the number of the best trial, the first among equals; None where none has a score."""
    scores = [trial["scores"][model][task] for trial in trials]
    known = [number for number, score in enumerate(scores) if score is not None]
    return max(known, key=lambda number: (scores[number], -number), default=None)
