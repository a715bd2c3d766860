"""Quality cells: measured or taken over, recorded as what they are, checkpoints kept as asked."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from bertbench.errors import MeasurementError, StoreError
from bertbench.models.checkpoints import trained_length
from bertbench.models.sources import Encoder, Source
from bertbench.quality.work import Teaching, Work
from bertbench.records.cautions import caution
from bertbench.records.progress import silent
from bertbench.records.store import Store
from bertbench.session.cells import Cell
from bertbench.session.quality import drop_checkpoints, measure_quality, quality_key
from bertbench.session.request import Options, Request
from bertbench.session.steps import Session
from bertbench.specs.suites import SuiteSpec
from bertbench.specs.tasks import TrainingSpec
from bertbench.tasks.examples import Examples
from tests.factories import environment, model_spec, session_record, task_spec

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST, SECOND = "20261124T120000-aaaaaa", "20261125T120000-bbbbbb"
RECIPE = TrainingSpec(epochs=1, batch_size=4, max_length=16)


def examples(split, count=8):
    """A few examples."""
    ids = tuple(f"{split}-{number}" for number in range(count))
    return Examples(split, ids, (("good",), ("bad",)) * (count // 2), (1.0, 0.0) * (count // 2), count)


@pytest.fixture
def start(tmp_path):
    """Starts a session in the same store: `start(id, **options)`."""

    def make(session_id=FIRST, **options):
        suite = SuiteSpec(name="base", title="Base", models=("bert",), reference="bert")
        asked = Request(
            "run", (), suite, (model_spec(),), "bert", (task_spec(),), Options(**options), may_be_random=False
        )
        record = session_record(session_id=session_id, complete=False)
        session = Session(asked, Store(tmp_path), lambda _: None, silent, environment(), record, None)
        session.store.write_session(record)
        return session

    return make


@pytest.fixture(scope="module")
def folder(tiny):
    """A bare encoder."""
    return tiny()


def cell(folder, *, seed=0, mode="fine-tune", dtype="fp32", bf16=False, **source):
    """A quality run on the checkpoint in `folder`."""
    values = {"spec": model_spec(), "folder": folder, "tokenizer": "demo", "weights": "pretrained", "digest": "d"}
    encoder = Encoder(Source(**(values | source)), None)
    data = {"train": examples("train") if mode == "fine-tune" else None, "splits": (examples("validation"),)}
    work = Work(encoder.source, task_spec(), mode, RECIPE, seed, "cpu", dtype, bf16_training=bf16, **data)
    return Cell(encoder, work.task, seed, work)


def checkpoints(session):
    """Names of kept checkpoints."""
    return sorted(path.name for path in session.store.checkpoints_folder.glob("*"))


def test_fine_tuned_record_says_so(start, folder):
    """What was trained here is recorded with fine-tuned weights and where they came from, also if it failed."""
    session = start()
    measure_quality(session, cell(folder))
    (record,) = session.written
    assert (record.status, record.weights, record.weights_digest) == ("ok", "fine-tuned", "d")
    assert (session.store.root / record.finetuned_checkpoint / "model.safetensors").is_file()


def test_record_of_a_grid_says_both_seeds(start, folder):
    """A run of a grid has the seed of its data, and a run with one seed for both is taken into the grid as that."""
    session = start()
    measure_quality(session, cell(folder))
    plain = cell(folder)
    measure_quality(session, replace(plain, work=replace(plain.work, data_seed=0), data_seed=0))
    measure_quality(session, replace(plain, work=replace(plain.work, data_seed=1), data_seed=1))
    assert [record.seed_label for record in session.written] == ["0", "0/0", "0/1"]
    assert session.written[1].key == session.written[0].key != session.written[2].key


def test_evaluated_checkpoint_says_where_it_comes_from(start, tiny):
    """How a published checkpoint came about is in the settings of its record; of another model nothing is said."""
    session, origin = start(), {"recipe": "distilled", "origin": "its authors"}
    tuned = tiny(head="sequence-classification")
    measure_quality(session, cell(tuned, mode="evaluate", weights="fine-tuned", origin=origin))
    (stored,) = session.store.sessions()
    assert stored.records[0].settings["origin"] == origin
    measure_quality(session, cell(tuned, mode="evaluate", digest="other"))
    assert "origin" not in session.written[-1].settings


def test_what_loading_changed_is_in_the_record(start, folder):
    """Counts by split, and in words among the warnings."""
    session, whole = start(), cell(folder)
    changed = {"changes": {"renumbered": 8}, "remarks": ("8 ids were replaced",), "task_name": "sst2"}
    train = replace(whole.work.train, **changed)
    measure_quality(session, replace(whole, work=replace(whole.work, train=train)))
    (record,) = session.written
    assert record.data_changes == {"train": {"renumbered": 8}, "validation": {}}
    assert caution("data", text="sst2, train: 8 ids were replaced") in record.warnings
    (stored,) = session.store.sessions()
    assert stored.records[0].data_changes == record.data_changes


def test_failed_record_has_its_reason(start, folder):
    """A run that fails is a record of the same cell with the reason and no checkpoint."""

    def fail(*_):
        raise MeasurementError("too hot", "wait")

    session = start()
    measure_quality(session, cell(folder), fail)
    (record,) = session.written
    assert (record.status, record.error.message, record.finetuned_checkpoint) == ("failed", "too hot", None)


def test_evaluation_in_lower_precision_keeps_the_weights(start, folder):
    """The kept checkpoint of a bf16 run is in fp32 with the digits of training, not rounded ones."""
    from safetensors.torch import load_file

    session = start(dtype="bf16")
    measure_quality(session, cell(folder, dtype="bf16"))
    tensors = load_file(session.store.root / session.written[0].finetuned_checkpoint / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not torch.equal(tensors["classifier.weight"], tensors["classifier.weight"].bfloat16().float())


def test_finished_run_is_taken_over_once_whole(start, folder):
    """An equal cell is taken over without times; without its predictions it is measured again."""
    first, second = start(), start(SECOND)
    measure_quality(first, cell(folder))
    measure_quality(second, cell(folder), lambda *_: pytest.fail("run again"))
    (taken,) = second.written
    assert taken.run_id == first.written[0].run_id
    assert all(item.unit != "s" for item in taken.measurements)
    for path in second.store.root.rglob("predictions-*"):
        path.unlink()
    third = start("20261126T120000-cccccc")
    measure_quality(third, cell(folder))
    assert third.written[0].run_id.startswith(third.id)


def test_whoever_watches_is_told_once_of_what_is_taken_over(start, folder):
    """A cell that is taken from an earlier run is seen and tracked like a measured one, as this session's."""
    told = []
    for session_id in (FIRST, SECOND):
        session = start(session_id)
        session.watch = SimpleNamespace(begin=lambda *_: None, tell=told.append)
        measure_quality(session, cell(folder))
        assert told == session.written
        told.clear()


@pytest.mark.parametrize("keep", ["none", "best"])
def test_checkpoints_of_other_sessions_stay(start, folder, keep):
    """--keep-checkpoints drops what this session trained, never what an earlier one kept and this one took over."""
    first, second = start(), start(SECOND, keep_checkpoints=keep)
    measure_quality(first, cell(folder))
    kept = checkpoints(first)
    measure_quality(second, cell(folder))
    for seed in (1, 2):
        measure_quality(second, cell(folder, seed=seed))
    assert len(checkpoints(second)) == 3
    drop_checkpoints(second)
    left = checkpoints(second)
    assert set(kept) <= set(left)
    assert len(left) == (1 if keep == "none" else 2)
    (stored, _) = second.store.sessions()
    assert stored.session.session_id == SECOND
    listed = [record.finetuned_checkpoint for record in stored.records if record.finetuned_checkpoint]
    assert sorted(path.split("/")[1] for path in listed) == left


TRAINING = {"epochs", "batch_size", "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm", "training_dtype"}


def with_head(tiny):
    """A fine-tuned checkpoint whose outputs are the task's."""
    folder = tiny(head="sequence-classification")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("keep", ["none", "best", "all"])
def test_a_fresh_run_leaves_the_earlier_checkpoint_as_it_is(start, folder, keep):
    """--fresh trains an equal run again: the earlier run's record names the weights that it was scored with, still there."""
    first, second = start(), start(SECOND, keep_checkpoints=keep, fresh=True)
    measure_quality(first, cell(folder))
    earlier = first.store.checkpoint(first.written[0])
    (earlier / "mine").write_text("x")
    measure_quality(second, cell(folder))
    if keep != "all":
        drop_checkpoints(second)
    assert (earlier / "mine").exists()
    again = second.store.find_run(second.written[0].run_id)[1]
    assert again.finetuned_checkpoint == (None if keep == "none" else f"checkpoints/{earlier.name}-2")
    assert len(checkpoints(second)) == (1 if keep == "none" else 2)


def test_a_name_that_somebody_takes_meanwhile_is_passed_over(start, folder, monkeypatch):
    """Two runs that end at once keep both checkpoints."""
    first, second = start(), start(SECOND, fresh=True)
    measure_quality(first, cell(folder))
    monkeypatch.setattr("bertbench.session.quality.os.path.lexists", lambda _: False)
    measure_quality(second, cell(folder))
    assert second.written[0].finetuned_checkpoint == f"{first.written[0].finetuned_checkpoint}-2"


def test_links_in_an_interrupted_state_are_not_written_through(start, folder, tmp_path):
    """Training does not go on from a state that leads elsewhere: it starts anew, and nothing is written there."""
    session, trained = start(), cell(folder)
    state = session.store.checkpoints_folder / f".training-{quality_key(trained, session.settings)}"
    (state / "checkpoint-1").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.mkdir()
    (state / "checkpoint-2").symlink_to(victim)
    (state / "seconds.json").symlink_to(victim / "seconds.json")
    measure_quality(session, trained)
    assert session.written[0].status == "ok"
    assert list(victim.iterdir()) == []
    state.symlink_to(victim)
    with pytest.raises(StoreError, match="is a link"):
        measure_quality(start(SECOND, fresh=True), cell(folder))
    assert list(victim.iterdir()) == []


def test_evaluated_record_says_nothing_of_training(start, folder, tiny):
    """What was evaluated as it is has a length and no epochs; what was trained has all, the format of training too."""
    session = start()
    measure_quality(session, cell(with_head(tiny), mode="evaluate"))
    measure_quality(session, cell(folder, seed=2))
    measure_quality(session, cell(folder, seed=1, bf16=True))
    evaluated, trained, in_bf16 = (record.settings for record in session.written)
    assert {record.status for record in session.written} == {"ok"}
    assert evaluated.keys() == session.settings.keys() | {"mode", "max_length", "eval_samples", "eval_available"}
    assert evaluated["max_length"] == 16
    assert trained.keys() >= TRAINING | {"max_length", "train_samples", "left_out_of_training"}
    assert (trained["training_dtype"], trained["dtype"], trained["left_out_of_training"]) == ("fp32", "fp32", 0)
    assert (in_bf16["training_dtype"], in_bf16["dtype"]) == ("bf16", "fp32")


def test_kept_checkpoint_knows_its_length(start, folder):
    """What is evaluated later must be read at the length that it was trained and scored with."""
    session = start()
    measure_quality(session, cell(folder))
    kept = session.store.root / session.written[0].finetuned_checkpoint
    assert trained_length(kept, "sst2") == 16
    assert trained_length(kept, "rte") is None


def test_key_tells_sources_apart(folder):
    """Outputs, tokenizer, seed, format and mode of a cell are in its key; titles are not."""
    settings = {"device": "cpu"}
    base = cell(folder)
    others = [
        base,
        cell(folder, outputs=("positive", "negative")),
        cell(folder, tokenizer=""),
        cell(folder, digest="other"),
        cell(folder, seed=1),
        cell(folder, dtype="bf16"),
        cell(folder, bf16=True),
        cell(folder, mode="evaluate"),
    ]
    assert len({quality_key(each, settings) for each in others}) == len(others)
    retitled = cell(folder, spec=model_spec(title="Another"))
    assert quality_key(retitled, settings) == quality_key(base, settings)
    same, other = (replace(base, work=replace(base.work, data_seed=seed), data_seed=seed) for seed in (0, 1))
    assert quality_key(same, settings) == quality_key(base, settings)  # both seeds are the same, as ever
    assert quality_key(other, settings) != quality_key(base, settings)
    more = replace(base, work=replace(base.work, train=examples("train", 10)))
    assert quality_key(more, settings) != quality_key(base, settings)


def test_a_run_that_started_elsewhere_is_not_taken_for_one_of_the_same_weights(start, folder):
    """Trained with --start-from, a score keeps that it did; a plain run of that checkpoint is measured, and does not get it."""
    session, plain = start(), cell(folder)
    started = replace(plain, work=replace(plain.work, start={"task": "mnli", "run": "r"}))
    other_run = replace(plain, work=replace(plain.work, start={"task": "mnli", "run": "of equal weights"}))
    keys = [quality_key(each, session.settings) for each in (plain, started, other_run)]
    assert keys[0] != keys[1] == keys[2]
    measure_quality(session, started)
    assert session.written[0].settings["start"]["task"] == "mnli"
    later = start(SECOND)
    measure_quality(later, plain)
    assert "start" not in later.written[0].settings


def test_a_resampled_training_set_is_another_cell_whose_record_counts_it(start, folder):
    """Each data seed has its draw; how many examples of it are different stands in the record, and not in that of a plain run."""
    session, plain = start(), cell(folder)
    drawn, other = (
        replace(plain, work=replace(plain.work, resamples=True, data_seed=seed), data_seed=seed) for seed in (0, 1)
    )
    assert len({quality_key(each, session.settings) for each in (plain, drawn, other)}) == 3
    measure_quality(session, drawn)
    (record,) = session.written
    expected = len(set(plain.work.train.resampled(0).ids))
    assert (record.distinct_samples, record.settings["train_samples"]) == (expected, 8)
    measure_quality(session, plain)
    assert session.written[1].distinct_samples is None


@pytest.mark.parametrize(("fresh", "left"), [(True, False), (False, True)])
def test_fresh_does_not_go_on_from_an_interrupted_run(start, folder, fresh, left):
    """What an interrupted training left is gone on from, but not where --fresh asks to measure again."""
    session, one, seen = start(fresh=fresh), cell(folder), []
    state = session.store.checkpoints_folder / f".training-{quality_key(one, session.settings)}"
    (state / "checkpoint-7").mkdir(parents=True)

    def run(work, _):
        seen.append((work.state == state, (state / "checkpoint-7").is_dir()))
        raise MeasurementError("stopped")

    measure_quality(session, one, run)
    assert seen == [(True, left)]
    assert session.written[0].status == "failed"


HALF = {
    "vocab_size": 430, "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip


def taught(teacher, **distill):
    """A student's cell with its teacher's."""
    spec = model_spec(
        "half", checkpoint=None, architecture="distilbert", config=HALF, distill={"teacher": "bert"} | distill
    )
    source = Source(spec, None, "demo", "random", "r")
    work = replace(teacher.work, source=source, teaching=Teaching(spec.distill))
    return replace(teacher, encoder=Encoder(source, None), work=work, teacher=teacher)


def teaching(session, teacher):
    """The session with that teacher's checkpoint needed."""
    session.teachers = frozenset({quality_key(teacher, session.settings)})
    return session


def test_a_student_learns_from_what_its_teacher_became(start, folder):
    """The student starts from the fine-tuned teacher and is recorded with what it was taught; its checkpoint is an ordinary one."""
    from transformers import AutoModelForSequenceClassification

    teacher = cell(folder)
    student, session = taught(teacher), teaching(start(), teacher)
    measure_quality(session, teacher)
    measure_quality(session, student)
    record = session.written[1]
    assert (record.status, record.settings["teaching"]["teacher"]) == ("ok", "bert")
    kept = AutoModelForSequenceClassification.from_pretrained(session.store.root / record.finetuned_checkpoint)
    assert type(kept).__name__ == "DistilBertForSequenceClassification"
    assert caution("random-start") not in record.warnings


def test_a_failed_teacher_fails_its_student(start, folder):
    """The student is a failed record that names the teacher, and nothing is trained for it."""
    teacher = cell(folder)
    session = teaching(start(), teacher)

    def fail(*_):
        raise MeasurementError("too hot")

    measure_quality(session, teacher, fail)
    measure_quality(session, taught(teacher), fail)
    assert session.written[1].status == "failed"
    assert "its teacher bert could not be trained" in session.written[1].error.message


def test_a_teacher_whose_checkpoint_is_gone_is_trained_again(start, folder):
    """A finished run is taken over only where its checkpoint is there to teach from."""
    import shutil

    teacher = cell(folder)
    first = start()
    measure_quality(first, teacher)
    shutil.rmtree(first.store.root / first.written[0].finetuned_checkpoint)
    second = teaching(start(SECOND), teacher)
    measure_quality(second, teacher)
    assert second.written[0].run_id.startswith(second.id)
    assert (second.store.root / second.written[0].finetuned_checkpoint).is_dir()


def test_key_of_a_student_tells_how_it_was_taught(folder):
    """Temperature, weights, start and teacher are in its key."""
    settings, teacher = {"device": "cpu"}, cell(folder)
    cells = [
        taught(teacher), taught(teacher, temperature=3.0), taught(teacher, alpha_soft=1.0), taught(teacher, start="random"),
        taught(cell(folder, digest="other")),
    ]  # fmt: skip
    assert len({quality_key(one, settings) for one in cells}) == len(cells)
