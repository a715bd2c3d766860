"""`bertbench diff`: why two stored results differ. Measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertbench.commands._options import Format, FormatOption, Layout, LayoutOption, OutputOption, ResultsDirOption
from bertbench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord
    from bertbench.records.store import Store, StoredSession
    from bertbench.report.row import Report

FirstArgument = Annotated[str, typer.Argument(metavar="A", help="Id of a run or session, or the start of it.")]
SecondArgument = Annotated[str, typer.Argument(metavar="B", help="What it is compared with: as A.")]
ExamplesOption = Annotated[int, typer.Option("--examples", min=0, help="Flipped examples listed of each kind.")]


def diff(
    first: FirstArgument,
    second: SecondArgument,
    examples: ExamplesOption = 20,
    results_dir: ResultsDirOption = Path("results"),
    format: FormatOption = Format.TERMINAL,  # noqa: A002 (the option's name)
    output: OutputOption = None,
    layout: LayoutOption = Layout.LONG,
) -> None:
    """Show why two runs or sessions differ: settings, environment, versions, and examples that flipped.

    Raises:
        StoreError: nothing has such an id, or several do; predictions are damaged.
        UsageError: the two cannot be compared; `output` cannot be written.
    """
    from bertbench.commands._measuring import show_warnings
    from bertbench.records.store import Store
    from bertbench.report import output as out

    out.check_output(output)
    store = Store(results_dir)
    report = report_on(store, first, second, examples)
    show_warnings(store)
    out.emit(report, format=format.value, output=output, layout=layout.value)


def report_on(store: Store, first: str, second: str, examples: int) -> Report:
    """What differs between two runs or two sessions.

    Raises:
        StoreError, UsageError: as `diff`.
    """
    from bertbench.report.compare.differences import Pair, build, name_of, pairs_of

    (before, one), (after, two) = found(store, first), found(store, second)
    title = f"{first} and {second}"
    if one is None and two is None:
        pairs, unmatched = pairs_of(before, after)
        if not pairs:
            raise UsageError(f"sessions {title} have no run in common", f"`bertbench show {first}…` lists a run")
        return build(before, after, pairs, unmatched, title=title, ids=examples)
    if one is None or two is None:
        raise UsageError(f"of {title} one is a run and one a session", "name two runs or two sessions")
    if one.kind != two.kind:
        raise UsageError(f"{first} is a run of {one.kind}, {second} of {two.kind}", "name two runs of one kind")
    names = dict.fromkeys((name_of(one), name_of(two)))
    return build(before, after, [Pair(" and ".join(names), one, two)], [], title=title, ids=examples)


def found(store: Store, text: str) -> tuple[StoredSession, RunRecord | None]:
    """The session whose id is, or uniquely starts with, `text`; otherwise the run, in its session.

    Raises:
        StoreError: none or several are called so.
    """
    sessions = list(store.sessions(lambda session: session.session_id.startswith(text)))
    exact = [stored for stored in sessions if stored.session.session_id == text]
    if exact or len(sessions) == 1:
        return (exact or sessions)[0], None
    if sessions:
        several = ", ".join(stored.session.session_id for stored in sessions[:5])
        raise StoreError(f"'{text}' is ambiguous in {store.root}: {several}", "give more of the id")
    return store.find_run(text)
