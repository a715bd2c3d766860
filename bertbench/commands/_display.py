"""What people see while they wait: lines and progress bars on stderr; plain lines where that is not a terminal.

Whatever a line or a label holds, it is one line that controls nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bertbench.safe_text import visible
from bertbench.units import duration

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
    """A Progress that shows bars in a terminal, and a line now and then elsewhere. Use as a context manager."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, float] = {}
        self._last_plain = self._drawn = 0.0
        self._ends: float | None = None  # of time.monotonic, when all steps should be done

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
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
            # No refresh thread: it would take turns with what is being timed.
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        if self._bars is not None:
            self._bars.console.print(visible(line), markup=False, highlight=False, emoji=False)
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
            self._bars.refresh()

    def _plain(self, label: str, done: float, total: float) -> None:
        moment = self._clock()
        started = self._started.setdefault(label, moment)
        if done >= total:
            del self._started[label]
            if moment - started > 2.0:  # what is over at once needs no line
                say(f"{label}: done in {duration(moment - started)}")
        elif moment - max(started, self._last_plain) > PLAIN_EVERY_S:
            self._last_plain = moment
            in_all = self._in_all()
            say(f"{label}: {done / total:.0%}{f'; {in_all}' if in_all else ''}")


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
