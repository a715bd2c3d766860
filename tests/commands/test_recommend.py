"""`bertbench recommend`, over a stored session."""

import pytest

from bertbench import cli
from bertbench.records import cautions
from tests import factories


@pytest.fixture
def results(tmp_path):
    """A results folder with two models: times, sizes, memory, scores on one task."""
    folder = tmp_path / "results"
    factories.stored_session(
        folder,
        records=[
            factories.size_record("bert"),
            factories.size_record("distilbert", 66_362_880),
            factories.memory_record("bert", 700e6),
            factories.memory_record("distilbert", 500e6),
        ],
        timings=factories.timing_rows({"bert": 0.1, "distilbert": 0.05}),
        scored=[
            ("bert", factories.predictions(0.95)),
            ("distilbert", factories.predictions(0.8, seed=1)),
        ],
    )
    return folder


def recommend(results, *options):
    """Run the command on this folder."""
    return cli.main(["recommend", "--results-dir", str(results), *options])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--max-latency-ms", "80"), 0, "Take distilbert: the best in score within latency 80.0 ms"),
        (("--max-latency-ms", "500"), 0, "Take bert: the best in score"),
        (("--min-score", "0.7", "--task", "sst2"), 0, "Take distilbert: the best in latency within score 70.0"),
        (("--prefer", "memory"), 0, "Take distilbert: the best in memory"),
        (("--max-size-mb", "100"), 1, "None of what was measured stays within size 100.0 MB"),
        (("--max-memory-mb", "510"), 3, "Undecided"),
        (("--max-latency-ms", "80", "--batch-size", "4"), 3, "not known: latency of bert"),
        ((), 0, "latency-bound serving"),
        (("--task", "sst2"), 0, "latency-bound serving"),
    ],
)
def test_recommend(results, capsys, options, code, said):
    """The answer is the title, and the exit code says whether there is one."""
    assert recommend(results, *options) == code
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--max-latency-ms", "-1"), 2, "--max-latency-ms -1: must be above 0"),
        (("--max-size-mb", "nan"), 2, "must be above 0"),
        (("--batch-size", "0", "--prefer", "size"), 2, "--batch-size 0"),
        (("--min-score", "90"), 2, "For 90 points give --min-score 0.9"),
        (("--task", "cola"), 2, "cola"),
        (("--device", "cuda", "--prefer", "size"), 4, "no figures on cuda in"),
    ],
)
def test_what_cannot_be_asked(results, capsys, options, code, said):
    """A wrong option is one line."""
    assert recommend(results, *options) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_scores_of_several_tasks_need_a_task(tmp_path, capsys):
    """Where several tasks were scored, the one that counts must be named."""
    scored = [("bert", factories.predictions(0.9), {"task": factories.task_spec(name)}) for name in ("sst2", "mrpc")]
    factories.stored_session(tmp_path / "results", records=[factories.size_record("bert")], scored=scored)
    assert recommend(tmp_path / "results", "--max-latency-ms", "80") == 2
    assert "name one of them: --task" in capsys.readouterr().err.lower()
    assert recommend(tmp_path / "results", "--max-latency-ms", "80", "--prefer", "latency") == 3


def test_an_empty_folder_is_nothing(tmp_path, capsys):
    """Without a stored session the command that measures is named."""
    assert recommend(tmp_path / "results") == 4
    assert "bertbench compare" in capsys.readouterr().err


def test_rows_are_those_behind_the_figures(results, capsys):
    """CSV has the rows that the advice rests on, with their runs."""
    assert recommend(results, "--max-latency-ms", "80", "--format", "csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {"bert", "distilbert"}
    assert any(",latency," in line for line in lines)


def test_what_the_runs_warn_of_is_told(tmp_path, capsys):
    """A score that says little is no reason to take a model without its warning."""
    fields = {"warnings": (cautions.caution("not-learned", score=50.0, baseline="majority", trivial=50.0),)}
    factories.stored_session(tmp_path / "results", scored=[("bert", factories.predictions(0.5), fields)])
    assert recommend(tmp_path / "results", "--prefer", "score") == 0
    assert "* warning: bert: " in capsys.readouterr().out


def test_failed_runs_alone_are_nothing(tmp_path, capsys):
    """Where nothing but failures is stored nothing can be said of models."""
    factories.stored_session(tmp_path / "results", records=[factories.failed("speed", "bert")])
    for options in ((), ("--prefer", "latency")):
        assert recommend(tmp_path / "results", *options) == 4
        assert "no run in" in capsys.readouterr().err


def test_uses_are_those_of_the_newest_comparison(results, capsys):
    """A newer session of one model alone has nothing to say about uses."""
    factories.stored_session(tmp := results.parent / "one", records=[factories.size_record("bert")])
    factories.move_session(tmp, results, "20261125T120000-abc123")
    assert recommend(results) == 0
    assert "latency-bound serving" in capsys.readouterr().out


def test_a_damaged_session_is_left_out(results, capsys):
    """What cannot be read is said, and the others answer."""
    factories.stored_session(broken := results.parent / "one", timings=factories.timing_rows({"bert": 0.1}))
    factories.move_session(broken, results, "20261125T120000-abc123")
    (sidecar,) = (results / "sessions" / "20261125T120000-abc123").glob("*timings*")
    sidecar.write_bytes(b"damaged")
    assert recommend(results, "--max-latency-ms", "80") == 0
    printed = capsys.readouterr()
    assert "Take distilbert" in printed.out
    assert "session 20261125T120000-abc123 is left out" in printed.err


def test_commands_name_the_folder(tmp_path, capsys):
    """A command to go on with measures into the same folder, whatever it is called."""
    folder = tmp_path / "my own" / "results"
    factories.stored_session(folder, records=[factories.size_record("bert")])
    assert recommend(folder, "--prefer", "latency") == 3
    assert f"--results-dir '{folder}'" in " ".join(capsys.readouterr().out.replace("\n", " ").split())


def test_uses_are_on_the_task_asked_for(tmp_path, capsys):
    """With a task, quality is that on this task alone."""
    models = ("bert", "distilbert")
    scored = [
        (model, factories.predictions(0.9), {"task": factories.task_spec(name)})
        for name in ("sst2", "mrpc")
        for model in models
    ]
    factories.stored_session(
        tmp_path / "results", scored=scored, session=factories.session_record(models, ("sst2", "mrpc"))
    )
    assert recommend(tmp_path / "results", "--task", "mrpc") == 0
    printed = capsys.readouterr().out
    assert "mrpc" in printed
    assert "sst2" not in printed


def test_without_scores_latency_decides_and_that_is_said(tmp_path, capsys):
    """Where nobody was scored, a limit still gets an answer, which says that quality is not known."""
    records = [factories.size_record("bert"), factories.size_record("distilbert", 66_362_880)]
    timings = factories.timing_rows({"bert": 0.1, "distilbert": 0.05})
    factories.stored_session(tmp_path / "results", records=records, timings=timings)
    assert recommend(tmp_path / "results", "--max-latency-ms", "500") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Take distilbert: the best in latency within latency 500 ms" in shown
    assert "no score is stored: latency decides, and quality is not known" in shown


@pytest.mark.parametrize(
    ("options", "taken", "said"),
    [
        (
            (),
            "distilbert",
            "left out: models of the suite demo, which only stands in for others; --suite demo takes them",
        ),
        (("--suite", "demo"), "albert-mini", "Take albert-mini"),
        (("--suite", "base"), "distilbert", "Take distilbert"),
    ],
)
def test_miniatures_stand_in_for_no_released_model(tmp_path, capsys, options, taken, said):
    """The demo that `compare` falls back to never competes with what it stands in for, unless it is asked for."""
    base, demo = tmp_path / "results", tmp_path / "demo"
    factories.stored_session(base, timings=factories.timing_rows({"bert": 0.1, "distilbert": 0.05}))
    factories.stored_session(
        demo,
        timings=factories.timing_rows({"bert-mini": 0.002, "albert-mini": 0.001}),
        session=factories.session_record(("bert-mini", "albert-mini"), suite="demo"),
    )
    factories.move_session(demo, base, "20261124T130000-abc124")
    assert recommend(base, "--prefer", "latency", *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Take {taken}" in shown
    assert said in shown
    assert ("bert-mini" in shown) == (taken == "albert-mini")


def test_a_suite_without_results_is_named(results, capsys):
    """A suite that nothing was measured of is a wrong name."""
    assert recommend(results, "--suite", "dmo") == 2
    assert "dmo" in capsys.readouterr().err
