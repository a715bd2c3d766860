"""The whole examination: what cannot be had is said, and the others go on."""

import json

import pytest

from bertbench.errors import MeasurementError
from bertbench.quality.doctor import examination
from bertbench.quality.doctor.examination import examine
from bertbench.quality.doctor.subjects import Settings, find_absent, open_data
from bertbench.quality.doctor.verdict import Check, ok, unchecked
from bertbench.session.selection import resolve
from bertbench.specs.catalog import Catalog
from bertbench.specs.models import FineTuned
from tests.factories import model_spec, task_spec
from tests.quality.doctor.subjects import DECIDING, FILLERS, LABELS, TASK, permute, rename

pytestmark = pytest.mark.usefixtures("one_thread")


def local(tmp_path, count=60, labels=LABELS, name="toy"):
    """The toy task in a folder."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    for split, rare in zip(("train", "validation"), FILLERS[-2:], strict=True):
        rows = [
            {"sentence": f"{FILLERS[i % 7]} {FILLERS[i % 5]} {rare} {DECIDING[i % 3]}", "label": i % 3}
            for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return task_spec(name, dataset={"folder": str(folder)}, labels=labels)


def folder_model(folder):
    """A local folder as `--models` takes it."""
    (spec,) = resolve(str(folder), Catalog(), None)
    return spec


def published(folder, **finetuned):
    """A local model with a checkpoint fine-tuned on the toy task."""
    return folder_model(folder).model_copy(update={"finetuned": {"toy": FineTuned(**finetuned)}})


def by_check(findings, **about):
    """Findings by check, of a model or a task."""
    return {
        one.check: one.verdict for one in findings if all(getattr(one, key) == value for key, value in about.items())
    }


def test_permuted_folder_is_found(trained, edit_weights, tmp_path):
    """The whole way: from a folder and a task to the order that fits."""
    permute(edit_weights, trained, (1, 2, 0))
    rename(trained, ["LABEL_0", "LABEL_1", "LABEL_2"])
    told = []
    findings = examine([folder_model(trained)], [local(tmp_path)], Settings(), lambda *given: told.append(given))
    found = by_check(findings, task="toy")
    assert "outputs are neutral, entailment, contradiction: then 100.0% are right" in found["label order"].found
    assert found["score beside baselines"].status == "problem"
    assert {label for label, done, total in told if done == total} == {
        "reading toy", "examining toy", f"fetching {trained}", f"examining {trained}", f"examining {trained} on toy",
    }  # fmt: skip


def test_names_that_conflict_get_the_order_that_fits(trained, tmp_path):
    """`run` refuses such a checkpoint; here is what to state."""
    rename(trained, ["NO", "MAYBE", "YES"])
    findings = examine([folder_model(trained)], [local(tmp_path)], Settings())
    (verdict,) = by_check(findings, model=str(trained), task="toy").values()
    assert verdict.status == "problem"
    assert "conflict with the task's" in verdict.found
    assert "contradiction, neutral, entailment fits best: 100.0% of 60 examples are right" in verdict.found


def test_checkpoint_of_another_task_is_told(trained, tmp_path):
    """Three outputs for two labels cannot be told apart."""
    task = local(tmp_path, count=2, labels=("a", "b"))
    found = by_check(examine([folder_model(trained)], [task], Settings()), model=str(trained), task="toy")
    assert found["loaded for the task"].status == "problem"
    assert "3 outputs but the task 2 labels" in found["loaded for the task"].found


def test_hub_out_of_reach_is_not_checked(tmp_path, trained):
    """Neither data nor weights; the local ones go on, and so does what a published checkpoint would have been."""
    spec = published(trained, checkpoint="org/fine")
    findings = examine(
        [model_spec("far"), spec], [TASK.model_copy(update={"name": "away"}), local(tmp_path)], Settings()
    )
    assert by_check(findings, task="away")["data"].status == "not checked"
    assert by_check(findings, model="far")["weights loaded"].status == "not checked"
    found = by_check(findings, model=spec.name, task="toy")
    assert found["fine-tuned checkpoint"].status == "not checked"
    assert found["fine-tuned checkpoint"].found.startswith("the fine-tuned org/fine cannot be had (model org/fine: ")
    assert found["label order"].status == "ok"


def test_what_is_known_to_be_absent_keeps_its_row(tmp_path, trained):
    """The rows are those of a doctor that looks for everything, in the same order, and nothing is looked for twice."""
    models, tasks = (
        [model_spec("far"), folder_model(trained)],
        [TASK.model_copy(update={"name": "away"}), local(tmp_path)],
    )
    absent = find_absent(models, tasks, Settings())
    assert [(one.task, one.model) for one in absent.diagnoses] == [("away", ""), ("", "far")]
    told = []
    known = examine(models, tasks, Settings(), lambda label, *_: told.append(label), absent)
    assert known == examine(models, tasks, Settings())
    assert {"reading away", "fetching far"}.isdisjoint(told)


def test_published_checkpoint_is_examined_for_its_task(tiny, learnt, tmp_path):
    """Its own weights and tokenizer are looked at beside those of the model."""
    spec = published(tiny(max_position_embeddings=128), checkpoint=str(learnt), labels=LABELS)
    findings = examine([spec], [local(tmp_path)], Settings())
    assert by_check(findings, model=spec.name, task="")["weights trained"].status == "problem"
    found = by_check(findings, model=spec.name, task="toy")
    assert {"weights trained", "tokenizer size", "label order", "head trained"} <= set(found)
    assert {name for name, verdict in found.items() if verdict.status != "ok"} == {"score beside baselines"}


def test_published_checkpoint_that_does_not_fit_is_a_problem(tiny, learnt, tmp_path):
    """`run` does not take it, and why is said; it is examined all the same."""
    spec = published(tiny(max_position_embeddings=128), checkpoint=str(learnt), labels=("a", "b", "c"))
    found = by_check(examine([spec], [local(tmp_path)], Settings()), model=spec.name, task="toy")
    assert found["fine-tuned checkpoint"].status == "problem"
    assert "does not fit toy" in found["fine-tuned checkpoint"].found
    assert found["fine-tuned checkpoint"].advice == "`bertbench run` fine-tunes instead"
    assert found["weights trained"].status == "ok"


def test_damaged_weights_are_a_problem(trained, tmp_path):
    """A file that is cut off is no matter of reach."""
    path = trained / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    found = by_check(examine([folder_model(trained)], [], Settings()))
    assert found["weights loaded"].status == "problem"


def test_broken_data_of_ones_own_is_a_problem(tmp_path):
    """A missing file can be mended here."""
    task = local(tmp_path)
    (tmp_path / "data" / "validation.jsonl").unlink()
    assert by_check(examine([], [task], Settings()))["data"].status == "problem"


def test_absent_training_split_leaves_the_rest(tmp_path, trained):
    """What needs it is not checked; the model is examined on validation."""
    task = local(tmp_path)
    (tmp_path / "data" / "train.jsonl").unlink()
    findings = examine([folder_model(trained)], [task], Settings())
    assert by_check(findings, task="toy", model="")["train/validation overlap"].status == "not checked"
    assert by_check(findings, model=str(trained), task="toy")["label order"].status == "ok"


def test_nan_weights_end_in_findings(trained, edit_weights, tmp_path):
    """The weights are a problem, and what needs outputs is not checked."""
    edit_weights(trained, lambda tensors: tensors["classifier.bias"].fill_(float("nan")))
    found = by_check(examine([folder_model(trained)], [local(tmp_path)], Settings()), task="toy", model=str(trained))
    assert found["head trained"].status == found["batch invariance"].status == "problem"
    assert found["label order"].status == "not checked"


def test_sample_is_cut_and_drawn_alike(tmp_path):
    """Models are run on a sample, data are looked at whole."""
    data = open_data(local(tmp_path), Settings(samples=20))
    assert (len(data.sample), len(data.validation), len(data.train)) == (20, 60, 60)


def test_check_that_cannot_be_done_says_why():
    """Errors of ours become findings; others are bugs and show."""

    def fail(subject):
        raise MeasurementError("no", "do")

    assert Check("x", fail)(None) == unchecked("no", "do")
    assert Check("x", lambda _: ok("fine"))(None).status == "ok"
    with pytest.raises(ZeroDivisionError):
        Check("x", lambda _: 1 / 0)(None)


def test_checks_have_names_of_their_own():
    """A table's reader tells them apart."""
    names = [check.name for check in (*examination.OF_DATA, *examination.OF_CHECKPOINT, *examination.OF_PAIR)]
    assert len(names) == len(set(names))
