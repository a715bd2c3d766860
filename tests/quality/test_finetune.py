"""Fine-tuning: learns, repeats, wastes little, stops when it must."""

import json
import math
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertbench.errors import MeasurementError
from bertbench.models.architecture import config_of
from bertbench.models.loading import head_settings, new_with_head
from bertbench.models.sources import Source
from bertbench.quality import finetune as module
from bertbench.quality.features import IGNORED, Collator, padded
from bertbench.quality.finetune import Tools, finetune, total_steps
from bertbench.quality.trainer import _arguments_on
from bertbench.quality.work import Work
from bertbench.records.cautions import caution
from bertbench.records.progress import silent
from bertbench.specs.tasks import TrainingSpec
from bertbench.tasks.kind import Features
from tests.factories import model_spec, task_spec

LABEL = "fine-tuning bert on sst2, seed 0"
PAD = {"input_ids": 0, "token_type_ids": 0, "attention_mask": 0}
RECIPE = TrainingSpec(epochs=4, batch_size=8, learning_rate=5e-3, warmup_ratio=0.1)
ROWS = [
    {"input_ids": [2, 10 + number % 2, *[20 + number % 7] * (number % 5), 3], "attention_mask": [1] * (3 + number % 5)}
    for number in range(48)
]
LABELS = [float(number % 2) for number in range(48)]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tiny):
    """A small classifier with random weights, the same every time."""
    folder = tiny("bert")

    def build(task=None):
        torch.manual_seed(0)
        config, settings = config_of(model_spec(), folder), head_settings(task or task_spec())
        return new_with_head(config, "sequence-classification", "sdpa", settings)

    return build


def train(
    classifier,
    rows=ROWS,
    labels=LABELS,
    recipe=RECIPE,
    *,
    task=None,
    progress=silent,
    each_epoch=None,
    tools=None,
    **options,
):
    """Train with the usual options."""
    source, task = Source(model_spec(), None, "demo", "random", "d"), task or task_spec()
    fields = {"seed": 0, "device": "cpu", "dtype": "fp32", "bf16_training": False} | options
    kind = float if task.is_regression else int
    features = Features(rows, list(range(len(rows))), [{"labels": kind(label)} for label in labels])
    work = Work(source, task, "fine-tune", recipe, **fields)
    return finetune(work, classifier, features, pad=PAD, progress=progress, each_epoch=each_epoch, tools=tools)


def logits(classifier):
    """Outputs for all rows."""
    classifier.eval()
    with torch.inference_mode():
        return classifier(**padded(ROWS, PAD)).logits


def test_separable_task_is_learnt_and_accounted_for(model, capfd):
    """A task that one token decides is learnt; steps, samples, loss and padding are told, and nothing is printed."""
    classifier, seen = model(), []
    capfd.readouterr()
    run = train(classifier, progress=lambda *given: seen.append(given))
    assert capfd.readouterr().out == ""
    assert logits(classifier).argmax(1).tolist() == LABELS
    assert (run.steps, run.samples_seen) == (24, 192)
    assert run.loss < math.log(2)
    assert 0 <= run.padding_waste < 0.35
    assert run.seconds > 0
    assert seen == [(LABEL, step, 24) for step in range(1, 25)]


def test_equal_seed_gives_equal_weights_another_does_not(model):
    """Data order and dropout follow from the seed alone."""
    trained = [model(), model(), model()]
    recipe = RECIPE.updated({"epochs": 1})
    for classifier, seed in zip(trained, (1, 1, 2), strict=True):
        train(classifier, recipe=recipe, seed=seed)
    first, again, other = map(logits, trained)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_regression_is_learnt(model):
    """Numbers as labels are approached, not classified."""
    classifier = model(task_spec(labels=None))
    targets = [2.0 + label for label in LABELS]
    train(classifier, labels=targets, task=task_spec(labels=None), recipe=RECIPE.updated({"epochs": 12}))
    assert (logits(classifier)[:, 0] - torch.tensor(targets)).abs().mean() < 0.4


def test_part_of_an_epoch_counts_what_it_trained_on(model):
    """Half an epoch takes half the steps and sees half the samples."""
    run = train(model(), recipe=RECIPE.updated({"epochs": 0.5}))
    assert (run.steps, run.samples_seen) == (3, 24)


@pytest.mark.parametrize("broken", ["weights", "rate"])
def test_loss_that_is_not_finite_stops_training(model, broken):
    """NaN, from the weights or from too high a learning rate, is an error that says what to lower."""
    classifier, recipe = model(), RECIPE
    if broken == "weights":
        classifier.classifier.weight.data.fill_(math.nan)
    else:
        recipe = RECIPE.updated({"learning_rate": 1e30, "warmup_ratio": 0.0, "weight_decay": 0.0})
    with pytest.raises(MeasurementError, match=rf"{LABEL}: the loss is (nan|inf)") as caught:
        train(classifier, recipe=recipe)
    assert caught.value.hint == "lower --learning-rate"


def test_time_that_is_used_up_stops_training(model):
    """At the deadline training stops within a step and says how far it came."""
    with pytest.raises(MeasurementError, match="stopped at step 1 of 24, --max-minutes is used up"):
        train(model(), deadline=time.monotonic())


@given(st.integers(1, 500), st.integers(1, 64), st.floats(0.01, 5))
def test_steps_cover_the_epochs(samples, batch_size, epochs):
    """There is at least one step, and as many as batches in all epochs, rounded up."""
    recipe = TrainingSpec(epochs=epochs, batch_size=batch_size)
    batches = -(-samples // batch_size)
    assert max(1, batches * epochs) <= total_steps(samples, recipe) <= batches * epochs + 1


def test_batches_are_padded_to_their_own_longest():
    """Rows are filled up to the longest of the batch, each key with its own filler, and absent keys stay absent."""
    batch = padded(
        [{"input_ids": [5, 6], "attention_mask": [1, 1]}, {"input_ids": [7], "attention_mask": [1]}],
        PAD | {"input_ids": 9},
    )
    assert batch["input_ids"].tolist() == [[5, 6], [7, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert "token_type_ids" not in batch


def test_trainer_stays_on_the_device_that_was_asked_for(monkeypatch, tmp_path):
    """On a machine of several GPUs one model is trained on one GPU, the one that was named; on CPU nothing is changed."""
    from transformers import TrainingArguments

    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    arguments = _arguments_on("cuda:1")(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    assert (arguments.device, arguments.n_gpu) == (torch.device("cuda:1"), 1)
    assert chosen == ["cuda:1"]
    assert _arguments_on("cpu") is TrainingArguments


def test_state_of_a_gpu_s_training_can_be_written(monkeypatch, tmp_path):
    """Trainer pickles its arguments beside every state, also those that keep to one GPU."""
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    torch.save(_arguments_on("cuda:0")(output_dir=str(tmp_path), use_cpu=True, learning_rate=3e-5), tmp_path / "saved")
    assert json.loads(torch.load(tmp_path / "saved", weights_only=False))["learning_rate"] == 3e-5


def test_batch_that_does_not_fit_is_halved(model):
    """Out of memory halves the micro-batch, keeps the effective batch, and starts from the same weights."""
    classifier, tried = model(), []
    start = {name: value.clone() for name, value in classifier.state_dict().items()}

    def scarce(attempt, given_model, pad, why):
        tried.append(attempt.micro)
        if attempt.micro > 2:
            given_model.classifier.weight.data.add_(1.0)  # a step had been taken
            raise torch.OutOfMemoryError("out of memory")
        assert all(torch.equal(value, start[name]) for name, value in given_model.state_dict().items())
        on_cpu = replace(attempt, work=replace(attempt.work, device="cpu"))
        return on_cpu.train(given_model, pad, why)

    run = train(classifier, device="cuda:0", recipe=RECIPE.updated({"epochs": 1}), tools=Tools(train=scarce))
    assert tried == [8, 4, 2]
    assert (run.accumulation, run.steps, run.samples_seen) == (4, 6, 48)
    assert "8 examples at once were too many" in run.why_accumulated


def test_one_example_that_does_not_fit_is_an_error(model):
    """Where halving ends, the message says what to lower."""

    def scarce(*_):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(MeasurementError, match="out of memory with one example a batch") as caught:
        train(model(), device="cuda:0", tools=Tools(train=scarce))
    assert caught.value.hint == "lower --max-length"


def test_memory_on_a_cpu_is_forecast(model, monkeypatch):
    """A batch that the system would kill for is not tried; gradients of its parts add up to the same step."""
    recipe = RECIPE.updated({"epochs": 1, "warmup_ratio": 0.0})
    plain, parts = model(), model()
    for classifier in (plain, parts):
        classifier.eval()
        monkeypatch.setattr(classifier, "train", lambda *_, of=classifier: of)  # without dropout
    whole = train(plain, recipe=recipe)
    run = train(parts, recipe=recipe, tools=Tools(free_memory=lambda: 100_350_000))
    assert run.accumulation in {2, 4, 8}
    assert "at once would not fit into 0.1 GB" in run.why_accumulated
    assert run.steps == 6
    assert run.loss == pytest.approx(whole.loss, rel=1e-3)
    assert torch.allclose(logits(plain), logits(parts), atol=2e-2)


def test_interrupted_training_goes_on(model, tmp_path):
    """From the state on disk a second run ends with the weights of an uninterrupted one, and says where it began."""
    recipe = RECIPE.updated({"epochs": 2})
    straight, broken, resumed = model(), model(), model()
    kept = {"state": tmp_path, "save_every_s": 0.0}
    train(straight, recipe=recipe)

    def stop(_, step, __):
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, recipe=recipe, progress=stop, **kept)
    seen = []
    run = train(resumed, recipe=recipe, progress=lambda _, step, __: seen.append(step), **kept)
    assert seen == [8, 9, 10, 11, 12]
    assert torch.equal(logits(straight), logits(resumed))
    assert (run.steps, run.samples_seen) == (12, 96)
    assert run.warnings == (caution("resumed", step=7),)
    assert run.seconds > 0


def test_state_that_was_cut_off_is_passed_over(tmp_path):
    """A state is whole once its last file is there; the newest whole one counts, a broken one is removed."""
    assert module.newest_state(tmp_path) is None
    for step, text in ((9, '{"global_step": 9}'), (70, '{"global_step": 70}'), (80, '{"glob'), (90, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text:
            (folder / "trainer_state.json").write_text(text, encoding="utf-8")
    assert module.newest_state(tmp_path) == str(tmp_path / "checkpoint-70")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-70", "checkpoint-9"]


def test_broken_training_leaves_no_state(model, tmp_path):
    """After a loss that is no number a repetition starts anew, not from broken weights."""
    recipe = RECIPE.updated({"learning_rate": 1e30, "warmup_ratio": 0.0, "weight_decay": 0.0})
    folder = tmp_path / "state"
    with pytest.raises(MeasurementError, match="the loss is"):
        train(model(), recipe=recipe, state=folder, save_every_s=0.0)
    assert not folder.exists()


def test_epochs_are_looked_at_but_the_last(model):
    """What is called after each epoch sees the model in evaluation mode's place, and its time is not training's."""
    calls, classifier = [], model()

    def look():
        classifier.eval()
        time.sleep(0.3)
        calls.append(classifier.training)

    run = train(classifier, recipe=RECIPE.updated({"epochs": 3}), each_epoch=look)
    assert calls == [False, False]
    assert classifier.training
    other = train(model(), recipe=RECIPE.updated({"epochs": 3}))
    assert run.seconds < other.seconds + 0.4


def test_targets_of_tokens_are_padded_with_what_the_loss_ignores():
    """Tags are filled up beside the ids; positions stay one number a row."""
    collator = Collator(PAD, regression=False)
    rows = [
        {"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [0, 1]},
        {"input_ids": [1], "attention_mask": [1], "labels": [2]},
    ]
    assert collator(rows)["labels"].tolist() == [[0, 1], [2, IGNORED]]
    spans = [{"input_ids": [1, 2], "attention_mask": [1, 1], "start_positions": 1, "end_positions": 1}]
    assert collator(spans)["start_positions"].tolist() == [1]
