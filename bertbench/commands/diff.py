"""`bertbench diff`: why two stored results differ. Measures nothing."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bertbench.commands._display import show_warnings
from bertbench.commands._options import OutputOptions, spread
from bertbench.commands._study import named
from bertbench.errors import UsageError
from bertbench.records.store import Store, open_store
from bertbench.report.compare.differences import Pair, build, name_of, pairs_of
from bertbench.report.row import Report
from bertbench.session.options import StoreOptions

FirstArgument = Annotated[str, Argument(metavar="A", help="Id of a run or session, or the start of it.")]
SecondArgument = Annotated[str, Argument(metavar="B", help="Id of what it is compared with, or the start of it.")]
ExamplesOption = Annotated[int, Option("--examples", min=0, help="List this many flipped examples of each kind.")]


@spread(folders=("results_dir",))
def diff(
    first: FirstArgument,
    second: SecondArgument,
    examples: ExamplesOption = 20,
    *,
    folders: StoreOptions,
    output: OutputOptions,
) -> None:
    """Show why two runs or sessions differ.

    Compares settings, environment, versions and single answers.

    Example: bertbench diff 20261124T120000-abc123 20261125T120000-def456
    """
    output.check()
    store = open_store(folders.results_dir)
    report = report_on(store, first, second, examples)
    show_warnings(store.warnings)
    output.emit(report)


def report_on(store: Store, first: str, second: str, examples: int) -> Report:
    """Report what differs between two runs or two sessions.

    Raises:
        StoreError, UsageError: as `diff`.
    """
    (before, record), (after, other) = named(store, first), named(store, second)
    title = f"{first} and {second}"
    if record is None and other is None:
        pairs, unmatched = pairs_of(before, after)
        if not pairs:
            raise UsageError(
                f"sessions {title} have no run in common", "name two sessions of the same models, tasks and settings"
            )
        return build(before, after, pairs, unmatched, title=title, ids=examples)
    if record is None or other is None:
        raise UsageError(f"{title}: one is a run, the other a session", "name two runs or two sessions")
    if record.kind != other.kind:
        raise UsageError(
            f"{first} is a run of {record.kind}, {second} of {other.kind}", "name two runs of the same kind"
        )
    names = dict.fromkeys((name_of(record), name_of(other)))
    return build(before, after, [Pair(" and ".join(names), record, other)], [], title=title, ids=examples)
