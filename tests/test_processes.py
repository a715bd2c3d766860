"""Child processes: answers come back, silence has a limit, a death has a cause, and nothing outlives its block."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bertbench import processes
from bertbench.processes import Child, ChildDiedError, Death

ECHO = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
while True:
    connection.send(connection.recv())
"""


def answer(connection, first):
    """Say what is true of this process, then send back whatever comes; end with the code of an integer."""
    processes.behave_as_child()
    connection.send((first, os.getpid(), signal.getsignal(signal.SIGINT), hasattr(sys.modules["__main__"], "__file__")))
    while True:
        message = connection.recv()
        if isinstance(message, int):
            sys.exit(message)
        connection.send(message)


def fail(connection):
    """End before anything was said."""
    del connection
    os._exit(7)


@pytest.fixture
def child():
    """A child that answers, whose first message has been taken."""
    with Child.start(answer, "hello", name="bertbench test") as child:
        child.receive(60)
        yield child


def is_gone(pid):
    """True if there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("fork", [None, pytest.param(False, marks=pytest.mark.slow)])
def test_a_child_answers_and_ends_with_its_block(fork):
    """Arguments arrive, it ignores Ctrl-C, knows nothing of the calling script, and is gone after the block."""
    with Child.start(answer, "hello", name="bertbench test", fork=fork) as child:
        first, pid, handler, has_script = child.receive(60)
        assert (first, pid, handler, has_script) == ("hello", child.pid, signal.SIG_IGN, False)
        child.send("again")
        assert child.receive() == "again"
        assert child.is_alive()
    assert is_gone(pid)
    assert not child.is_alive()
    child.close()


def test_silence_has_a_limit(child):
    """A child that says nothing in time is told from one that is dead, and can still answer."""
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        child.receive(0.05)
    child.send("late")
    assert child.receive(10) == "late"


@pytest.mark.parametrize(
    ("sent", "cause"),
    [(signal.SIGTERM, "signal 15"), (signal.SIGKILL, "signal 9, probably out of memory")],
)
def test_a_killed_child_names_its_signal(child, sent, cause):
    """A request to a dead child is no error; its answer is the cause of death."""
    os.kill(child.pid, sent)
    child.send("lost")
    with pytest.raises(ChildDiedError) as caught:
        child.receive(10)
    assert caught.value.death == Death(-sent)
    assert str(caught.value) == cause
    child.send("still no error")


def test_exit_codes_are_told(child):
    """A child that ends by itself says with which code, before its first message too."""
    child.send(3)
    with pytest.raises(ChildDiedError, match="exit code 3"):
        child.receive(10)
    with Child.start(fail, name="bertbench test") as failing, pytest.raises(ChildDiedError, match="exit code 7"):
        failing.receive(10)


def test_an_error_in_the_block_ends_the_child():
    """Nothing is left running where the parent fails."""
    pids = []

    def stumble():
        with Child.start(answer, "hello", name="bertbench test") as child:
            pids.append(child.receive(60)[1])
            raise KeyError

    with pytest.raises(KeyError):
        stumble()
    assert is_gone(*pids)


def test_what_cannot_be_sent_starts_nothing():
    """Arguments that cannot be pickled raise, and the process that was begun is ended."""
    with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
        Child.start(answer, lambda: None, name="bertbench test")


def test_a_command_is_a_child_too():
    """A started interpreter answers over its pipe, dies with a code, and is killed at the end of the block."""
    command = [sys.executable, "-c", ECHO]
    with Child.launch(command, dict(os.environ)) as child:
        child.send("hello")
        assert child.receive(60) == "hello"
        pid = child.pid
    assert is_gone(pid)
    with (
        Child.launch([sys.executable, "-c", "raise SystemExit(4)"], dict(os.environ)) as child,
        pytest.raises(ChildDiedError, match="exit code 4"),
    ):
        child.receive(60)


def test_causes_in_words():
    """Only the signal by which Linux frees memory counts as such."""
    assert [Death(code).cause for code in (0, -15, None)] == ["exit code 0", "signal 15", "exit code None"]
    assert [Death(code).is_out_of_memory for code in (-9, -15, 9, None)] == [True, False, False, False]


def test_volunteering_needs_linux(tmp_path):
    """Where the system has no such file nothing fails."""
    processes.volunteer_for_oom(tmp_path)
    assert (tmp_path / "oom_score_adj").read_text() == "1000"
    processes.volunteer_for_oom(tmp_path / "none")


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux")
def test_children_are_killed_first(child):
    """A child has volunteered by the time it has answered."""
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip() == "1000"


def test_closing_does_not_wait_for_a_busy_child(child):
    """A child that is stopped is killed all the same."""
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    child.close()
    assert time.monotonic() - began < 5


def own_padding(connection):
    """Say how long the padding of this process's environment is."""
    connection.send(len(os.environ[processes.PADDING]))


def test_each_child_has_a_padding_of_its_own():
    """Children of one server have environments of different sizes; the parent knows them, and keeps none itself."""
    with Child.start(own_padding, name="a") as first, Child.start(own_padding, name="b") as second:
        assert first.receive(60) == first.padding.own
        assert second.receive(60) == second.padding.own
    assert first.padding.own != second.padding.own or first.padding.own < 2  # once in 4,096 times
    assert first.padding.server == second.padding.server
    assert (first.padding.server is not None) == processes.has_fork_server()
    assert processes.PADDING not in os.environ


@pytest.mark.slow
@pytest.mark.skipif(not processes.has_fork_server(), reason="there is no fork server")
def test_another_server_has_another_padding():
    """A fresh server draws its own; a spawned process has none."""
    drawn = set()
    for _ in range(3):
        with Child.start(own_padding, name="a") as child:
            child.receive(60)
            drawn.add(child.padding.server)
        processes.renew()
    assert len(drawn) > 1
    with Child.start(own_padding, name="a", fork=False) as child:
        assert child.receive(60) == child.padding.own
        assert child.padding.server is None


def test_a_launched_command_is_padded_too():
    """Two commands of one environment get sizes of their own, and nothing else is changed."""
    code = (
        "import os, sys; from multiprocessing.connection import Connection; "
        "Connection(int(sys.argv[1])).send(dict(os.environ))"
    )
    drawn = []
    for _ in range(8):
        with Child.launch([sys.executable, "-c", code], {"A": "1"}) as child:
            variables = child.receive(60)
            assert len(variables.pop(processes.PADDING)) == child.padding.own
            drawn.append(child.padding.own)
    assert variables["A"] == "1"
    assert len(set(drawn)) > 4


def test_a_padding_of_before_comes_back(monkeypatch):
    """A child that starts children itself keeps its own variable."""
    monkeypatch.setenv(processes.PADDING, "own")
    with processes._lengthened(5):
        assert os.environ[processes.PADDING] == "xxxxx"
    assert os.environ[processes.PADDING] == "own"
