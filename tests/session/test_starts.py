"""Training from a model's checkpoint of another task: which one, with which head, and how its records tell."""

from dataclasses import replace

import pytest

from bertbench.errors import UsageError
from bertbench.models.sources import Source
from bertbench.quality.run import prepare
from bertbench.quality.work import Work
from bertbench.records.store import Store
from bertbench.report.caveats import StartedFrom, TrainingResampled
from bertbench.report.compare.evidence import caveats_of
from bertbench.session.starts import digests_of, starts_of, told
from bertbench.specs.models import FineTuned
from bertbench.specs.tasks import TrainingSpec
from tests.factories import model_spec, predictions, quality_record, session_record, task_spec

pytestmark = pytest.mark.usefixtures("one_thread")
MNLI = task_spec("mnli", labels=("entailment", "neutral", "contradiction"))


@pytest.fixture
def trained(tmp_path, tiny):
    """A store that keeps a checkpoint of bert on MNLI, with three outputs."""
    import shutil

    from bertbench.models import configurations
    from bertbench.models.loading import auto_class, head_settings

    store, folder = Store(tmp_path), tiny()
    kept = store.checkpoints_folder / "kept"
    shutil.copytree(folder, kept)
    config = configurations.load(folder, **head_settings(MNLI))
    auto_class(MNLI.kind).from_config(config).save_pretrained(kept)
    store.keep_checkpoint(kept)
    store.write_session(session_record(("bert",), ("mnli",)))
    record = quality_record("bert", predictions(0.8), task=MNLI, finetuned_checkpoint="checkpoints/kept")
    store.write_record(replace(record, model=model_spec().model_dump(mode="json")))
    return store


def test_nothing_is_looked_for_without_a_task_to_start_from(tmp_path):
    """Most runs start from the model."""
    assert starts_of(None, [model_spec()], ["rte"], Store(tmp_path)) == {}


def test_the_run_that_kept_its_checkpoint_is_found_and_told(trained):
    """The own run on the task is taken; its run id is for the records, its weights are in the request."""
    starts = starts_of("mnli", [model_spec()], ["rte"], trained)
    assert starts["bert"].as_json() == {"task": "mnli", "run": "quality-bert-mnli-1"}
    assert digests_of(starts).keys() == {"bert"}
    source = starts["bert"].source(Source(model_spec(), None, "demo", "pretrained", "d"))
    assert (source.weights, source.tokenizer) == ("fine-tuned", trained.checkpoints_folder / "kept")


@pytest.mark.parametrize(
    "partial", [{"capped": True}, {"settings": {"mode": "fine-tune", "train_samples": 64, "train_available": 392_702}}]
)
def test_a_run_on_part_of_the_data_is_no_start(trained, partial):
    """What has barely learnt the task is passed over for the published checkpoint, or refused in a line that says why."""
    (stored,) = trained.sessions()
    trained.write_record(replace(stored.records[0], **partial))
    spec = model_spec(finetuned={"mnli": FineTuned(checkpoint="someone/bert-mnli", revision="a" * 40)})
    starts = starts_of("mnli", [spec], ["rte"], Store(trained.root))
    assert starts["bert"].as_json() == {"task": "mnli", "checkpoint": "someone/bert-mnli"}
    with pytest.raises(UsageError, match="keeps no checkpoint of bert") as error:
        starts_of("mnli", [model_spec()], ["rte"], Store(trained.root))
    assert "runs on a part of the data do not count" in error.value.hint


def test_a_run_on_all_of_the_data_is_a_start(trained):
    """All samples that there are make no part."""
    (stored,) = trained.sessions()
    record = stored.records[0]
    whole = {"train_samples": 392_702, "train_available": 392_702}
    trained.write_record(replace(record, settings=record.settings | whole))
    assert starts_of("mnli", [model_spec()], ["rte"], Store(trained.root))["bert"].run == record.run_id


def test_it_is_said_what_is_taken(trained):
    """Which run, or which published checkpoint, is a line a model."""
    spec = model_spec("other", finetuned={"mnli": FineTuned(checkpoint="someone/other-mnli", revision="a" * 40)})
    assert told(starts_of("mnli", [model_spec(), spec], ["rte"], trained)) == [
        "bert starts from mnli: run quality-bert-mnli-1", "other starts from mnli: someone/other-mnli",
    ]  # fmt: skip


def test_a_task_with_other_labels_gets_a_new_head(trained):
    """Three outputs of MNLI are none of a task with two classes."""
    source = starts_of("mnli", [model_spec()], ["rte"], trained)["bert"].source(
        Source(model_spec(), None, "demo", "pretrained", "d")
    )
    source = replace(source, tokenizer="demo")
    recipe = TrainingSpec(max_length=16)
    ready = prepare(Work(source, task_spec("rte"), "fine-tune", recipe, 0, "cpu", "fp32", bf16_training=False))
    assert ready.model.config.num_labels == 2
    assert ready.model.classifier.weight.shape[0] == 2


def test_a_published_checkpoint_will_do(tmp_path):
    """Where no run kept one, the model's configuration may name one."""
    spec = model_spec(finetuned={"mnli": FineTuned(checkpoint="someone/bert-mnli", revision="a" * 40)})
    starts = starts_of("mnli", [spec], ["rte"], Store(tmp_path))
    assert starts["bert"].as_json() == {"task": "mnli", "checkpoint": "someone/bert-mnli"}


def test_what_cannot_start_is_refused(trained, tmp_path):
    """A model without a checkpoint on the task says how to get one; a task cannot start from itself; other weights do not count."""
    with pytest.raises(UsageError, match="keeps no checkpoint of other on mnli") as error:
        starts_of("mnli", [model_spec(), model_spec("other")], ["rte"], trained)
    assert "--task mnli --models other --finetune" in error.value.hint
    with pytest.raises(UsageError, match="cannot start from itself"):
        starts_of("mnli", [model_spec()], ["rte", "mnli"], trained)
    with pytest.raises(UsageError, match="keeps no checkpoint of bert"):
        starts_of("mnli", [model_spec(revision="b" * 40)], ["rte"], trained)


def test_what_learnt_a_draw_of_the_data_is_no_start(trained):
    """A run on a resampled training set has seen two examples of three."""
    (stored,) = trained.sessions()
    for record in stored.records:
        trained.write_record(replace(record, settings=record.settings | {"train_distinct": 63}))
    with pytest.raises(UsageError, match="keeps no checkpoint of bert"):
        starts_of("mnli", [model_spec()], ["rte"], Store(trained.root))


def test_it_is_said_beside_the_score():
    """A score that began on another task is another figure."""
    record = quality_record("bert", predictions(0.8))
    started = replace(record, settings=record.settings | {"start": {"task": "mnli", "run": "r"}})
    assert StartedFrom("mnli") in caveats_of(started)
    drawn = replace(record, settings=record.settings | {"train_distinct": 63})
    assert TrainingResampled() in caveats_of(drawn)
    assert TrainingResampled() not in caveats_of(record)
