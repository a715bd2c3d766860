"""How processes are started that neither hear Ctrl-C nor run the calling script again.

Not aware of what they do. They are forked from a server that has imported what they need; where there is none (macOS,
Windows) they are spawned, which takes seconds each.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def context() -> Any:
    """The multiprocessing context that processes and their pipes come from."""
    return multiprocessing.get_context("forkserver" if has_fork_server() else "spawn")


def preload(modules: Iterable[str]) -> None:
    """Name what the fork server imports when it starts; without one, nothing."""
    if has_fork_server():
        context().set_forkserver_preload(list(dict.fromkeys(modules)))


def has_fork_server() -> bool:
    """True where workers are forked. Not on macOS, whose system libraries do not work in a forked process."""
    return sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()


def begin() -> None:
    """Start the fork server, which imports what it was told while the caller goes on; without one, nothing."""
    if has_fork_server():
        from multiprocessing import forkserver

        with _without_main():
            _deafly(forkserver.ensure_running)


def renew() -> None:
    """End the fork server; the next process comes from a fresh one, with another address layout and hash seed."""
    if has_fork_server():
        from multiprocessing import forkserver

        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001 (there is no public way)


def start(process: Any) -> None:
    """Start a worker that neither hears Ctrl-C, not even while it imports, nor runs the calling script."""
    with _without_main():
        if has_fork_server():
            from multiprocessing import forkserver

            _deafly(forkserver.ensure_running)
            process.start()
        else:
            _deafly(process.start)


def _deafly(begin: Callable[[], None]) -> None:
    """Call `begin` while SIGINT is blocked: what it starts inherits the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        begin()
        return
    _start_tracker()  # now, since it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        begin()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Start multiprocessing's tracker of named semaphores, and have it free them without a word.

    Workers are killed, so what their libraries have registered is still there in the end; the tracker takes its warning
    filters from this process's options when it starts.
    """
    from multiprocessing import resource_tracker

    quiet = "ignore:resource_tracker"
    sys.warnoptions.append(quiet)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the calling script, which multiprocessing would run again in each child.

    Workers need nothing of it, and a script without a main guard would start over.
    """
    main: Any = sys.modules["__main__"]
    hidden = {key: main.__dict__.pop(key) for key in ("__file__", "__spec__") if key in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


# Whether several processes were started together, by torchrun or `accelerate launch`, and which of them this is.
#
# Loads nothing.

SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what both launchers set


def world_size() -> int:
    """How many processes there are: 1 where nothing started several."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in SAID) else 1


def rank() -> int:
    """Which one this is. 0 plans, evaluates, stores and reports."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_world_size() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) if world_size() > 1 else 1


def is_alone_by_mistake() -> bool:
    """True where `accelerate launch --cpu` was asked for several processes: it starts one, and says nothing."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_PORT" in os.environ
    return asked and "WORLD_SIZE" not in os.environ


def own_device(device: str) -> str:
    """The device of this process where the first one has `device`: of GPUs, each has its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', rank())}" if world_size() > 1 and device.startswith("cuda") else device
