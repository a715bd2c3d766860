"""Predictions of test sets by trained models: right after training, from the store, and what is said where there are none."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from bertbench.errors import StoreError
from bertbench.models.sources import Encoder, Source
from bertbench.quality.work import Work
from bertbench.records.progress import silent
from bertbench.records.store import Store
from bertbench.records.stored import StoredSession
from bertbench.session.cells import Cell
from bertbench.session.quality import drop_checkpoints, measure_quality
from bertbench.session.request import Options, Request
from bertbench.session.steps import Session
from bertbench.session.submission import Submission
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import SubmissionSpec, TrainingSpec
from bertbench.tasks.examples import Examples
from tests.factories import environment, model_spec, session_record, task_spec

pytestmark = pytest.mark.usefixtures("one_thread")

ID = "20261124T120000-aaaaaa"
RECIPE = TrainingSpec(epochs=1, batch_size=4, max_length=16)
TASK = task_spec(
    test_sets=(SubmissionSpec(file="SST-2.tsv"), SubmissionSpec(file="AX.tsv", subset="ax", classes="names"))
)


@pytest.fixture(scope="module")
def folder(tiny):
    """A bare encoder."""
    return tiny()


@pytest.fixture
def work(tmp_path, folder):
    """Trains on a few examples: `work(task=…, seeds=…)` gives what writes predictions, the session, and what was said."""

    def make(*, task=TASK, seeds=(0,), mode="fine-tune", source=folder, **options):
        suite = SuiteSpec(name="base", title="Base", models=("bert",), reference="bert")
        spec = model_spec(checkpoint=str(source), tokenizer="demo")
        asked = Request(
            "run",
            (),
            suite,
            (spec,),
            "bert",
            (task,),
            Options(data_dir=tmp_path / "data", seeds=seeds, **options),
            may_be_random=False,
        )
        said = []
        store, record = Store(tmp_path / "results"), session_record(session_id=ID)
        session = Session(asked, store, said.append, silent, environment(), record, None)
        encoder = Encoder(Source(spec, source, "demo", "pretrained", "d"), None)
        train = Examples("train", ("a", "b", "c", "d"), (("good",), ("bad",)) * 2, (1.0, 0.0) * 2, 4)
        for seed in seeds:
            trained = Work(
                encoder.source, task, mode, RECIPE, seed, "cpu", "fp32", bf16_training=False, train=train,
                splits=(replace(train, split="validation"),),
            )  # fmt: skip
            measure_quality(session, Cell(encoder, task, seed, trained))
        if asked.options.keep_checkpoints != "all":
            drop_checkpoints(session)
        stored = StoredSession(record, tuple(session.written), store.folder(ID))
        return Submission(asked, store, tmp_path / "out", said.append, silent), stored, said

    return make


def write(tmp_path, name, rows, split="test"):
    """Rows as a split of a task's folder."""
    path = tmp_path / "data" / name / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path)


def test_hidden_labels_are_predicted(work, tmp_path):
    """The kept checkpoint predicts a split of hidden labels, and another subset that has none at all, in one file each."""
    write(tmp_path, "sst2", [{"idx": 4, "sentence": "good", "label": -1}, {"idx": 5, "sentence": "bad", "label": -1}])
    write(tmp_path, "ax", [{"idx": 0, "sentence": "good"}])
    writer, stored, said = work()
    assert writer.write(stored) == 0
    header, *lines = (tmp_path / "out" / "bert" / "SST-2.tsv").read_text().splitlines()
    assert header == "index\tprediction"
    assert [line.split("\t")[0] for line in lines] == ["4", "5"]
    assert {line.split("\t")[1] for line in lines} <= {"0", "1"}
    assert (tmp_path / "out" / "bert" / "AX.tsv").read_text().split()[-1] in {"negative", "positive"}
    assert sorted(path.name for path in (tmp_path / "out" / "bert").iterdir()) == ["AX.tsv", "SST-2.tsv"]
    assert any("1 examples of split 'test'" in line for line in said)


def test_predictions_are_those_of_the_run(work, tmp_path):
    """On the examples that a run was scored on, the reloaded checkpoint predicts what the run did."""
    task = task_spec(test_sets=(SubmissionSpec(file="SST-2.tsv", split="validation"),))
    write(tmp_path, "sst2", [{"sentence": text, "label": 0} for text in ("good", "bad") * 2], "validation")
    writer, stored, said = work(task=task)
    assert writer.write(stored) == 0
    lines = (tmp_path / "out" / "bert" / "SST-2.tsv").read_text().splitlines()[1:]
    predicted = stored.sidecar(stored.records[0], "predictions")["prediction"]
    assert [int(line.split("\t")[1]) for line in lines] == predicted.tolist()
    assert any("there is no public test set" in line for line in said)


def test_missing_split_is_one_line(work, tmp_path):
    """A split that is not there is said with where it was looked for; the other sets are written."""
    write(tmp_path, "ax", [{"sentence": "good"}])
    writer, stored, said = work()
    assert writer.write(stored) == 1
    (line,) = (line for line in said if "not written" in line)
    assert line.startswith("test predictions of bert on sst2: SST-2.tsv not written: data folder")
    assert "no such folder" in line
    assert (tmp_path / "out" / "bert" / "AX.tsv").is_file()


def test_dropped_checkpoint_is_said(work, tmp_path):
    """Without weights there is no prediction, and the line says what to do."""
    writer, stored, said = work(keep_checkpoints="none")
    assert writer.write(stored) == 2
    assert "kept no checkpoint; repeat with --fresh" in said[-1]
    assert not (tmp_path / "out").exists()


def test_only_the_first_seed_predicts(work, tmp_path):
    """Of several seeds the first one with weights is taken, and that is said."""
    write(tmp_path, "sst2", [{"sentence": "good", "label": -1}])
    write(tmp_path, "ax", [{"sentence": "good"}])
    writer, stored, said = work(seeds=(0, 1))
    assert writer.write(stored) == 0
    assert any("of 2 seeds, only seed 0 predicts" in line for line in said)


def test_evaluated_checkpoint_predicts(work, tiny, tmp_path):
    """What was published fine-tuned predicts from where it came from."""
    head = tiny(head="sequence-classification")
    settings = json.loads((head / "config.json").read_text())
    settings |= {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    (head / "config.json").write_text(json.dumps(settings))
    write(tmp_path, "sst2", [{"sentence": "good", "label": -1}])
    write(tmp_path, "ax", [{"sentence": "good"}])
    writer, stored, _ = work(mode="evaluate", source=head)
    assert stored.records[0].finetuned_checkpoint is None
    assert writer.write(stored) == 0
    assert (tmp_path / "out" / "bert" / "SST-2.tsv").is_file()


def test_task_without_test_sets_is_said(work):
    """A task whose YAML states none is no failure but a line."""
    writer, stored, said = work(task=task_spec())
    assert writer.write(stored) == 0
    assert said[-1].endswith("the task states no 'test_sets'")


def test_predictions_are_not_written_through_a_link(work, tmp_path):
    """A model's folder that leads elsewhere is refused in a line, and nothing is written there."""
    write(tmp_path, "sst2", [{"idx": 4, "sentence": "good", "label": -1}])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "bert").symlink_to(tmp_path / "elsewhere")
    writer, stored, _ = work(task=task_spec(test_sets=(SubmissionSpec(file="SST-2.tsv"),)))
    with pytest.raises(StoreError, match="is a link"):
        writer.write(stored)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", "..", ".hidden", "a/b", "a\\b", "a\n", "a\0", ""])
def test_names_of_submissions_are_plain(name):
    """A task of a stranger's YAML names files in its folder, and nowhere else."""
    with pytest.raises(ValueError, match="pattern"):
        SubmissionSpec(file=name)
    with pytest.raises(ValueError, match="pattern"):
        SubmissionSpec(file="a.json", null_odds=name)


def test_two_test_sets_have_two_files():
    """The second would replace the first without a word."""
    with pytest.raises(ValueError, match="name a file twice"):
        task_spec(test_sets=(SubmissionSpec(file="a.tsv"), SubmissionSpec(file="A.tsv", split="other")))
