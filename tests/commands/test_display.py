"""What people see while they wait."""

from bertbench.commands import _display
from tests import factories


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


def test_the_grid_is_filled_record_by_record(monkeypatch, capsys):
    """In a terminal every model and column has a cell, which waits until a record says what became of it."""
    monkeypatch.setattr(_display.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    with _display.Display() as shown:
        shown.outline(["bert", "albert"], ["size", "sst2", "squad"])
        assert shown._cells["bert"] == {"size": "waiting", "sst2": "waiting", "squad": "waiting"}
        shown.tell(factories.size_record("bert"))
        shown.tell(factories.quality_record("bert", factories.predictions(1.0)))
        shown.tell(factories.failed("quality", "albert", task_name="sst2"))
        shown.tell(factories.failed("quality", "albert", status="skipped", task_name="squad"))
        shown.tell(factories.size_record("stranger"))
        assert shown._cells["bert"] == {"size": "done", "sst2": "100.0", "squad": "waiting"}
        assert shown._cells["albert"] == {"size": "waiting", "sst2": "failed", "squad": "skipped"}
    assert "waiting" in capsys.readouterr().err


def test_a_sample_says_how_much_of_it_is_done():
    """A score of a sample stands beside its size."""
    settings = factories.SETTINGS | {"is_sample": True, "eval_samples": 128, "eval_available": 10570}
    record = factories.quality_record("bert", factories.predictions(1.0), settings=settings)
    assert _display._outcome(record) == "100.0 (128 of 10,570)"


def test_verbose_has_a_line_for_every_cell(capsys):
    """Without a terminal, too, cells are told of where that is asked for."""
    with _display.Display(verbose=True) as shown:
        shown.outline(["bert"], ["size"])
        shown.tell(factories.size_record("bert"))
        shown("step", 0, 1)
        shown("step", 1, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "bert, size: done"
    assert lines[1].startswith("step: done in")


def test_quiet_says_nothing(capsys):
    """Neither steps nor lines nor cells are shown."""
    with _display.Quiet() as shown:
        shown("step", 0, 1)
        shown.say("a line")
        shown.outline(["bert"], ["size"])
        shown.tell(factories.size_record("bert"))
        shown.expect(3)
    assert capsys.readouterr() == ("", "")


def test_a_cell_has_all_of_its_seeds():
    """Scores of several seeds stand side by side, and one that failed is not covered by the next."""
    with _display.Display() as shown:
        shown.outline(["bert", "albert"], ["sst2"])
        for seed, accuracy in ((1, 1.0), (2, 0.0)):
            shown.tell(factories.quality_record("bert", factories.predictions(accuracy), seed=seed))
        shown.tell(factories.failed("quality", "albert", task_name="sst2", seed=1, run_id="one"))
        shown.tell(factories.quality_record("albert", factories.predictions(1.0), seed=2))
        assert shown._cells == {"bert": {"sst2": "100.0, 0.0"}, "albert": {"sst2": "failed"}}


def test_a_cell_does_not_show_what_was_removed():
    """A sample for which a finished run of another session stands leaves the cell; other seeds stay."""
    with _display.Display() as shown:
        shown.outline(["bert"], ["sst2"])
        sample = factories.quality_record("bert", factories.predictions(0.0), run_id="sample")
        shown.forget(sample)  # of which nothing was told
        shown.tell(sample)
        shown.tell(factories.quality_record("bert", factories.predictions(1.0), run_id="of another seed"))
        shown.forget(sample)
        shown.tell(factories.quality_record("bert", factories.predictions(1.0), run_id="finished before"))
        assert shown._cells == {"bert": {"sst2": "100.0"}}


def test_what_is_skipped_is_not_green():
    """A cell that was left out is no success."""
    assert [_display._style(text) for text in ("91.2", "skipped", "failed")] == ["green", "yellow", "red"]


def test_what_is_being_measured_is_seen_in_the_grid():
    """A cell that is waiting runs; one of which something is known, such as a first block, says that more comes."""
    with _display.Display() as shown:
        shown.outline(["bert", "albert"], ["size", "sst2"])
        shown.begin(["bert", "stranger"], "size")
        assert shown._cells["bert"] == {"size": "running", "sst2": "waiting"}
        shown.tell(factories.size_record("bert"))
        shown.tell(factories.quality_record("bert", factories.predictions(1.0)))
        for _ in range(2):
            shown.begin(["bert"], "sst2")
        assert shown._cells["bert"] == {"size": "done", "sst2": "100.0 …"}
        assert shown._cells["albert"] == {"size": "waiting", "sst2": "waiting"}


def test_a_listener_is_told_of_every_record(capsys):
    """Whoever listens is told, quiet or not; what it answers is said."""
    told = []

    def listen(record):
        told.append(record.run_id)
        return ["cannot log"]

    record = factories.size_record("bert")
    with _display.Display(listen=listen) as shown:
        shown.tell(record)
    assert capsys.readouterr().err == "cannot log\n"
    with _display.Quiet(listen) as silent:
        silent.tell(record)
    assert capsys.readouterr().err == ""
    assert told == [record.run_id] * 2
