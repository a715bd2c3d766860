"""`bertbench report`: everything stored on one page with charts. Measures nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from bertbench.commands._display import Waiting, say, show, show_warnings
from bertbench.commands._options import PlotsOption, PrivateOption, RowOptions, SessionsOption, spread
from bertbench.commands._study import choice_of, many_objects, report_of, rows_of
from bertbench.errors import NothingMeasuredError, StoreError, UnknownNameError, UsageError
from bertbench.records.store import Store, open_store
from bertbench.records.stored import StoredSession
from bertbench.session.options import StoreOptions
from bertbench.specs.catalog import Catalog
from bertbench.specs.name_lists import split

if TYPE_CHECKING:
    import pyarrow as pa

    from bertbench.models.uploads import Target
    from bertbench.records.table import RowChoice
    from bertbench.report.row import Report

MOST_TABLES = 3  # suites whose newest session has its comparison table on the page
IN_FULL = 10  # newest sessions whose figures are all listed; of older ones those that were not measured again since
MOST_RECORDS = 2_500  # on a page, which then has some megabytes
PAGE = ".html"

PageOption = Annotated[Path, Option("--output", "-o", help="File to write the page to.")]


PushOption = Annotated[
    str | None,
    Option(
        "--push",
        metavar="hf://spaces/OWNER/NAME",
        help="Push the page to this Space, or data set, of the hub, too.",
        show_default=False,
    ),
]


@spread(rows=("suite", "since"))
def report(
    output: PageOption = Path("report.html"),
    session: SessionsOption = None,
    plots: PlotsOption = None,
    push: PushOption = None,
    private: PrivateOption = False,
    *,
    rows: RowOptions,
    folders: StoreOptions,
) -> None:
    """Write one page with tables, charts and records of what is stored.

    The page is one file that opens without a network.

    Example: bertbench report --output report.html
    """
    from bertbench.report import output as outputs
    from bertbench.report.page import pictures

    if output.suffix.lower() != PAGE:
        raise UsageError(f"--output {output}: a page ends in {PAGE}", "`bertbench export` writes CSV and JSON")
    outputs.check_output(output)
    if plots is not None:
        pictures.check(plots)
    target = None if push is None else _target(push)
    if target is None and private:
        raise UsageError("--private goes with --push", "add it, or leave --private out")
    store, catalog = open_store(folders.results_dir, Waiting()), Catalog(folders.config_dir or ())
    sessions, left_out = _chosen(store, session, choice_of(store, rows))
    show_warnings(store.warnings)
    if not sessions:
        raise NothingMeasuredError(
            f"no figures in {folders.results_dir}", "`bertbench compare` measures size, speed, memory and quality"
        )
    with many_objects():
        made = _joined(sessions, catalog)
        outputs.write_report(replace(made, notes=(*([left_out] if left_out else []), *made.notes)), output)
    if left_out:
        say(left_out)
    models = len({row.model for row in made.rows if row.model})
    show(f"{output}: {_counted(models, 'model')}, {_counted(len(sessions), 'session')}; open it in a browser")
    if plots is not None:
        show(pictures.summary(plots, pictures.write(made, plots)))
    if target is not None:
        show(f"pushed to {_push(target, output, private=private)}")


def _target(text: str) -> Target:
    """Read where to push the page, and find out at once whether that can be.

    Raises:
        UsageError, HubError: it is no address, the hub does not answer, or nobody is logged in.
    """
    from bertbench.models import uploads  # slow

    target = uploads.parse_target(text, "--push")
    uploads.check_ready(target)
    return target


def _push(target: Target, page: Path, *, private: bool) -> str:
    """Push the page, which a Space shows by its name there, and return its address."""
    from bertbench.models import uploads
    from bertbench.records.outgoing import refuse_secrets

    content = page.read_bytes()
    refuse_secrets(content, str(page))
    name = uploads.PAGE_OF_SPACE if target.kind == "space" else page.name
    return uploads.push(target, {name: content}, private=private, message=f"{page.name} of bertbench")


def _chosen(store: Store, names: str | None, choice: RowChoice) -> tuple[list[StoredSession], str]:
    """Read the sessions asked for that have records, as many as fit onto a page, and say which do not.

    Raises:
        UnknownNameError: there is no such session.
    """
    figures = {}
    for table in store.tables(choice.takes):
        if table.num_rows:
            figures[table["session"][0].as_py()] = _figures_in(table)
    asked = list(figures)
    if names is not None:
        asked = split("--session", names, figures.__contains__, figures.__contains__)
        for name in asked:
            if figures and name not in figures:
                raise UnknownNameError("session", name, figures)
    fitting = _fitting({name: of_session for name, of_session in figures.items() if name in asked})
    sessions = [stored for stored in store.sessions(lambda session: session.session_id in fitting) if stored.records]
    count = len(set(asked) & figures.keys()) - len(fitting)
    if not count:
        return sessions, ""
    return sessions, (
        f"{_counted(count, 'session')} left out: a page holds {MOST_RECORDS:,} records, here of the newest sessions with figures "
        "that no newer one has; --session, --suite and --since choose, and `bertbench export` has all"
    )


def _fitting(figures: Mapping[str, tuple[int, set[Hashable]]]) -> set[str]:
    """Choose sessions, by name with their number of records and their figures: first those with figures of their own."""
    measured: set[Hashable] = set()
    needed: list[str] = []
    others: list[str] = []
    for number, (name, (_, of_session)) in enumerate(figures.items()):
        (others if number >= IN_FULL and of_session <= measured else needed).append(name)
        measured |= of_session
    fitting: set[str] = set()
    count = 0
    for name in [*needed, *others]:
        count += figures[name][0]
        if count > MOST_RECORDS and fitting:
            break
        fitting.add(name)
    return fitting


def _figures_in(table: pa.Table) -> tuple[int, set[Hashable]]:
    """Return how many records a session's table has, and what was measured: kinds, models, tasks and settings."""
    names = ("kind", "model", "task", "settings", "status")
    columns = [table[name].combine_chunks() for name in names]
    texts = [column.dictionary.to_pylist() for column in columns]
    numbers = dict.fromkeys(zip(*(column.indices.to_pylist() for column in columns), strict=True))
    rows = [tuple(None if n is None else known[n] for known, n in zip(texts, row, strict=True)) for row in numbers]
    return len(table["run_id"].unique()), {row[:-1] for row in rows if row[-1] == "ok"}


def _joined(sessions: Sequence[StoredSession], catalog: Catalog) -> Report:
    """Report the newest session of each suite with its tables, and the figures of all others."""
    from bertbench.report.row import Report

    tabled: dict[str, Report] = {}
    parts = []
    for stored, part in _reports(sessions, catalog, tabled):
        parts.append(replace(part, sessions=(stored,)))
    if not parts:
        raise NothingMeasuredError("no stored session can be read", "`bertbench show` lists what is stored")
    joined = Report.joined(parts)
    return joined if len(sessions) == 1 else replace(joined, title=_title(joined))


def _reports(
    sessions: Sequence[StoredSession], catalog: Catalog, tabled: dict[str, Report]
) -> Iterator[tuple[StoredSession, Report]]:
    from bertbench.report.row import Report

    progress, measured = Waiting(), set[Hashable]()
    for number, stored in enumerate(sessions):
        progress("computing figures", number, len(sessions))
        suite, figures = stored.session.suite, _figures_of(stored)
        is_old = number >= IN_FULL and figures <= measured
        measured |= figures
        try:
            if suite not in tabled and len(tabled) < MOST_TABLES:
                tabled[suite] = report_of(stored, catalog)
                yield stored, tabled[suite]
            elif is_old:
                yield stored, Report("", ())
            else:
                yield stored, Report("", (), tuple(rows_of(stored, catalog)))
        except StoreError as error:
            say(f"session {stored.session.session_id} is left out: {error}")
    progress("computing figures", len(sessions), len(sessions))


def _figures_of(stored: StoredSession) -> set[Hashable]:
    """Return what was measured in a session: kinds, models, tasks and how they were run."""
    names = ("device", "backend", "dtype", "mode")
    return {
        (
            record.kind,
            record.model_name,
            record.task_name,
            *(record.settings.get(name) for name in names),
            *(record.settings.get("shapes") or ()),
        )
        for record in stored.records
        if record.status == "ok"
    }


def _title(report: Report) -> str:
    """Name a report on several sessions after its models."""
    models = list(dict.fromkeys(str(row.model) for row in report.rows if row.model))
    rest = f" and {len(models) - 6} more" if len(models) > 6 else ""
    return f"{', '.join(models[:6])}{rest}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
