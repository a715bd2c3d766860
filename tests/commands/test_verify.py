"""`bertbench verify`: exit codes, commands for what is missing, measuring on demand, users' claims, bad input."""

import csv
import io
import json
import shlex
import time
from dataclasses import replace

import pytest
import typer

from bertbench import cli
from bertbench.commands.verify import Verification, exit_code
from bertbench.errors import MeasurementError
from bertbench.records.record import Measurement
from bertbench.records.store import Store
from bertbench.specs.catalog import Catalog
from bertbench.specs.claim_checks import load
from tests import factories

RIGHT = """\
wording: ours answers within 50 ms
source: service agreement
definition: median latency of one request of 128 tokens
model: distilbert
quantity: latency
statistic: value
relation: at_most
expected: 0.05
margin: 0.0
"""
SIZE = "distilbert-40-percent-smaller"


def released(model):
    """The spec of a packaged model as records keep it."""
    return Catalog().model(model).model_dump(mode="json")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with stored sizes of the released architectures."""
    monkeypatch.chdir(tmp_path)
    counts = {"bert": 109_482_240, "distilbert": 66_362_880, "albert": 11_683_584}
    records = [replace(factories.size_record(model, count), model=released(model)) for model, count in counts.items()]
    factories.stored_session(tmp_path / "results", records=records, session=factories.session_record(tuple(counts)))
    return tmp_path


def add_claim(project, text, name="ours"):
    """A claim of the project's own."""
    folder = project / "configs" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


def add_times(project, seconds):
    """A later session that timed some models."""
    store = project / "more"
    rows = factories.timing_rows(seconds)
    sidecar = Store(store).write_sidecar(factories.SESSION_ID, "timings", rows)
    records = [replace(factories.speed_record(model, rows, sidecar), model=released(model)) for model in seconds]
    factories.stored_session(store, records=records, session=factories.session_record(tuple(seconds)))
    factories.move_session(store, project / "results", "20261125T120000-abc123")


def verdicts(capsys):
    """The column `verdict` of the CSV on stdout, by claim."""
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return dict(row["verdict"].split(": ") for row in rows)


def test_settled_claims_as_expected_exit_with_0(project, capsys):
    """Verdicts that are the expected ones are no failure, and CSV carries claim and verdict."""
    assert cli.main(["verify", "--claims", f"{SIZE},albert-much-smaller", "--format", "csv"]) == 0
    assert verdicts(capsys) == {SIZE: "supported", "albert-much-smaller": "supported"}


def test_refuted_claim_exits_with_1_unless_that_was_expected(project, capsys):
    """Without an expected verdict refuting is failing; with one only another verdict is."""
    smaller = RIGHT.replace("latency", "parameters").replace("0.05", "1000000")
    add_claim(project, smaller)
    assert cli.main(["verify", "--claims", "ours"]) == 1
    add_claim(project, f"{smaller}expect: refuted\n")
    assert cli.main(["verify", "--claims", "ours"]) == 0
    assert "refuted (as expected)" in " ".join(capsys.readouterr().out.split())
    add_claim(project, f"{smaller.replace('1000000', '1e9')}expect: refuted\n")
    assert cli.main(["verify", "--claims", "ours"]) == 1
    assert "a surprise" in capsys.readouterr().out


def test_inconclusive_exits_with_3(project, capsys):
    """An interval that reaches over the bound decides nothing, which has an exit code of its own."""
    add_times(project, {"distilbert": 0.05})
    rows = factories.timing_rows({"distilbert": 0.05})
    median = rows[~rows["warmup"]].query("shape == '1x128'").groupby("round")["seconds"].median().mean()
    add_claim(project, RIGHT.replace("0.05", str(median)))
    assert cli.main(["verify", "--claims", f"ours,{SIZE}"]) == 3
    assert "inconclusive" in capsys.readouterr().out


def test_nothing_measured_exits_with_4_and_says_what_would(tmp_path, monkeypatch, capsys):
    """With an empty store every claim is listed with a command that exists and would measure it."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["verify", "--format", "json", "--results-dir", "elsewhere"]) == 4
    rows = json.loads(capsys.readouterr().out)["rows"]
    commands = [row["note"].partition("measure it: ")[2] for row in rows if "measure it: " in (row["note"] or "")]
    assert len(commands) == len(Catalog().entries("claims"))
    parser = typer.main.get_command(cli.app)
    context = typer.Context(parser)
    for command in commands:
        name, *words = shlex.split(command)[1:]
        parser.get_command(context, name).make_context(name, words)
        assert "--results-dir elsewhere" in command


def test_users_claim_about_own_model_is_judged(project, capsys):
    """An internal SLA is a claim: a YAML in ./configs/claims, judged by the interval of the model's own latency."""
    add_times(project, {"distilbert": 0.03})
    add_claim(project, RIGHT)
    assert cli.main(["verify", "--claims", "ours", "--format", "csv"]) == 0
    assert verdicts(capsys) == {"ours": "supported"}


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("format_", ["terminal", "markdown", "json", "csv"])
def test_every_format_at_every_width(project, monkeypatch, capsys, format_, width):
    """Every format shows every claim; text is no wider than the terminal."""
    monkeypatch.setenv("COLUMNS", width)
    assert cli.main(["verify", "--format", format_]) == 0
    out = capsys.readouterr().out
    assert all(name in out.replace("\\", "") for name in Catalog().entries("claims"))
    if format_ == "terminal":
        assert max(map(len, out.splitlines())) <= int(width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("latency", "latenzy"), "quantity 'latenzy'; did you mean 'latency'"),
        (("margin: 0.0\n", ""), "key 'margin' is missing"),
        (("model: distilbert", "model: distilbrt"), "did you mean 'distilbert'"),
        (("statistic: value", "statistic: median"), "key 'statistic': input should be"),
        (("statistic: value", "statistic: ratio"), "key 'reference': missing"),
        (("quantity: latency", "quantity: latency\ntask: stbs"), "did you mean 'stsb'"),
        (("quantity: latency", "quantity: latency\nreading: p9"), "key 'reading': 'p9' of latency"),
        (("quantity: latency", "quantity: accuracy"), "key 'task': missing"),
        (("expected: 0.05", "expected: .nan"), "finite"),
        (("wording: ", "wording: ["), "not valid YAML"),
    ],
)
def test_broken_claim_is_one_clear_line(project, capsys, change, message):
    """Names file and key, with a suggestion where there is one; `validate` finds it too; it matters to nothing else."""
    add_claim(project, RIGHT.replace(*change))
    assert cli.main(["verify", "--claims", "ours"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "configs/claims/ours.yaml" in line
    assert message in line
    assert cli.main(["validate"]) == 2
    assert "ours.yaml" in capsys.readouterr().out
    assert cli.main(["verify", "--claims", SIZE]) == 0
    assert cli.main(["verify"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--claims", "albert-mutch-smaller"], "did you mean 'albert-much-smaller'"),
        (["--claims", ","], "no claim is named"),
        (["--measure", "--from-store"], "contradict"),
        (["--measure", "--max-minutes", "0"], "--max-minutes 0.0: must be a number above 0"),
    ],
)
def test_wrong_options_are_refused(project, capsys, options, message):
    """Unknown claims and options that cannot be are refused before anything is judged."""
    assert cli.main(["verify", *options]) == 2
    assert message in capsys.readouterr().err


def measured(folder, measure, claims, minutes=10.0, clock=time.monotonic):
    """The verification after measuring what `claims` need, each request of which `measure` answers."""
    given_study = factories.answered(measure, Store(folder / "results"), "verify")
    verification = Verification(given_study, load(",".join(claims), given_study.catalog), clock)
    verification.measure(minutes, clock())
    return verification


def notes_of(verification):
    """What its report says of the claims, in their order."""
    return [row.note for row in verification.report().rows]


def test_measure_fills_what_is_missing_and_only_that(project):
    """Claims that have their evidence are left alone; of the others one session measures what it can, of their kinds only."""
    asked = []

    def measure(request):
        asked.append(request)
        add_times(project, {"albert": 0.16, "bert": 0.16, "distilbert": 0.08})

    verification = measured(project, measure, [SIZE, "distilbert-for-speed", "albert-infers-faster"], minutes=5.0)
    (request,) = asked
    assert {spec.name for spec in request.models} == {"bert", "distilbert", "albert"}
    assert request.kinds == ("size", "speed")
    assert request.options.max_minutes <= 5
    assert [shape.label for shape in request.timing.shapes] == ["1x128"]
    assert request.may_be_random
    assert [proof.verdict for proof in verification.proofs if proof.claim.name == SIZE] == ["supported"]


def test_what_is_settled_is_not_measured(project, capsys):
    """With evidence for all claims --measure measures nothing, and the verdicts are as without it."""
    assert cli.main(["verify", "--measure", "--claims", SIZE, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert SIZE in captured.out
    assert "measuring for" not in captured.err


def test_kinds_that_are_measured_are_those_of_the_claim(tmp_path):
    """Size alone for counts and beside everything else, as it tells the architecture; memory for memory; whole fine-tuning with all seeds for quality."""
    asked = []
    claims = [SIZE, "albert-for-memory-training", "distilbert-60-percent-faster", "albert-trains-faster"]
    assert exit_code(measured(tmp_path, asked.append, claims).proofs) == 4
    size, memory, speed, quality = asked
    assert (size.kinds, memory.kinds, speed.kinds, quality.kinds) == (
        ("size",), ("size", "memory"), ("size", "speed"), ("size", "quality"),
    )  # fmt: skip
    assert [shape.label for shape in memory.timing.shapes] == ["8x128"]
    assert [(shape.label, task.name) for shape in speed.timing.shapes for task in speed.tasks] == [("1xsplit", "stsb")]
    assert speed.options.device == "cpu"
    assert quality.options.finetune
    assert quality.options.seeds == (0, 1, 2)
    assert quality.options.max_train_minutes == 2  # times of cut training compare as well
    assert [task.name for task in quality.tasks] == ["sst2"]


def test_inference_alone_measures_no_training_step(tmp_path):
    """A claim on the memory of inference, at whatever shape, costs no training step, which takes many times as much."""
    asked = []
    claims = ["albert-for-memory-large-batches", "albert-for-memory-training"]
    verification = measured(tmp_path, asked.append, claims)
    assert {(one.command, one.timing.shapes[0].label) for one in asked} == {("verify", "32x512"), ("speed", "8x128")}
    assert all(one.options.fresh for one in asked)
    assert "bertbench verify --measure --claims albert-for-memory-large-batches" in notes_of(verification)[0]


def test_one_measurement_serves_all_that_it_settles(project):
    """What an earlier measurement has given is not measured again for another claim."""
    shapes = []

    def measure(request):
        shapes.append([shape.label for shape in request.timing.shapes])
        values = {"training": 1e9, "optimizer_state": 1e8}
        found = tuple(
            Measurement("peak_memory", "byte", (value,), statistic=name, batch_size=8, sequence_length=128)
            for name, value in values.items()
        )
        records = [
            replace(factories.record("memory", model, measurements=found), model=released(model))
            for model in ("albert", "distilbert")
        ]
        factories.stored_session(
            project / "more", records=records, session=factories.session_record(("albert", "distilbert"))
        )
        factories.move_session(project / "more", project / "results", "20261125T120000-abc123")

    measured(project, measure, ["albert-for-memory-training", "albert-for-memory-optimizer-state"])
    assert shapes == [["8x128"]]


def test_what_cannot_be_measured_stays_so_with_the_reason(tmp_path):
    """A failing measurement costs its own claims only, and the reason stands in the report."""

    def measure(request):
        if request.kinds == ("size",):
            raise MeasurementError("the machine is on fire")

    verification = measured(tmp_path, measure, [SIZE])
    assert exit_code(verification.proofs) == 4
    (note,) = notes_of(verification)
    assert "the machine is on fire" in note


def test_time_is_the_whole_commands(tmp_path):
    """When --max-minutes is used up, what is left is not begun, and that is the reason given."""
    asked = []
    claims = [SIZE, "albert-for-memory-training", "albert-infers-faster"]
    verification = measured(tmp_path, asked.append, claims, minutes=3.0, clock=lambda: 120.0 * len(asked))
    assert [request.options.max_minutes for request in asked] == [3.0, 1.0]
    assert verification.failed == {"albert-infers-faster": "--max-minutes is used up"}
    assert any("--max-minutes is used up" in note for note in notes_of(verification))
