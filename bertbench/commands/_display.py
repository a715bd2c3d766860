"""What people see while they wait: lines and progress bars on stderr; plain lines where that is not a terminal.

Whatever a line or a label holds, it is one line that controls nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bertbench.records.progress import Listener, Unwatched, nobody
from bertbench.safe_text import visible
from bertbench.units import duration, quantity_of

if TYPE_CHECKING:
    from bertbench.records.record import RunRecord

PLAIN_EVERY_S = 30.0  # seconds between two lines of a step, so that a log stays short
REDRAW_EVERY_S = 0.25  # drawing takes the processor from what is timed
PATIENCE_S = 2.0  # a step that is over sooner needs no bar


def say(line: str) -> None:
    """Print one line for people, on stderr."""
    print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 (this is the display)


def order(line: str) -> None:
    """Print one line for a service that builds and tests, on stderr; its author has escaped what it holds."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (this is the display)


def show(line: str) -> None:
    """Print one line of a result, on stdout."""
    print(visible(line), flush=True)  # noqa: T201 (this is the display)


def show_warnings(warnings: list[str]) -> None:
    """Pass on what a store warns of, each warning once, and forget it."""
    for warning in dict.fromkeys(warnings):
        say(f"warning: {warning}")
    warnings.clear()


class Display:
    """A Progress and SessionWatch that shows a grid and a bar in a terminal, and a line now and then elsewhere: a context manager.

    `verbose`: every cell and every step has a line of its own, in a terminal too. `listen` is told of every record, too.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        verbose: bool = False,
        listen: Listener = nobody,
    ) -> None:
        self._clock = clock
        self._verbose = verbose
        self._listen = listen
        self._bars: Any = None
        self._live: Any = None
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, float] = {}
        self._last_plain = self._drawn = 0.0
        self._ends: float | None = None  # of time.monotonic, when all steps should be done
        self._columns: list[str] = []
        self._cells: dict[str, dict[str, str]] = {}  # by model and column
        self._told: dict[tuple[str, str], dict[str, str]] = {}  # by cell and run, as a cell may have several seeds

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[in_all]}"),
            )
            console = Console(stderr=True)
            # No refresh thread: it would take turns with what is being timed.
            self._bars = Progress(*columns, console=console, auto_refresh=False)
            self._live = Live(self._bars, console=console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def outline(self, models: Sequence[str], columns: Sequence[str]) -> None:
        """Show a grid of models and what is measured of them, all waiting."""
        self._columns = list(columns)
        self._cells = {model: dict.fromkeys(columns, WAITS) for model in models}
        self._told = {}
        self._show_grid()

    def begin(self, models: Sequence[str], column: str) -> None:
        """Show that a cell of each of these models is being measured, beside what is known of it."""
        for model in models:
            cells = self._cells.get(model, {})
            if column in cells:
                cells[column] = RUNS if cells[column] == WAITS else f"{cells[column].removesuffix(MORE)}{MORE}"
        self._show_grid()

    def tell(self, record: RunRecord) -> None:
        """Fill a cell of the grid: what was measured, or that it failed."""
        for line in self._listen(record):
            self.say(line)
        cells, column = self._cells.get(record.model_name), record.task_name or record.kind
        if cells is None or column not in cells:
            return
        outcomes = self._told.setdefault((record.model_name, column), {})
        outcomes[record.run_id] = _outcome(record)
        cells[column] = FAILED if FAILED in outcomes.values() else ", ".join(dict.fromkeys(outcomes.values()))
        if self._verbose:
            self.say(f"{record.model_name}, {column}: {outcomes[record.run_id]}")
        self._show_grid()

    def forget(self, record: RunRecord) -> None:
        """Show a cell without a record that was removed; what stands for it is told of next."""
        self._told.get((record.model_name, record.task_name or record.kind), {}).pop(record.run_id, None)

    def _show_grid(self) -> None:
        if self._live is None:
            return
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=None, pad_edge=False)
        for head in ("", *self._columns):
            grid.add_column(Text(visible(head)))
        for model, cells in self._cells.items():
            grid.add_row(
                Text(visible(model), style="bold"), *(Text(text, style=_style(text)) for text in cells.values())
            )
        self._live.update(Group(grid, self._bars), refresh=True)

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        if self._live is not None:
            self._live.console.print(visible(line), markup=False, highlight=False, emoji=False)
        else:
            say(line)

    def expect(self, seconds: float) -> None:
        """Show from now on how much is left of `seconds` until all steps are done."""
        self._ends = time.monotonic() + seconds

    def _in_all(self) -> str:
        left = 0.0 if self._ends is None else self._ends - time.monotonic()
        return f"about {duration(left)} left in total" if left > 1 else ""

    def __call__(self, label: str, done: float, total: float) -> None:
        """Show that `done` of `total` of the step `label` is done."""
        if self._bars is not None:
            self._draw(label, done, total)
        else:
            self._plain(label, done, total)

    def _draw(self, label: str, done: float, total: float) -> None:
        if label not in self._tasks:
            # One bar at a time: a step that has begun ends the one before it.
            for other in list(self._tasks):
                self._bars.remove_task(self._tasks.pop(other))
            self._tasks[label] = self._bars.add_task(visible(label), total=total, in_all="")
        self._bars.update(self._tasks[label], completed=done, total=total, in_all=self._in_all())
        if done >= total or self._clock() - self._drawn > REDRAW_EVERY_S:
            self._drawn = self._clock()
            self._live.refresh()

    def _plain(self, label: str, done: float, total: float) -> None:
        moment = self._clock()
        started = self._started.setdefault(label, moment)
        if done >= total:
            del self._started[label]
            if self._verbose or moment - started > 2.0:  # what is over at once needs no line
                say(f"{label}: done in {duration(moment - started)}")
        elif moment - max(started, self._last_plain) > PLAIN_EVERY_S:
            self._last_plain = moment
            in_all = self._in_all()
            say(f"{label}: {done / total:.0%}{f'; {in_all}' if in_all else ''}")


WAITS, RUNS, DONE, FAILED = "waiting", "running", "done", "failed"
MORE = " …"  # after what is known of a cell of which more is being measured


def _outcome(record: RunRecord) -> str:
    """Write what became of a cell, in a word or two: its score, how much of a sample is done, that it failed."""
    if record.status != "ok":
        return FAILED if record.status == "failed" else record.status
    scores = [entry.values[0] for entry in record.measurements if entry.quantity == "score"]
    if not scores:
        return DONE
    settings = record.settings
    of_all = f" ({settings['eval_samples']:,} of {settings['eval_available']:,})" if settings.get("is_sample") else ""
    return f"{quantity_of('score').format(scores[0])}{of_all}"


def _style(text: str) -> str:
    return {WAITS: "dim", RUNS: "cyan", FAILED: "red", "skipped": "yellow"}.get(text, "green")


class Quiet(Unwatched):
    """A Progress and SessionWatch that shows nothing, and says nothing either: for `--quiet`. `listen` is told of every record."""

    def __init__(self, listen: Listener = nobody) -> None:
        self._listen = listen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind."""

    def __call__(self, label: str, done: float, total: float) -> None:
        """Show nothing."""

    def tell(self, record: RunRecord) -> None:
        """Show nothing of the record."""
        self._listen(record)

    def say(self, line: str) -> None:
        """Say nothing."""


class Waiting:
    """A Progress for work that usually takes no time: it is shown once a step has taken longer than two seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: dict[str, float] = {}
        self._display: Display | None = None

    def __call__(self, label: str, done: float, total: float) -> None:
        """Show that `done` of `total` of the step `label` is done, if that is worth showing."""
        started = self._started.setdefault(label, self._clock())
        if self._display is None and done < total and self._clock() - started > PATIENCE_S:
            self._display = Display(self._clock).__enter__()
            self._display.say(f"{label} …")
        if self._display is not None:
            self._display(label, done, total)
        if done >= total:
            self._started.pop(label)
            if self._display is not None:
                self._display.__exit__(None, None, None)
                self._display = None
