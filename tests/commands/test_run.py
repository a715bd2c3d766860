"""`bertbench run`: its default suite, and what is refused before any work."""

from dataclasses import replace

import numpy as np
import pytest

from bertbench import cli
from bertbench.records import environment
from bertbench.records.machines import Machine
from bertbench.records.store import Store
from bertbench.session.study import Study
from bertbench.specs.catalog import Catalog
from tests import factories


@pytest.mark.usefixtures("hub_not_asked")
def test_value_that_no_recipe_takes_is_refused_before_the_hub_is_asked(capsys, tmp_path, monkeypatch):
    """An option outside the recipe's bounds is one line that names it, whether or not a hub is there."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--task", "sst2", "--max-length", "2"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: --max-length 2: ")


@pytest.mark.slow
def test_kept_checkpoint_has_the_score_of_its_training(bench, tmp_path):
    """Trained in bf16, with another length than the task's, a checkpoint scores later what its record says, to the last digit."""
    results = tmp_path / "results"
    known = Machine.load(results, environment.capture("cpu").environment_class)
    known.with_training_dtype("cpu", 1, "bf16").save()
    common = ("run", "--task", "demo-sentiment", "--suite", "demo", "--only", "quality", "--threads", "1", "--device", "cpu", "--eval-samples",
              "200", "--results-dir", str(results))  # fmt: skip
    first = bench(*common, "--models", "bert-mini", "--train-samples", "400", "--epochs", "2", "--max-length", "24")
    assert first.code == 0, first.stderr
    assert "models are trained in bf16, as " in first.stderr
    (trained,) = next(Store(results).sessions()).records
    assert (trained.settings["training_dtype"], trained.settings["dtype"]) == ("bf16", "fp32")
    second = bench(*common, "--models", f"run:{trained.run_id}")
    assert second.code == 0, second.stderr
    stored = next(Store(results).sessions())
    (evaluated,) = stored.records
    assert (evaluated.settings["mode"], evaluated.settings["max_length"]) == ("evaluate", 24)
    assert evaluated.find("score", "value").values == trained.find("score", "value").values
    before, after = (one.sidecar(one.records[0], "predictions") for one in Store(results).sessions())
    assert before["prediction"].tolist() == after["prediction"].tolist()
    # In blocks, so in other batches: outputs differ in the last digit, nothing that is decided by them does.
    np.testing.assert_allclose(before["scores"].map(list).tolist(), after["scores"].map(list).tolist(), atol=1e-6)


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_a_failed_trial_of_a_sweep_is_in_the_exit_code(monkeypatch, tmp_path, capsys, fails, code):
    """Though the best trial has a score, a sweep in which another one failed does not end as if all were well."""
    task = Catalog().task("demo-sentiment")
    trials = []
    for number, score in enumerate((0.9, 0.6)):
        scored = [("bert-mini", factories.predictions(score, 100, 1), {"task": task})]
        session = factories.session_record(("bert-mini",), (task.name,), reference="bert-mini")
        trials.append(factories.stored_session(tmp_path / f"trial-{number}", session=session, scored=scored))
    if fails:
        failed = factories.failed("quality", "bert-mini", task_name=task.name)
        trials[1] = replace(trials[1], records=[failed])
    monkeypatch.setattr(Study, "measure_or_read", lambda *_: trials.pop(0))
    words = [
        "run",
        "--task",
        task.name,
        "--suite",
        "demo",
        "--models",
        "bert-mini",
        "--results-dir",
        str(tmp_path / "all"),
    ]
    assert cli.main([*words, "--sweep", "learning_rate=1e-5,2e-5"]) == code
    assert ("failed" in capsys.readouterr().out) == fails
