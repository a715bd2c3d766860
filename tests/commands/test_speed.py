"""`bertbench speed`: what each option asks for, and what is refused before anything is loaded or timed."""

import pytest
import typer
from typer.testing import CliRunner

from bertbench import cli
from bertbench.commands import speed as module
from bertbench.commands._study import Answer, exit_code
from bertbench.errors import NothingMeasuredError, UnavailableError
from bertbench.records import environment
from bertbench.records.stored import StoredSession
from bertbench.report.row import Report
from bertbench.specs.timing import ShapeSpec
from bertbench.speed import backend
from tests import factories

PAPER = "distilbert-table-3"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Builds the request of a command line and measures nothing: `asked("--batch-sizes", "1,8")`."""
    found = []
    monkeypatch.setattr(module, "_answer", lambda _, request: found.append(request))
    monkeypatch.setattr(module, "finish", lambda *_: None)
    app = typer.Typer()
    app.command()(module.speed)

    def build(*arguments, models="bert-mini,albert-mini"):
        chosen = ("--models", models) if models else ()
        command = [*chosen, "--results-dir", str(tmp_path), *map(str, arguments)]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        build.said = done.stderr.splitlines()
        return found[-1]

    return build


@pytest.fixture
def error(capsys, tmp_path, hub_not_asked):
    """The one line that a command line is refused with, exit code 2; nothing is asked of the hub."""

    def refuse(*arguments, code=2):
        command = ["speed", "--models", "bert-mini", "--results-dir", str(tmp_path), *map(str, arguments)]
        assert cli.main(command) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = (line for line in captured.err.splitlines() if line)
        assert line.startswith("Error: ")
        return line.removeprefix("Error: ")

    return refuse


def labels(request):
    """The shapes asked for."""
    return [shape.label for shape in request.timing.shapes]


def test_defaults(asked):
    """One shape of 1x128 on PyTorch in fp32, ten rounds, everything but quality, random weights where there are none."""
    request = asked()
    assert labels(request) == ["1x128"]
    assert (request.timing.rounds, request.timing.precision, request.timing.warmup_passes) == (10, None, None)
    assert (request.options.backends, request.options.dtypes, request.options.dtype) == (("eager",), ("fp32",), "fp32")
    assert request.kinds == ("size", "speed", "memory")
    assert (request.command, request.tasks, request.may_be_random) == ("speed", (), True)
    assert [spec.name for spec in request.models] == ["bert-mini", "albert-mini"]
    assert (request.reference, request.options.threads) == ("bert-mini", environment.default_threads())
    assert request.options.server_bound_s is None


def test_models_default_to_the_base_suite(asked):
    """Without --models the three that the paper table compares are timed, against the suite's reference."""
    request = asked(models=None)
    assert [spec.name for spec in request.models] == ["bert", "distilbert", "albert"]
    assert request.reference == "bert"


def test_suite_gives_models_and_reference(asked):
    """Another suite's models are timed, in the shapes that the options say."""
    request = asked("--suite", "demo", models=None)
    assert request.suite.name == "demo"
    assert labels(request) == ["1x128"]


def test_sweep(asked):
    """Every batch size with every length."""
    request = asked("--batch-sizes", "1,8", "--sequence-lengths", "32,128")
    assert labels(request) == ["1x32", "1x128", "8x32", "8x128"]


def test_back_ends_and_formats(asked, monkeypatch):
    """They are taken in their order; with several back-ends five rounds are enough unless more are asked for."""
    monkeypatch.setattr(backend, "backends", lambda: ["eager", "fake"])
    request = asked("--backends", "fake,eager", "--dtypes", "bf16,fp32")
    assert (request.options.backends, request.options.dtypes) == (("fake", "eager"), ("bf16", "fp32"))
    assert request.options.dtype == "bf16"
    assert request.timing.rounds == 5
    assert asked("--backends", "fake,eager", "--rounds", 12).timing.rounds == 12


def test_rounds_and_precision(asked):
    """Rounds are counted, or added until intervals are narrow."""
    assert asked("--rounds", "3").timing.rounds == 3
    timing = asked("--precision", "2%").timing
    assert (timing.precision, timing.rounds) == (0.02, 64)


def test_task_adds_natural_lengths(asked):
    """With a task the fixed shapes come first and its real lengths after them."""
    request = asked("--task", "demo-sentiment", "--batch-sizes", "1,4")
    assert labels(request) == ["1x128", "4x128", "1xnatural", "4xnatural"]
    assert [task.name for task in request.tasks] == ["demo-sentiment"]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("fixed", ["1x128", "8x128"]),
        ("natural", ["1xnatural", "8xnatural"]),
        ("single-stream", ["1xnatural"]),
        ("server", ["1xnatural"]),
        ("offline", ["1xsplit", "8xsplit"]),
        ("offline,fixed", ["1x128", "8x128", "1xsplit", "8xsplit"]),
        ("natural,server", ["1xnatural", "8xnatural"]),
        ("fixed,fixed", ["1x128", "8x128"]),
    ],
)
def test_scenarios(asked, scenario, expected):
    """Each scenario has its shapes; one input a query in those of MLPerf that stream."""
    assert labels(asked("--task", "demo-sentiment", "--scenario", scenario, "--batch-sizes", "1,8")) == expected


@pytest.mark.parametrize("rounds", [2, 5, 8, 64, 100])
def test_natural_lengths_have_turns_for_a_p90(asked, rounds):
    """Over all rounds there are 64 turns of natural length or more, whatever the number of rounds."""
    request = asked("--task", "demo-sentiment", "--rounds", rounds)
    natural = next(shape for shape in request.timing.shapes if shape.sequence_length is None)
    assert natural.turns * rounds >= 64
    assert (natural.turns - 1) * rounds < 64


def test_natural_turns_with_a_precision(asked):
    """The eight rounds that are always taken must do for a p90."""
    shape = asked("--task", "demo-sentiment", "--scenario", "natural", "--precision", "5%").timing.shapes[0]
    assert shape.turns * 8 >= 64


def test_server_bound(asked):
    """Milliseconds become seconds; without a bound one is derived from what the models take."""
    server = ("--task", "demo-sentiment", "--scenario", "server")
    assert asked(*server, "--latency-bound", "50").options.server_bound_s == 0.05
    assert asked(*server).options.server_bound_s == 0


def test_other_options(asked, tmp_path):
    """Threads, time, length, data and freshness are passed on."""
    options = asked("--threads", 1, "--max-minutes", 2, "--max-length", 64, "--data-dir", tmp_path, "--fresh").options
    assert (options.threads, options.max_minutes, options.max_length, options.data_dir, options.fresh) == (
        1, 2.0, 64, tmp_path, True,
    )  # fmt: skip


def test_reference_is_added(asked):
    """What ratios refer to is timed too, first."""
    request = asked("--reference", "distilbert-mini")
    assert [spec.name for spec in request.models] == ["distilbert-mini", "bert-mini", "albert-mini"]
    assert request.reference == "distilbert-mini"


def test_paper(asked):
    """A published protocol decides task, batch size, device, scenario, models and reference."""
    request = asked("--paper", PAPER, models=None)
    assert [spec.name for spec in request.models] == ["bert", "distilbert"]
    assert request.timing.shapes == (ShapeSpec(batch_size=1, sequence_length=None, whole_split=True),)
    assert ([task.name for task in request.tasks], request.reference) == (["stsb"], "bert")
    assert (request.options.paper, request.options.device, request.timing.rounds) == (PAPER, "cpu", 5)


def test_paper_with_models_and_rounds_of_ones_own(asked):
    """Other models may repeat the protocol, in as many rounds as wanted."""
    request = asked("--paper", PAPER, "--rounds", "3", "--reference", "albert-mini", models="albert-mini,bert-mini")
    assert [spec.name for spec in request.models] == ["albert-mini", "bert-mini"]
    assert (request.timing.rounds, request.reference) == (3, "albert-mini")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--scenario", "fixed"), ("--task", "rte"), ("--batch-sizes", "8"), ("--precision", "2%")],
)
def test_paper_decides(error, option, value):
    """What the protocol decides cannot be given beside it."""
    assert error("--paper", PAPER, option, value) == f"--paper {PAPER} decides {option}. Leave {option} out"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--batch-sizes", "0"), "--batch-sizes 0: must be 1 or more"),
        (("--batch-sizes", "4097"), "--batch-sizes 4097: must be 1 or more, 4,096 at most"),
        (("--batch-sizes", "1,1"), "a number is given twice"),
        (("--sequence-lengths", "0"), "--sequence-lengths 0: must be 1 or more"),
        (("--sequence-lengths", "-5"), "--sequence-lengths -5: must be 1 or more"),
        (("--sequence-lengths", "1.5"), "expected whole numbers"),
        (("--sequence-lengths", ""), "expected whole numbers"),
        (("--backends", "eagr"), "unknown back-end 'eagr'; did you mean 'eager'?"),
        (("--backends", "fake"), "unknown back-end 'fake'"),
        (("--backends", ","), "--backends: no name given"),
        (("--dtypes", "bf61"), "unknown number format 'bf61'; did you mean 'bf16'?"),
        (("--dtypes", "fp32,fp32"), "name each number format once"),
        (("--scenario", "offlin", "--task", "demo-sentiment"), "unknown scenario 'offlin'; did you mean 'offline'?"),
        (("--scenario", ","), "--scenario: no name given"),
        (("--scenario", "natural"), "--scenario natural takes real texts. Name a task"),
        (("--scenario", "fixed,server"), "--scenario server takes real texts"),
        (("--task", "demo-sentimnt"), "unknown task 'demo-sentimnt'; did you mean 'demo-sentiment'?"),
        (("--task", "demo-sentiment", "--max-length", "2"), "--max-length 2: "),
        (("--precision", "200%"), "--precision 200%: must lie between 0.1% and 50%"),
        (("--precision", "2%", "--rounds", "9"), "--precision decides the number of rounds"),
        (("--precision", "2%", "--task", "demo-sentiment", "--scenario", "offline"), "--precision may end before a whole split"),
        (("--rounds", "1"), "--rounds 1: one round says nothing about the spread"),
        (("--rounds", "0"), "--rounds 0: must be a number above 0"),
        (("--threads", "0"), "--threads 0: must be a number above 0"),
        (("--max-minutes", "0"), "--max-minutes 0.0: must be a number above 0"),
        (("--max-minutes", "nan"), "--max-minutes nan: must be a number above 0"),
        (("--latency-bound", "5"), "--latency-bound belongs to --scenario server"),
        (("--scenario", "server", "--task", "demo-sentiment", "--latency-bound", "-1"), "--latency-bound -1.0: must be"),
        (("--device", "tpu"), "unknown device 'tpu'; did you mean 'cpu'?"),
        (("--reference", "bert-mni"), "unknown model 'bert-mni'; did you mean 'bert-mini'?"),
        (("--suite", "bse"), "unknown suite 'bse'; did you mean 'base'?"),
        (("--paper", "distilbert-table-4"), "unknown paper 'distilbert-table-4'; did you mean 'distilbert-table-3'?"),
        (("--paper", "albert-table-1"), "--paper albert-table-1: publishes no times. Use `bertbench anatomy --paper"),
        (("--fresh", "--from-store"), "--fresh and --from-store contradict each other"),
        (("--output", "/nowhere/at/all.csv"), "--output /nowhere/at/all.csv: no folder"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(error, arguments, says):
    """What cannot be meant is refused at once, naming the option and what could be meant; exit code 2."""
    assert says in error(*arguments)


def test_back_end_that_is_not_installed(error, monkeypatch):
    """An optional back-end that is absent says how to install it."""

    def check(name, _):
        raise UnavailableError(f"back-end {name}: no module", 'install it: pip install "bertbench[some]"')

    monkeypatch.setattr(backend.exports, "check", check)
    assert error("--backends", "eager") == 'back-end eager: no module. Install it: pip install "bertbench[some]"'


def test_from_store_without_a_session(error):
    """Only reading, with nothing stored, is exit code 4."""
    assert "no complete session of bert-mini" in error("--from-store", code=NothingMeasuredError.exit_code)


def test_what_was_timed_elsewhere_can_be_read(error, monkeypatch):
    """--from-store looks for a session of a back-end and a device that are not here, as nothing is run."""

    def check(name, _):
        raise UnavailableError(f"back-end {name}: no module")

    monkeypatch.setattr(backend.exports, "check", check)
    for asked in (("--backends", "onnxruntime"), ("--device", "mps")):
        assert "no complete session of bert-mini" in error(*asked, "--from-store", code=NothingMeasuredError.exit_code)


@pytest.mark.parametrize(("more", "warned"), [(1, True), (0, False)])
def test_more_threads_than_cores_are_warned_of(asked, more, warned):
    """They are taken as asked, with a word on what that does."""
    cores = environment.usable_cores()
    threads = cores + more
    assert asked("--threads", threads).options.threads == threads
    expected = [f"--threads {threads}: only {cores} cores can be used; threads will wait for each other"]
    assert asked.said == (expected if warned else [])


def test_back_ends_left_out_of_all_are_said(asked, monkeypatch):
    """'all' takes what runs here and says what does not."""
    monkeypatch.setattr(backend, "backends", lambda: ["eager", "fake"])

    def check(name, _):
        if name == "fake":
            raise UnavailableError("the extra 'some' is not installed")

    monkeypatch.setattr(backend.exports, "check", check)
    assert asked("--backends", "all").options.backends == ("eager",)
    assert asked.said == ["fake is left out: the extra 'some' is not installed"]


def test_help_shows_the_options_of_the_issue(capsys):
    """Everything the command can be asked is in its help."""
    assert cli.main(["speed", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--models", "--scenario", "--backends", "--batch-sizes", "--sequence-lengths", "--device", "--dtypes",
                   "--threads", "--max-minutes", "--precision", "--rounds", "--paper", "--latency-bound", "--task"):  # fmt: skip
        assert option in text


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ((factories.record("speed"),), 0),
        ((factories.record("speed", settings={"failed_shapes": {"1x600": ["MeasurementError", "too long"]}}),), 1),
        ((factories.record("speed", settings={"failed_shapes": {}}),), 0),
        ((factories.record("size"), factories.failed("speed")), 1),
        ((factories.record("speed"), factories.failed("speed", "albert")), 0),
        ((factories.failed("speed"),), 4),
    ],
)
def test_exit_code(records, code):
    """1 if a cell of a model that was asked for failed, were it only one of its shapes; 4 if nothing was measured."""
    stored = StoredSession(factories.session_record(), records, None)
    assert exit_code([Answer(Report("", ()), stored, ("bert",))]) == code
