"""`bertbench speed` in processes of its own, on tiny models without a hub: what a user gets, and what is stored."""

import csv
import io
import os

import pytest

from bertbench.records.store import Store
from bertbench.report.row import HEADER
from tests.conftest import _python

pytestmark = pytest.mark.slow

MODELS = ("bert-mini", "distilbert-mini", "albert-mini")
COMMON = ("speed", "--reference", "bert-mini", "--threads", "1", "--rounds", "2")
SWEEP = (*COMMON, "--models", ",".join(MODELS), "--batch-sizes", "1,4", "--sequence-lengths", "8,16")
SHAPES = {("1", "8"), ("1", "16"), ("4", "8"), ("4", "16")}
SENTENCES = 40


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a few sentences of the demo task, so that a whole split is short."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data" / "demo-sentiment").mkdir(parents=True)
    lines = [f"{'the film is good ' * (1 + number % 3)},{number % 2}" for number in range(SENTENCES)]
    for split in ("train", "validation", "test"):
        text = "\n".join(("sentence,label", *lines)) + "\n"
        (folder / "data" / "demo-sentiment" / f"{split}.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cli(project, tmp_path_factory):
    """Runs bertbench in the project's folder, where no hub can be reached."""

    def run(*arguments):
        command = ["-m", "bertbench", *arguments]
        return _python(tmp_path_factory, command, endpoint=os.environ["HF_ENDPOINT"], cwd=project, OMP_NUM_THREADS="1")

    return run


@pytest.fixture(scope="module")
def swept(cli):
    """The first call, which measures."""
    done = cli(*SWEEP, "--output", "speed.csv")
    assert done.code == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def texts(cli):
    """Real lengths, a whole split and a server; and a fixed length that no mini model takes."""
    return cli(
        *COMMON, "--models", "bert-mini,albert-mini", "--task", "demo-sentiment", "--data-dir", "data", "--batch-sizes", "4",
        "--scenario", "fixed,natural,offline,server", "--sequence-lengths", "600", "--output", "texts.csv",
    )  # fmt: skip


def rows_of(text):
    """The CSV's rows."""
    return list(csv.DictReader(io.StringIO(text)))


def read(project, name):
    """The rows of a written CSV."""
    return rows_of((project / name).read_text(encoding="utf-8"))


def shapes(rows, **where):
    """Batch sizes and lengths of the rows that have a value and these fields."""
    return {
        (row["batch_size"], row["sequence_length"])
        for row in rows
        if row["value"] and all(row[name] == value for name, value in where.items())
    }


def sessions(project):
    """Stored sessions, newest first."""
    return list(Store(project / "results").sessions())


@pytest.mark.usefixtures("swept")
def test_csv_of_a_sweep(project):
    """The CSV has the fixed header; every model at every shape has latency, throughput, speed-up, memory and FLOPs."""
    rows = read(project, "speed.csv")
    assert tuple(rows[0]) == HEADER
    for model in MODELS:
        for quantity, statistic in (("latency", "median"), ("throughput", "median"), ("speedup", "median"), ("flops", "value"),
                                    ("peak_memory", "peak"), ("peak_memory", "training"), ("ceiling_share", "median")):  # fmt: skip
            assert shapes(rows, model=model, quantity=quantity, statistic=statistic) == SHAPES, (model, quantity)
    assert {row["model"] for row in rows} == set(MODELS)
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["backend"], row["dtype"], row["threads"]) for row in rows if row["quantity"] == "latency"} == {
        ("eager", "fp32", "1")
    }


@pytest.mark.usefixtures("swept")
def test_figures_of_a_sweep_make_sense(project):
    """Times are above zero and inside their interval, throughput is batch over time, the reference has ratio 1."""
    rows = read(project, "speed.csv")
    for row in rows:
        if row["quantity"] == "latency" and row["statistic"] == "median":
            value, low, high = (float(row[name]) for name in ("value", "low", "high"))
            assert 0 < low <= value <= high < 1e6
            same = {name: row[name] for name in ("model", "batch_size", "sequence_length", "statistic")}
            (throughput,) = (
                other
                for other in rows
                if other["quantity"] == "throughput" and all(other[name] == value for name, value in same.items())
            )
            assert float(throughput["value"]) == pytest.approx(int(row["batch_size"]) / value)
    ratios = [row for row in rows if row["quantity"] == "speedup" and row["model"] == "bert-mini"]
    assert [row["statistic"] for row in ratios] == ["median"] * 4 + ["peak"] * 2  # one of each length
    assert {float(row["value"]) for row in ratios} == {1.0}
    percentiles = {row["statistic"] for row in rows if row["quantity"] == "latency"}
    assert percentiles == {"median", "p90", "p95", "p99"}


def test_tables_of_a_sweep(swept):
    """The terminal shows times with the reference marked, why they are so, and memory; all within 120 columns."""
    assert "Speed of bert-mini, distilbert-mini, albert-mini" in swept.stdout
    assert "Faster than bert-mini" in swept.stdout
    assert "MFLOPs a pass" in swept.stdout
    assert "Peak of a training step 4x16" in swept.stdout
    assert max(map(len, swept.stdout.splitlines())) <= 120
    assert "plan (" in swept.stderr
    assert "Traceback" not in swept.stderr


@pytest.mark.usefixtures("swept")
def test_every_turn_is_paired(project):
    """The raw timings of all models lie in one file: in each turn each model ran, the untimed pass first."""
    stored = next(one for one in sessions(project) if set(one.session.models) == set(MODELS))
    assert stored.session.complete
    records = [record for record in stored.records if record.kind == "speed"]
    timings = stored.sidecar(records[0], "timings")
    assert timings.groupby(["round", "turn", "shape"])["model"].nunique().eq(3).all()
    assert timings.groupby(["round", "turn", "shape", "model"])["warmup"].sum().eq(1).all()
    assert timings["round"].nunique() == 2


def test_second_call_is_answered_from_the_store(swept, cli, project):
    """The same request measures nothing again and shows the same figures; so does a subset of the models."""
    before = len(sessions(project))
    done = cli(*SWEEP, "--format", "csv")
    assert done.code == 0, done.stderr
    assert "taken from session" in done.stderr
    assert "plan (" not in done.stderr
    assert rows_of(done.stdout) == read(project, "speed.csv")
    assert len(sessions(project)) == before


def test_real_texts(texts, project):
    """Natural lengths have the tokenizer's time beside; padding is told by policy."""
    rows = read(project, "texts.csv")
    natural = {row["statistic"]: float(row["value"]) for row in rows if row["model"] == "bert-mini" and row["value"]
               and row["quantity"] == "latency" and (row["scenario"], row["batch_size"]) == ("natural", "4")}  # fmt: skip
    assert 0 < natural["tokenization"] < natural["end-to-end"]
    assert natural["median"] < natural["end-to-end"]
    waste = {row["statistic"]: float(row["value"]) for row in rows if row["model"] == "bert-mini"
             and (row["quantity"], row["batch_size"]) == ("padding_waste", "4")}  # fmt: skip
    assert waste["pad-to-max"] > waste["dynamic"] > waste["length-sorted"]
    for title in ("Real texts", "Offline: a whole split", "Padding", "Server"):
        assert title in texts.stdout


@pytest.mark.usefixtures("texts")
def test_whole_split(project):
    """The offline figure is the time for all sentences, with and without the tokenizer, and the throughput from it."""
    rows = [row for row in read(project, "texts.csv") if row["scenario"] == "offline" and row["model"] == "albert-mini"]
    whole = {row["statistic"]: row for row in rows if row["quantity"] == "inference_time"}
    assert {row["n"] for row in whole.values()} == {str(SENTENCES)}
    assert float(whole["end-to-end"]["value"]) > float(whole["model"]["value"]) > 0
    (throughput,) = (row for row in rows if (row["quantity"], row["statistic"]) == ("throughput", "model"))
    assert float(throughput["value"]) == pytest.approx(SENTENCES / float(whole["model"]["value"]))
    assert whole["model"]["ratio"]


@pytest.mark.usefixtures("texts")
def test_server_rate(project):
    """Each model has a simulated rate below what it could serve back to back."""
    rows = read(project, "texts.csv")
    for model in ("bert-mini", "albert-mini"):
        (rate,) = (
            float(row["value"])
            for row in rows
            if (row["model"], row["quantity"], row["statistic"]) == (model, "server_rate", "simulated")
        )
        assert rate > 0


def test_failed_cell_is_a_row_and_exit_code_1(texts, project):
    """A length beyond the models' maximum names the limit and is a row of each; the rest is measured; exit code 1."""
    assert texts.code == 1, texts.stderr
    assert "Traceback" not in texts.stderr
    bad = [row for row in read(project, "texts.csv") if row["status"] != "ok"]
    assert [
        (row["model"], row["quantity"], row["batch_size"], row["sequence_length"], row["value"]) for row in bad
    ] == [(model, "latency", "4", "600", "") for model in ("bert-mini", "albert-mini")]
    reason = "a sequence length of 600 is asked for, and it takes 128 tokens at most"
    assert [row["note"] for row in bad] == [f"{model}: {reason}" for model in ("bert-mini", "albert-mini")]
    assert f"bert-mini, albert-mini: {reason}" in " ".join(texts.stdout.split())
