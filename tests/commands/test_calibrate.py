import csv
import io
import json
import math
import time
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from bertbench.commands import calibrate as module
from bertbench.commands.calibrate import calibrate
from bertbench.errors import BertBenchError, MeasurementError, NothingMeasuredError, UsageError
from bertbench.records.machines import Noise
from bertbench.report.row import columns
from bertbench.report.tables.noise import ROUNDS_FOR_NOISE, WIDE, build_noise
from bertbench.session.speed_request import PASSES, TURNS
from bertbench.speed import calibration as ceilings
from bertbench.speed import self_comparison as runner
from bertbench.stats import stopping
from bertbench.stats.repetitions import MOST_TURNS

NOISE = Noise(
    log_ratios=(0.01, -0.01, 0.02, -0.02) * 6,
    round_s=4.0,
    start_s=6.0,
    model="bert",
    shape="2x128",
    device="cpu",
    backend="eager",
    dtype="fp32",
    threads=2,
)


# Rounds whose turns deviate by far more than the rounds.
OF_TURNS = replace(
    NOISE, turns=tuple((log - 0.05, log, log + 0.05) for log in NOISE.log_ratios), turn_s=0.5, pass_variance=1e-4
)


def run(*arguments):
    """The command by itself, raising what it raises."""
    app = typer.Typer()
    app.command()(calibrate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


def refused(*arguments):
    """The error that the command ends with."""
    error = run(*arguments).exception
    assert isinstance(error, BertBenchError), error
    return error


@pytest.fixture
def answered(monkeypatch):
    """Replaces the measuring: keeps what it was asked and answers with NOISE and a ceiling of 150 GFLOP/s."""
    asked = {}

    def measure_noise(model, folder, settings, timing, **options):
        asked.update(options, model=model, folder=folder, settings=settings, timing=timing)
        if asked.get("error"):
            raise asked["error"]
        return replace(NOISE, model=model), ("a warning",)

    monkeypatch.setattr(runner, "measure_noise", measure_noise)
    monkeypatch.setattr(ceilings, "ceiling", lambda *_: (1.5e11, (1024, 1024, 1024)))
    return asked


@pytest.fixture
def model(tiny):
    """A tiny model's folder."""
    return tiny("bert")


def test_the_table_of_times():
    """Each time gives the rounds that fit, the half-width to expect of them and the smallest difference that is seen."""
    table = build_noise(NOISE).tables[1]
    assert [row[0] for row in table.rows] == ["30 s", "1 min", "2 min", "5 min", "10 min"]
    assert [int(row[1]) for row in table.rows] == [6, 13, 28, 73, 148]
    half = math.expm1(stopping.expected_half_width(NOISE.sd, 28))
    smallest = math.expm1(stopping.detectable(NOISE.sd, 28))
    assert table.rows[2][2:] == (f"±{half:.2%}", f"{smallest:.2%}")
    assert (half, smallest) == (pytest.approx(0.0063, abs=1e-4), pytest.approx(0.0089, abs=1e-4))


def test_times_that_are_too_short_are_empty():
    """Where fewer than two rounds fit there is no figure and no row."""
    report = build_noise(replace(NOISE, round_s=40.0))
    assert report.tables[1].rows[0] == ("30 s", "0", "", "")
    assert report.tables[1].rows[1] == ("1 min", "1", "", "")
    assert {row.statistic for row in report.rows if row.quantity == "detectable_difference"} == {
        "in 120 s", "in 300 s", "in 600 s",
    }  # fmt: skip


def test_the_long_rows():
    """The noise has its interval, rounds and ratio; each time has a half-width and a detectable difference."""
    report = build_noise(NOISE, weights="random", checkpoint="google/bert", ceiling=1.5e11)
    first, *rest = report.rows
    assert (first.quantity, first.statistic, first.unit) == ("noise", "standard-deviation", "1")
    assert (first.value, first.low, first.high) == pytest.approx((NOISE.sd, *NOISE.sd_interval))
    assert "chi-square" in columns(first)["interval_method"]
    assert (first.n, first.n_unit, first.reference) == (24, "rounds", "bert")
    assert (first.ratio, first.ratio_low, first.ratio_high) == pytest.approx(tuple(map(math.exp, NOISE.interval)))
    assert (first.model, first.weights, first.checkpoint) == ("bert", "random", "google/bert")
    assert (first.batch_size, first.sequence_length, first.threads, first.backend) == (2, 128, 2, "eager")
    assert [row.quantity for row in rest] == ["noise", "detectable_difference"] * 5
    assert all(row.unit == "1" and row.value > 0 for row in rest)
    assert ("Ceiling of the machine (fp32, 2 threads)", "150 GFLOP/s") in report.tables[0].rows


def test_what_levels_add():
    """Passes, turns and rounds have a deviation each; the best number of turns stands beside the number taken."""
    report = build_noise(OF_TURNS)
    facts = dict(report.tables[0].rows)
    assert facts["Passes within a turn (standard deviation)"] == "1.0%"
    assert facts["Turns within a round"] == "5.0%"
    assert facts["Rounds, beyond what their turns explain"] == "0%"
    assert facts["Turns a round, and how many would be best"] == f"3, {MOST_TURNS} or more"
    rows = {row.statistic or row.quantity: row.value for row in report.rows}
    assert (rows["passes"], rows["turns"], rows["rounds"]) == pytest.approx((0.01, 0.05, 0.0))
    assert [row.value for row in report.rows if row.quantity == "best_turns"] == [MOST_TURNS]
    assert any("Kalibera & Jones" in note for note in report.notes)


def test_the_best_turns_are_held_against_those_taken():
    """A column says what the best number would give in each time, which for few rounds is not better."""
    table = build_noise(OF_TURNS).tables[1]
    assert table.columns[-1] == f"Half-width with {MOST_TURNS} turns a round"
    assert table.rows[0][-1] == ""  # one round of them fits into 30 s
    sd, rounds = OF_TURNS.with_turns(MOST_TURNS, 600)
    assert rounds == (600 - 6) // (4 + 27 * 0.5)
    assert sd == pytest.approx(NOISE.sd / math.sqrt(10))
    assert table.rows[-1][-1] == f"±{math.expm1(stopping.expected_half_width(sd, rounds)):.2%}"


def test_levels_of_few_rounds_or_single_turns_are_not_told():
    """Without turns, or with fewer than eight rounds, no number of turns is called the best."""
    few = replace(OF_TURNS, log_ratios=NOISE.log_ratios[:7], turns=OF_TURNS.turns[:7])
    for noise in (NOISE, few, replace(OF_TURNS, turn_s=None)):
        report = build_noise(noise)
        assert len(report.tables[1].columns) == 4
        assert not any(row.quantity == "best_turns" for row in report.rows)


def test_rounds_are_those_of_speed(answered, model, tmp_path):
    """The noise is of rounds as `bertbench speed` takes them."""
    run("--models", model, "--sequence-length", 16, "--results-dir", tmp_path)
    assert (answered["timing"].turns, answered["timing"].passes) == (TURNS, PASSES)


def test_figures_of_people():
    """The first table states noise, its interval, the time a round and the ratio of the model to itself."""
    facts = [value for _, value in build_noise(NOISE).tables[0].rows]
    assert facts == ["1.6%", "1.3% to 2.3%", "24", "4.0 s", "1.0000", "0.9932 to 1.0068"]


def test_a_session_that_finds_a_difference_says_so():
    """If 1.0 is not in the interval of the model over itself, the first note says it plainly."""
    assert not any("NOT" in note for note in build_noise(NOISE).notes)
    shifted = replace(NOISE, log_ratios=tuple(value + 0.05 for value in NOISE.log_ratios))
    assert build_noise(shifted).notes[0].startswith("1.0 is NOT in the interval")


def test_noise_of_few_rounds_is_called_rough():
    """From few rounds the noise itself is uncertain: the note gives its bounds and how many rounds tell it better."""
    few = replace(NOISE, log_ratios=NOISE.log_ratios[:8])
    (note,) = (note for note in build_noise(few).notes if "roughly" in note)
    assert note.startswith("8 rounds tell the noise roughly, 1.1% to 3.4%; 18 rounds or more, about 1 min 18 s")
    assert not any("roughly" in note for note in build_noise(NOISE).notes)
    spans = [stopping.deviation_interval(1.0, rounds) for rounds in (ROUNDS_FOR_NOISE - 1, ROUNDS_FOR_NOISE)]
    assert [high / low > WIDE for low, high in spans] == [True, False]


def test_turns_and_warnings_are_told():
    """The notes end with what holds for all figures and the session's own warnings."""
    assert build_noise(NOISE, turns=5, warnings=("busy",)).notes[-1] == "busy"
    assert "rounds are of 5 turns" in build_noise(NOISE, turns=5).notes[-1]


def test_what_is_measured_is_shown(answered, model, tmp_path):
    """The command prints rows and keeps nothing: it can be measured again, and no other command asks for it."""
    result = run(
        "--models", model, "--threads", 1, "--sequence-length", 16, "--results-dir", tmp_path, "--format", "csv"
    )
    assert result.exit_code == 0, result.exception
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["quantity"] for row in rows} == {"noise", "detectable_difference"}
    assert rows[0]["weights"] == "pretrained"
    assert rows[0]["model"] == str(model)
    assert float(rows[0]["value"]) == pytest.approx(NOISE.sd)
    assert list((tmp_path / "machines").iterdir()) == []


def test_options_reach_the_measuring(answered, model, tmp_path):
    """Rounds, shape, threads and format are what was asked; with --rounds alone there is no time limit."""
    result = run(
        "--models", model, "--rounds", 7, "--batch-size", 4, "--sequence-length", 32, "--threads", 1, "--dtype", "bf16",
        "--device", "cpu", "--results-dir", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert answered["timing"].rounds == 7
    assert [shape.label for shape in answered["timing"].shapes] == ["4x32"]
    settings = answered["settings"]
    assert (settings.threads, settings.dtype, settings.backend, settings.device) == (1, "bf16", "eager", "cpu")
    assert answered["deadline"] is None
    assert "150 GFLOP/s" in result.stdout
    assert "a warning" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "seconds"), [((), 115), (("--max-minutes", 0.5), 25), (("--max-minutes", 0.1), 4.5)]
)
def test_time_is_limited(answered, model, tmp_path, arguments, seconds):
    """Without --rounds the command takes two minutes, or what is given, from its start; a little is left for the ceiling."""
    started = time.monotonic()
    run("--models", model, "--sequence-length", 16, "--threads", 1, "--results-dir", tmp_path, *arguments)
    assert started + seconds <= answered["deadline"] < time.monotonic() + seconds
    assert answered["timing"].rounds == module.MOST_ROUNDS


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--sequence-length", 0), "--sequence-length 0"),
        (("--batch-size", -1), "--batch-size -1"),
        (("--rounds", 1), "--rounds 1"),
        (("--max-minutes", 0), "--max-minutes 0"),
        (("--threads", 0), "--threads 0"),
        (("--backend", "eagr"), "did you mean 'eager'"),
        (("--backend", "eager,eager-attention"), "one back-end"),
        (("--dtype", "fp7"), "unknown number format"),
        (("--models", "bert,albert"), "one model"),
        (("--models", "brt"), "did you mean 'bert'"),
        (("--output", "x.pdf"), "unknown ending"),
    ],
)
def test_bad_options(answered, tmp_path, arguments, text):
    """A value that cannot be used is named before anything is measured, and is exit code 2."""
    error = refused("--results-dir", tmp_path, *arguments)
    assert text in error.message
    assert error.exit_code == 2
    assert answered == {}


def test_a_length_beyond_the_model(answered, model, tmp_path):
    """The limit of the model is named, and nothing is measured."""
    error = refused("--models", model, "--sequence-length", 65, "--threads", 1, "--results-dir", tmp_path)
    assert isinstance(error, UsageError)
    assert "takes at most 64 tokens" in error.message
    assert answered == {}


def test_more_threads_than_cores(answered, model, tmp_path):
    """Too many threads are warned of."""
    result = run("--models", model, "--sequence-length", 16, "--threads", 999, "--results-dir", tmp_path)
    assert result.exit_code == 0, result.exception
    assert "--threads 999" in result.stderr


def test_a_model_that_cannot_be_timed(answered, model, tmp_path):
    """A worker's failure leaves nothing measured: exit code 4, the reason kept, nothing stored."""
    answered["error"] = MeasurementError("bert (a): out of memory", "use less")
    error = refused("--models", model, "--sequence-length", 16, "--threads", 1, "--results-dir", tmp_path)
    assert isinstance(error, NothingMeasuredError)
    assert (error.message, error.hint, error.exit_code) == ("bert (a): out of memory", "use less", 4)
    assert list((tmp_path / "machines").iterdir()) == []


def test_random_weights_are_told_and_removed(answered, tmp_path):
    """A model of a configuration is timed on random weights, which do not stay."""
    (tmp_path / "models").mkdir()
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 50,
    }
    spec = {"name": "mini", "title": "Mini", "architecture": "bert", "config": sizes}
    (tmp_path / "models" / "mini.yaml").write_text(json.dumps(spec))
    results = tmp_path / "results"
    result = run(
        "--models", "mini", "--config-dir", tmp_path, "--sequence-length", 16, "--threads", 1, "--results-dir", results,
        "--format", "csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert {row["weights"] for row in csv.DictReader(io.StringIO(result.stdout))} == {"random"}
    assert not answered["folder"].exists()


@pytest.mark.slow
def test_through_the_engine(model, tmp_path, monkeypatch):
    """A tiny model against itself, measured by worker processes, gives its noise."""
    monkeypatch.setattr(ceilings, "SQUARES", ((64, 64, 64),))
    arguments = ("--models", model, "--rounds", 2, "--sequence-length", 16, "--threads", 1, "--results-dir", tmp_path)
    result = run(*arguments, "--format", "csv")
    assert result.exit_code == 0, result.exception
    row = next(csv.DictReader(io.StringIO(result.stdout)))
    assert (row["n"], row["threads"], row["batch_size"], row["sequence_length"]) == ("2", "1", "1", "16")
    assert float(row["value"]) > 0
