"""`bertbench baseline save` and `bertbench check`: round trip on the demo suite, injected changes, bad input, exit codes."""

import csv
import io
import json
import shutil
from dataclasses import replace

import pytest

from bertbench import cli
from bertbench.gate.baseline import read
from bertbench.gate.saving import write
from tests.gate.conftest import MODEL, baseline, saved

FEW = ["--train-samples", "4000", "--eval-samples", "400", "--threads", "1"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A baseline of one demo model, trained so far that it beats chance, and of nothing that is timed."""
    folder = tmp_path_factory.mktemp("gate")
    options = ["--suite", "demo", "--models", "bert-mini", "--only", "size,quality", *FEW]
    results = ["--results-dir", str(folder / "results")]
    assert cli.main(["baseline", "save", *options, *results, "--output", str(folder / "saved")]) == 0
    return folder / "saved"


@pytest.fixture
def project(demo, tmp_path, monkeypatch):
    """A folder of its own with a copy of that baseline in the default place."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(demo, tmp_path / "results" / "baseline")
    return tmp_path


def verdicts(capsys):
    """By quantity the verdict of the CSV on stdout."""
    return {row["quantity"]: row["verdict"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}


def config_of(project):
    """The kept checkpoint's config.json."""
    return project / "results/baseline/baseline.checkpoints/bert-mini-demo-sentiment/config.json"


@pytest.mark.slow
def test_no_change_passes_with_all_outputs(project, capsys, monkeypatch):
    """The same code passes: the kept checkpoint is evaluated, not trained; JUnit, summary and file are written."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    assert cli.main(["check", "--junit", "gate.xml", "--output", "gate.json", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    found = {row["quantity"]: row["verdict"] for row in csv.DictReader(io.StringIO(shown.out))}
    assert set(found.values()) == {"pass"}
    assert {"parameters_unique", "labels", "outputs", "score"} <= set(found)
    assert "fine-tuning" not in shown.err
    assert "Gate: pass" in (project / "summary.md").read_text()
    assert "testcase" in (project / "gate.xml").read_text()
    assert json.loads((project / "gate.json").read_text())["rows"]


@pytest.mark.slow
def test_changed_architecture_fails(project, capsys):
    """A wider layer in the model's YAML changes counts and shapes: exit 1, and GitHub is told on stderr."""
    from bertbench.specs.catalog import packaged_folder

    text = (packaged_folder() / "models" / "bert-mini.yaml").read_text()
    folder = project / "configs" / "models"
    folder.mkdir(parents=True)
    (folder / "bert-mini.yaml").write_text(text.replace("intermediate_size: 128", "intermediate_size: 132"))
    assert cli.main(["check", "--only", "size", "--annotate", "--format", "csv"]) == 1
    shown = capsys.readouterr()
    rows = {row["quantity"]: row["verdict"] for row in csv.DictReader(io.StringIO(shown.out))}
    assert rows["shapes_of_weights"] == rows["parameters_unique"] == "fail"
    assert "::error title=bertbench" in shown.err


@pytest.mark.slow
def test_changed_label_map_fails(project, capsys):
    """Labels that are swapped, or unknown, in the checkpoint's config fail; its score is not measured then."""
    content = json.loads(config_of(project).read_text())
    for labels in ({"0": "positive", "1": "negative"}, {"0": "a", "1": "b"}):
        config_of(project).write_text(json.dumps(content | {"id2label": labels}))
        assert cli.main(["check", "--only", "quality", "--format", "csv"]) == 1
        found = verdicts(capsys)
        assert (found["labels"], found["score"]) == ("fail", "inconclusive")


@pytest.mark.slow
def test_a_broken_checkpoint_takes_no_score_from_another(project, capsys):
    """Of two models the one whose checkpoint cannot be loaded, or has other labels, has no score; the other one's is measured."""
    before = read(project / "results" / "baseline")
    base, (score,) = before.baseline, before.baseline.scores
    shutil.copytree(config_of(project).parent, project / "kept")
    kept = f"twin-{score.task}"
    scores = (score, replace(score, model="twin", checkpoint=replace(score.checkpoint, kept=kept)))
    models = {**base.models, "twin": {**base.models[score.model], "name": "twin"}}
    frames = {**before.predictions, ("twin", score.task): before.predictions[score.model, score.task]}
    both = replace(before, baseline=replace(base, scores=scores, models=models), predictions=frames)
    folders = {f"{score.model}-{score.task}": project / "kept", kept: project / "kept"}
    write(both, project / "results" / "baseline", folders)
    twin = config_of(project).parent.parent / kept
    (project / "gate.yaml").write_text(
        "critical: [{quantity: score}]\nadvisory: [{quantity: checkpoint}]\nothers: none\n"
    )
    labels = json.loads((twin / "config.json").read_text()) | {"id2label": {"0": "a", "1": "b"}}
    for damage in (lambda: (twin / "config.json").write_text(json.dumps(labels)), (twin / "model.safetensors").unlink):
        damage()
        assert cli.main(["check", "--only", "quality", "--policy", "gate.yaml", "--format", "csv"]) == 3
        rows = [row for row in csv.DictReader(io.StringIO(capsys.readouterr().out)) if row["quantity"] == "score"]
        assert {row["model"]: row["verdict"] for row in rows} == {score.model: "pass", "twin": "inconclusive"}


@pytest.mark.slow
def test_flipped_predictions_fail(project, capsys):
    """Of a baseline that was better by far, the evaluated checkpoint fails."""
    before = read(project / "results" / "baseline")
    place, frame = next(iter(before.predictions.items()))
    better = {place: frame.assign(prediction=frame["label"])}
    score = replace(before.baseline.scores[0], score=1.0)
    shutil.copytree(config_of(project).parent, project / "kept")
    kept = {"bert-mini-demo-sentiment": project / "kept"}
    changed = replace(before, baseline=replace(before.baseline, scores=(score,)), predictions=better)
    write(changed, project / "results" / "baseline", kept)
    assert cli.main(["check", "--only", "quality", "--format", "csv"]) == 1
    assert verdicts(capsys)["score"] == "fail"


@pytest.mark.slow
def test_a_worse_checkpoint_fails_against_the_released_one(project, capsys):
    """Two folders in one job: the head that answers the opposite fails, the same checkpoint passes."""
    from safetensors.torch import load_file, save_file

    released = config_of(project).parent
    for name in ("same", "worse"):
        shutil.copytree(released, project / name)
    weights = load_file(project / "worse" / "model.safetensors")
    weights["classifier.weight"] = -weights["classifier.weight"]
    weights["classifier.bias"] = -weights["classifier.bias"]
    save_file(weights, project / "worse" / "model.safetensors", metadata={"format": "pt"})
    options = ["--suite", "demo", "--only", "quality", "--threads", "1", "--format", "csv"]
    assert cli.main(["check", "--against-model", str(released), "--models", "same", *options]) == 0
    assert verdicts(capsys) == {"score": "pass"}
    assert cli.main(["check", "--against-model", str(released), "--models", "worse", *options]) == 1


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A project whose baseline was made up."""
    monkeypatch.chdir(tmp_path)
    write(saved(), tmp_path / "results" / "baseline", {})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "nowhere"], "no such file. Make one: bertbench baseline save"),
        (["--suite", "demo"], "the baseline is of sst2, suite demo has demo-sentiment"),
        (["--models", "bert,other"], "--models other: is not in the baseline"),
        (["--models", "bert", "--only", "quality"], "nothing to compare"),
        (["--margin-speed", "0.9"], "--margin-speed 0.9: must be a factor above 1"),
        (["--margin-quality", "1"], "--margin-quality 1: must lie between 0 and 1"),
        (["--against-model", "bert"], "--against-model compares the models of --models with it"),
        (["--against-model", "bert", "--models", "bert"], "is among --models"),
        (["--against-model", "bert", "--baseline", "results/baseline"], "contradict each other"),
        (["--against-model", "a", "--against-code", "b"], "--against-model and --against-code contradict each other"),
        (["--against-code", "b", "--only", "size"], "--against-code compares only times"),
        (["--junit", "nowhere/gate.xml"], "--junit nowhere/gate.xml: no folder"),
        (["--bencher", "nowhere/gate.json"], "--bencher nowhere/gate.json: no folder"),
        (["--bencher", "a.json", "--junit", "a.json"], "--bencher a.json: is the file of --junit too"),
        (["--policy", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (
            ["--policy", "gate.yaml", "--margin-speed", "1.05"],
            "--policy gate.yaml states the margins. Leave --margin-speed out",
        ),
        (["--policy", "gate.yaml"], "gate.yaml: key 'critical.0.task': unknown task 'sst3'; did you mean 'sst2'?"),
        (
            ["--policy", "counts.yaml", "--against-model", "bert", "--models", "distilbert"],
            "--policy counts.yaml: gates nothing that --against-model compares. Name score or time or memory in it",
        ),
        (
            ["--policy", "time.yaml", "--against-model", "bert", "--models", "distilbert", "--only", "quality,memory"],
            "--policy time.yaml: gates nothing of --only quality,memory. Name score or memory in it",
        ),
        (["--dry-run", "--junit", "a.xml"], "--dry-run judges nothing. Leave --junit out"),
    ],
)
def test_bad_input_is_one_line(plain, capsys, arguments, message):
    """What cannot be checked is refused before any measuring, with exit code 2."""
    (plain / "gate.yaml").write_text("critical: [{quantity: score, task: sst3}]")
    (plain / "counts.yaml").write_text("critical: [{quantity: counts}, {quantity: outputs}]\nothers: none\n")
    (plain / "time.yaml").write_text("critical: [{quantity: time}]\nothers: none\n")
    assert cli.main(["check", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_a_plan_of_another_machine_measures_nothing(plain, capsys):
    """--dry-run says what would be gated with which margin, and why what cannot be is not; exit code 0, nothing is stored."""
    (plain / "gate.yaml").write_text(
        "critical: [{quantity: time, margin: 1.2}]\nadvisory: [{quantity: memory}]\nothers: none\n"
    )
    assert cli.main(["check", "--dry-run", "--policy", "gate.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "Would be gated" in shown
    for words in ("1.2x", "advisory", "another class of", "nothing would be measured"):
        assert words in shown
    assert not list((plain / "results").glob("sessions/*"))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_code_is_not_timed_where_no_time_is_gated(plain, capsys, monkeypatch, more):
    """Two versions of the code are compared by times alone: a policy without them has nothing timed, and what it names stays open."""
    monkeypatch.setattr("bertbench.gate.check.measure_speed", None)
    monkeypatch.setattr("bertbench.gate.check.code_of", None)
    (plain / "gate.yaml").write_text("critical: [{quantity: score}]\nothers: none\n")
    arguments = ["--against-code", "main", "--suite", "demo", "--models", "bert-mini", "--policy", "gate.yaml"]
    assert cli.main(["check", *arguments, "--format", "markdown", *more]) == (0 if more else 4)
    shown = capsys.readouterr().out
    assert "timed: the policy does not gate 'time'" in shown
    assert "critical by the policy, and not measured" in shown


def test_a_policy_decides_what_fails(plain, capsys):
    """Critical times that could not be compared leave the gate open whatever else there is; all that is shown has its tier."""
    (plain / "gate.yaml").write_text("critical: [{quantity: time}]\nadvisory: [{quantity: memory}]\nothers: none\n")
    assert cli.main(["check", "--policy", "gate.yaml", "--format", "csv", "--bencher", "b.json"]) == 4
    shown = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert {row["quantity"] for row in rows} == {"time", "peak_memory"}
    assert any("inconclusive, advisory" in row["note"] for row in rows)
    assert "2 of 2 quantities have no number" in shown.err
    assert json.loads((plain / "b.json").read_text()) == {}


@pytest.mark.slow
def test_advice_waivers_and_the_critical_of_one_change(project, capsys):
    """A wider layer fails as critical, passes as advisory and while it is waived, and fails again when the waiver has expired."""
    from bertbench.specs.catalog import packaged_folder

    text = (packaged_folder() / "models" / "bert-mini.yaml").read_text()
    folder = project / "configs" / "models"
    folder.mkdir(parents=True)
    (folder / "bert-mini.yaml").write_text(text.replace("intermediate_size: 128", "intermediate_size: 132"))
    waiver = "waivers: [{quantity: counts, reason: wider on purpose, expires: '%s'}]\n"
    counts = "critical: [{quantity: counts}]\n"
    codes = {}
    for name, policy in {
        "critical": counts,
        "advisory": "advisory: [{quantity: counts}]\n",
        "waived": counts + waiver % "9999-12-31",
        "expired": counts + waiver % "2026-01-01",
    }.items():
        (project / "gate.yaml").write_text(policy + "others: none\n")
        codes[name] = cli.main(["check", "--policy", "gate.yaml", "--only", "size", "--format", "csv"])
        capsys.readouterr()
    assert codes == {"critical": 1, "advisory": 0, "waived": 0, "expired": 1}


def test_other_schema_is_refused(plain, capsys):
    """A baseline of a later bertbench is named with its schema."""
    file = plain / "results" / "baseline" / "baseline.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    assert cli.main(["check"]) == 2
    assert "is of schema 2, this bertbench reads 1" in capsys.readouterr().err


def test_only_times_of_another_machine_measure_nothing(plain, capsys):
    """Where everything that is asked for was timed elsewhere, nothing is measured and nothing passes: exit 4."""
    assert cli.main(["check", "--models", MODEL, "--only", "speed,memory", "--format", "csv"]) == 4
    assert set(verdicts(capsys).values()) == {"inconclusive"}


def test_save_takes_no_other_action(plain, capsys):
    """There is nothing but `save`, and no place but a folder or a .json file."""
    assert cli.main(["baseline", "load"]) == 2
    assert cli.main(["baseline", "save", "--output", "a.txt"]) == 2
    assert "must be a folder or end in .json" in capsys.readouterr().err


def test_save_refuses_a_place_in_the_way_before_it_measures(plain, capsys):
    """A folder that no baseline owns stands where the checkpoints would: one line, at once, and it stays."""
    (plain / "model.checkpoints").mkdir()
    assert cli.main(["baseline", "save", "--suite", "demo", "--output", "model.json"]) == 2
    shown = capsys.readouterr().err
    assert "model.checkpoints: is in the way" in shown
    assert shown.count("\n") == 1
    assert (plain / "model.checkpoints").is_dir()


def test_baseline_names_models_in_the_order_asked(plain):
    """What is read has the models as they were saved."""
    assert list(read(plain / "results" / "baseline").baseline.models) == list(baseline().models)
