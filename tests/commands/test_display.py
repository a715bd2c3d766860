"""What people see while they wait."""

from bertbench.commands import _display


def test_plain_lines_where_stderr_is_no_terminal(capsys):
    """Without a terminal there are no bars: a line when a longer step ends, none for a short one."""
    moments = iter([0.0, 1.0, 10.0, 15.0])
    with _display.Display(lambda: next(moments)) as shown:
        shown("short", 0, 1)
        shown("short", 1, 1)
        shown("long", 0, 1)
        shown("long", 1, 1)
    captured = capsys.readouterr()
    assert captured.err == "long: done in 5.0 s\n"
    assert captured.out == ""


def test_lines_go_to_stderr(capsys):
    """Stdout is for results: what is said goes to stderr."""
    with _display.Display() as shown:
        shown.say("a line with [brackets]")
    captured = capsys.readouterr()
    assert captured.err == "a line with [brackets]\n"
    assert captured.out == ""


def test_terminal_gets_bars_without_a_refresh_thread(monkeypatch):
    """In a terminal there is a bar for the present step, drawn only when a step tells how far it is."""
    monkeypatch.setattr(_display.sys.stderr, "isatty", lambda: True, raising=False)
    with _display.Display() as shown:
        shown("first", 1, 2)
        shown("second", 1, 4)
        (task,) = shown._bars.tasks
        assert (task.description, task.completed, task.total) == ("second", 1, 4)
        assert not shown._bars.live.auto_refresh


def test_waiting_is_silent_for_what_takes_no_time(capsys):
    """Quick steps show nothing; one that takes longer than two seconds is named, and its end is said."""
    moment = [0.0]
    waiting = _display.Waiting(lambda: moment[0])
    for done in (1, 2):
        waiting("reading", done, 2)
        moment[0] += 0.5
    assert capsys.readouterr().err == ""
    for second in range(1, 9):
        moment[0] = float(second)
        waiting("reading", second, 8)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading …"
    assert lines[-1].startswith("reading: done in ")


def test_lines_and_labels_hold_no_orders(capsys, monkeypatch):
    """A model's name is text wherever it is shown: it steers no terminal, forges no line, is no markup and no emoji."""
    name = "\x1b[2J\u202ebert\n::error::x [/red] :smile:"
    shown_name = r"\x1b[2J\u202ebert\n::error::x [/red] :smile:"
    _display.say(name)
    _display.show(name)
    assert capsys.readouterr() == (f"{shown_name}\n", f"{shown_name}\n")
    monkeypatch.setattr(_display.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    with _display.Display() as shown:
        shown.say(name)
        shown(name, 1, 2)
        assert shown._bars.tasks[0].description == shown_name
    assert shown_name in capsys.readouterr().err
