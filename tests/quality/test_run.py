"""The quality of one model on one task: learnt, repeated, independent of batches and order, honest about labels."""

import json
import math
import random
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bertbench.errors import CheckpointError, ConfigError, MeasurementError, OutOfTimeError, UsageError
from bertbench.models import products
from bertbench.models.architecture import config_of
from bertbench.models.demo_tokenizer import SPECIAL_TOKENS, vocabulary
from bertbench.models.sources import Source
from bertbench.quality import evaluate
from bertbench.quality import run as quality
from bertbench.quality.work import Work
from bertbench.records.cautions import caution
from bertbench.records.progress import silent
from bertbench.records.record import Measurement
from bertbench.specs.tasks import TrainingSpec
from bertbench.tasks.examples import Examples
from bertbench.tasks.kind import Features
from tests.conftest import CONFIGS
from tests.factories import model_spec, task_spec

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD, BAD, *FILLERS = vocabulary()[len(SPECIAL_TOKENS) : len(SPECIAL_TOKENS) + 12]
RECIPE = TrainingSpec(epochs=5, batch_size=8, learning_rate=5e-3, max_length=32)
TASK = task_spec(metrics=("accuracy", "f1"), primary_metrics=("accuracy", "f1"))
NUMBERS = task_spec("numbers", labels=None, metrics=("pearson", "spearman"), primary_metrics=("pearson", "spearman"))


def tags_task():
    """A task of tags."""
    return task_spec(
        "tags", kind="token-classification", labels=("O", "B-PER", "I-PER"), metrics=("entity_f1",),
        primary_metrics=("entity_f1",), inputs=("tokens",),
    )  # fmt: skip


def toy(split, count=48, *, pairs=False, seed=0):
    """Texts of random length in which one word decides the label."""
    draw = random.Random(f"{split} {seed}")
    labels = tuple(float(number % 2) for number in range(count))

    def text(label):
        words = draw.choices(FILLERS, k=draw.randint(1, 9))
        words.insert(draw.randrange(len(words) + 1), GOOD if label else BAD)
        return " ".join(words)

    inputs = tuple((text(label), *([text(1 - label)] if pairs else [])) for label in labels)
    return Examples(split, tuple(f"{split}-{number}" for number in range(count)), inputs, labels, count)


def shuffled(examples):
    """The same examples in another order."""
    order = random.Random(5).sample(range(len(examples)), len(examples))
    return replace(
        examples,
        ids=tuple(examples.ids[i] for i in order),
        inputs=tuple(examples.inputs[i] for i in order),
        labels=tuple(examples.labels[i] for i in order),
    )


def work_on(folder, mode="evaluate", task=TASK, outputs=None, **fields):
    """Work on the checkpoint in `folder`."""
    weights = "pretrained" if folder else "random"
    source = Source(model_spec(config=CONFIGS["bert"]), folder, "demo", weights, "digest", outputs=outputs)
    values = {"recipe": RECIPE, "seed": 0, "device": "cpu", "dtype": "fp32", "bf16_training": False}
    return Work(source=source, task=task, mode=mode, **(values | fields))


def run(work, train=None, splits=(), progress=silent, **fields):
    """What comes of work on these examples."""
    return quality.run(replace(work, train=train, splits=tuple(splits), **fields), progress)


def value(outcome, quantity, split="validation"):
    """The one value of a quantity."""
    (found,) = (m.values[0] for m in outcome.measurements if (m.quantity, m.split) == (quantity, split))
    return found


@pytest.fixture(scope="module")
def original(tiny, one_thread, tmp_path_factory):
    """A checkpoint fine-tuned on the toy task, once for all tests."""
    outcome = run(work_on(tiny(), "fine-tune"), toy("train"), [toy("validation")])
    folder = tmp_path_factory.mktemp("trained")
    outcome.model.save_pretrained(folder)
    return folder


@pytest.fixture
def trained(original, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(original, tmp_path / "trained")


def permute(folder, names):
    """Swap the outputs of a two-class checkpoint and call them `names`."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for part in ("weight", "bias"):
        tensors[f"classifier.{part}"] = tensors[f"classifier.{part}"].flip(0).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    rename(folder, names)


def rename(folder, names):
    """Call the outputs of a checkpoint `names`."""
    values = json.loads((folder / "config.json").read_text())
    values["id2label"] = {str(number): name for number, name in enumerate(names)}
    values["label2id"] = {name: number for number, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(values))


def test_separable_task_is_learnt(tiny):
    """Fine-tuning finds the word that decides, on sentences it has not seen; everything about it is measured."""
    told = []
    outcome = run(work_on(tiny(), "fine-tune"), toy("train"), [toy("validation")], lambda *given: told.append(given))
    assert value(outcome, "accuracy") == value(outcome, "score") == 1.0
    assert value(outcome, "training_time", None) > 0
    assert value(outcome, "training_loss", None) < math.log(2)
    assert 0 <= value(outcome, "padding_waste", None) < 0.5
    assert (outcome.training.steps, outcome.training.samples_seen) == (30, 240)
    assert {label for label, done, total in told if done == total} == {
        "fine-tuning bert on sst2, seed 0",
        "evaluating bert on sst2, validation",
    }


def test_predictions_are_kept_by_example(trained):
    """Each example has its id, split, prediction, scores in the order of the task's labels, and label."""
    examples = toy("validation", 6)
    predictions = run(work_on(trained), None, [examples]).predictions
    assert predictions["example_id"] == list(examples.ids)
    assert predictions["split"] == ["validation"] * 6
    assert predictions["label"] == list(examples.labels)
    assert [float(np.argmax(scores)) for scores in predictions["scores"]] == predictions["prediction"]


def test_equal_seed_gives_equal_predictions(tiny):
    """The whole run repeats with its seed: new head, order, dropout; another seed is another run."""
    folder, recipe = tiny(), RECIPE.updated({"epochs": 1})
    runs = [
        run(work_on(folder, "fine-tune", seed=seed, recipe=recipe), toy("train"), [toy("validation")])
        for seed in (3, 3, 4)
    ]
    first, again, other = (run.predictions["scores"] for run in runs)
    assert first == again != other


def test_order_of_examples_does_not_matter(trained):
    """Evaluated in another order, every example keeps its prediction, and so do the metrics."""
    examples = toy("validation", 40)
    straight = run(work_on(trained), None, [examples])
    mixed = run(work_on(trained), None, [shuffled(examples)])
    by_id = [
        dict(zip(o.predictions["example_id"], o.predictions["prediction"], strict=True)) for o in (straight, mixed)
    ]
    assert by_id[0] == by_id[1]
    assert value(straight, "score") == value(mixed, "score")


def test_company_of_other_examples_does_not_matter(trained):
    """An example's scores are the same alone and beside longer ones: padding is masked."""
    examples = toy("validation", 12)
    together = run(work_on(trained), None, [examples]).predictions["scores"]
    alone = []
    for i in range(len(examples)):
        one = Examples("validation", examples.ids[i : i + 1], examples.inputs[i : i + 1], examples.labels[i : i + 1], 1)
        alone += run(work_on(trained), None, [one]).predictions["scores"]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def predict(ready, rows):
    """The outputs of rows."""
    return evaluate.predict(ready.model, ready.kind, Features(list(rows)), ready.pad, "all", silent)


@pytest.mark.parametrize("architecture", ["bert", "albert", "distilbert"])
def test_batches_change_no_output(tiny, architecture):
    """Outputs of padded batches are those of each pair alone: masks and token types are right for every model."""
    folder = tiny(architecture, head="sequence-classification")
    ready = quality.prepare(work_on(folder))
    encoded = ready.features(TASK, toy("validation", 24, pairs=True)).rows
    together = predict(ready, encoded)
    alone = [predict(ready, [row])[0] for row in encoded]
    assert ("token_type_ids" in encoded[0]) == (architecture != "distilbert")
    assert len({len(row["input_ids"]) for row in encoded}) > 5
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert np.ptp(together) > 1e-3


def test_batches_are_bounded_in_tokens(tiny, monkeypatch):
    """Long examples go in smaller batches, the longest first; one that is longer than the bound goes alone."""
    ready = quality.prepare(work_on(tiny(head="sequence-classification")))
    monkeypatch.setattr(evaluate, "TOKENS_PER_BATCH", 40)
    sizes = []
    hook = ready.model.register_forward_pre_hook(
        lambda *given: sizes.append(given[2]["input_ids"].shape), with_kwargs=True
    )
    encoded = [{"input_ids": [5] * length, "attention_mask": [1] * length} for length in (3, 50, 20, 4, 10, 10)]
    assert np.stack(predict(ready, encoded)).shape == (6, 2)
    hook.remove()
    assert [tuple(size) for size in sizes] == [(1, 50), (2, 20), (3, 10)]


def test_batches_fit_the_caches_where_they_are_work_enough(tiny, monkeypatch):
    """A model whose small batches keep threads busy gets them; a tiny one takes large batches."""
    model = quality.prepare(work_on(tiny(head="sequence-classification"))).model
    assert evaluate._tokens_at_once(model) == evaluate.TOKENS_PER_BATCH
    monkeypatch.setattr(products, "WORK_FOR_THREADS", 1)
    assert evaluate._tokens_at_once(model) == evaluate.TOKENS_IN_CACHE


def test_regression_is_learnt_and_correlated(tiny):
    """A task of numbers is trained with one output and scored by correlations."""
    train, validation = toy("train"), toy("validation")
    recipe = RECIPE.updated({"epochs": 15})
    outcome = run(work_on(tiny(), "fine-tune", NUMBERS, recipe=recipe), train, [validation])
    assert value(outcome, "pearson") > 0.9
    assert value(outcome, "score") == (value(outcome, "pearson") + value(outcome, "spearman")) / 2
    assert [scores[0] for scores in outcome.predictions["scores"]] == outcome.predictions["prediction"]


def test_permuted_names_are_honoured(trained):
    """A checkpoint whose outputs are swapped and say so predicts what it did before."""
    before = run(work_on(trained), None, [toy("validation")])
    permute(trained, ["Positive", "Negative"])
    after = run(work_on(trained), None, [toy("validation")])
    assert after.predictions["prediction"] == before.predictions["prediction"]
    assert after.predictions["scores"] == before.predictions["scores"]
    assert after.warnings == before.warnings == []


def test_stated_mapping_is_honoured(trained):
    """Where the checkpoint says only LABEL_i, the order stated in the model's YAML is taken, without a warning."""
    permute(trained, ["LABEL_0", "LABEL_1"])
    outcome = run(work_on(trained, outputs=("positive", "negative")), None, [toy("validation")])
    assert value(outcome, "accuracy") == 1.0
    assert outcome.warnings == []


def test_placeholders_without_a_mapping_are_a_guess_that_is_said(trained):
    """LABEL_i without a statement is taken in the task's order, with a warning in the record."""
    rename(trained, ["LABEL_0", "LABEL_1"])
    outcome = run(work_on(trained), None, [toy("validation")])
    assert value(outcome, "accuracy") == 1.0
    assert "LABEL_0" in str(outcome.warnings[0])


def test_conflicting_labels_are_found_before_any_work(trained):
    """A checkpoint of another task is refused while preparing, naming both sides."""
    rename(trained, ["sports", "politics"])
    with pytest.raises(CheckpointError, match=r"\['sports', 'politics'\] conflict with the task's"):
        quality.prepare(work_on(trained))


def test_headless_checkpoint_is_never_evaluated(tiny):
    """An encoder without a head of its own cannot be evaluated as it is."""
    with pytest.raises(CheckpointError, match="no trained head"):
        run(work_on(tiny()), None, [toy("validation")])


def test_incomplete_encoder_is_never_fine_tuned(tiny, edit_weights):
    """Weights missing outside the new head stop fine-tuning while preparing: never silently random."""
    folder = tiny(head="masked-lm")
    edit_weights(folder, lambda tensors: tensors.pop("bert.encoder.layer.0.output.dense.weight"))
    with pytest.raises(CheckpointError, match="weights of the encoder are missing"):
        quality.prepare(work_on(folder, "fine-tune"))


def test_new_pooler_is_said(tiny):
    """A pre-training checkpoint without a pooler is usable, and the record says that one was added."""
    assert quality.prepare(work_on(tiny(head="masked-lm"), "fine-tune")).warnings == [caution("new-pooler")]


def test_training_from_scratch_is_said_and_seeded():
    """A model with an architecture only starts from random weights of the run's seed, with a warning."""
    spec = model_spec(checkpoint=None, config=CONFIGS["bert"] | {"vocab_size": len(vocabulary())})
    scratch = work_on(None, "fine-tune")
    scratch = replace(scratch, source=replace(scratch.source, spec=spec))
    first, again, other = (quality.prepare(replace(scratch, seed=seed)) for seed in (1, 1, 2))
    weights = [ready.model.base_model.embeddings.word_embeddings.weight for ready in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.warnings == [caution("random-start")]


def test_outputs_that_are_not_finite_are_an_error(trained, edit_weights):
    """NaN in a checkpoint never becomes a class."""
    edit_weights(trained, lambda tensors: tensors["classifier.bias"].fill_(math.nan))
    with pytest.raises(MeasurementError, match="some outputs are not finite"):
        run(work_on(trained), None, [toy("validation")])


def test_training_that_breaks_gives_no_score(tiny):
    """A learning rate that breaks the weights ends in an error, not in the score of noise."""
    recipe = RECIPE.updated({"learning_rate": 1e30})
    with pytest.raises(MeasurementError, match=r"the loss is (nan|inf)"):
        run(work_on(tiny(), "fine-tune", recipe=recipe), toy("train"), [toy("validation")])


def test_length_beyond_the_model_is_a_usage_error(trained):
    """--max-length above what the model takes is refused with both numbers."""
    assert config_of(model_spec(), trained).max_position_embeddings == 64
    with pytest.raises(UsageError, match="--max-length 65 is beyond the model's 64 tokens"):
        quality.prepare(work_on(trained, recipe=RECIPE.updated({"max_length": 65})))


def test_cut_examples_are_said(trained, tiny):
    """Every example that loses something to the limit is counted, of training too; one that just fits is not."""
    parts = (toy("validation", 12), RECIPE.updated({"max_length": 6}))
    lengths = [len(text.split()) + 2 for (text,) in parts[0].inputs]
    said = f"{sum(one > 6 for one in lengths)} of 12 examples of validation lose what is beyond the limit of 6 tokens"
    assert 6 in lengths
    assert said in map(str, run(work_on(trained, recipe=parts[1]), None, [parts[0]]).warnings)
    whole = run(work_on(trained, recipe=RECIPE.updated({"max_length": max(lengths)})), None, [parts[0]])
    assert whole.warnings == []
    learnt = run(work_on(tiny(), "fine-tune", recipe=parts[1]), toy("train"), [parts[0]])
    assert any("of 48 examples of train lose what is beyond" in str(line) for line in learnt.warnings)


def test_tokenizer_that_does_not_fit_is_found_while_preparing(tiny):
    """Fewer embeddings than tokens is an error before any work."""
    with pytest.raises(CheckpointError, match="its tokenizer has"):
        quality.prepare(work_on(tiny(vocab_size=30, head="sequence-classification")))


def test_lower_precision_is_used_for_evaluation(trained):
    """--dtype bf16 evaluates in bf16 and still predicts well."""
    ready = quality.prepare(work_on(trained, dtype="bf16"))
    assert ready.model.dtype == torch.bfloat16
    outcome = run(work_on(trained, dtype="bf16"), None, [toy("validation")])
    assert value(outcome, "accuracy") > 0.9


def test_several_splits_are_measured_apart(trained):
    """Every split has its own figures and predictions."""
    outcome = run(work_on(trained), None, [toy("validation", 8), toy("matched", 6)])
    assert [m.n for m in outcome.measurements if m.quantity == "score"] == [8, 6]
    assert outcome.predictions["split"] == ["validation"] * 8 + ["matched"] * 6


def test_metric_that_is_undefined_is_left_out():
    """A correlation of constant predictions is no number: neither it nor a score of it is stored."""
    found = evaluate.scores(NUMBERS, toy("validation", 4), [1.0] * 4)
    assert found == []
    task = task_spec(metrics=("accuracy", "pearson"), primary_metrics=("accuracy",))
    found = evaluate.scores(task, toy("validation", 4), [1.0] * 4)
    assert found == [
        Measurement(name, "1", (0.5,), split="validation", n=4, n_unit="examples") for name in ("accuracy", "score")
    ]


def test_metric_that_gives_what_no_score_is_names_itself(monkeypatch):
    """A metric of a user's own that is no share and no correlation is refused by its name, not stored as 320 %."""
    odd = SimpleNamespace(compute=lambda **_: {"perplexity": 3.2})
    monkeypatch.setattr("bertbench.stats.evaluate_metrics.load", lambda _: odd)
    with pytest.raises(MeasurementError, match=r"metric perplexity gave 3\.2, which is above 1"):
        evaluate.metric_values(task_spec(metrics=("perplexity",), primary_metrics=("perplexity",)), [1.0], [1.0])


def test_trained_weights_are_kept_as_they_were_trained(tiny):
    """--dtype bf16 evaluates a copy in bf16; the checkpoint keeps every digit and evaluates in fp32 as well."""
    recipe = RECIPE.updated({"epochs": 1})
    folder, parts = tiny(), (toy("train"), [toy("validation")])
    rounded, full = (
        run(work_on(folder, "fine-tune", recipe=recipe, dtype=dtype), *parts) for dtype in ("bf16", "fp32")
    )
    for name, tensor in rounded.model.state_dict().items():
        assert torch.equal(tensor, full.model.state_dict()[name]), name
    kept = rounded.model.classifier.weight
    assert kept.dtype == torch.float32
    assert not torch.equal(kept, kept.bfloat16().float())
    scores = torch.tensor(rounded.predictions["scores"])
    assert torch.equal(scores, scores.bfloat16().float())
    assert rounded.predictions["scores"] != full.predictions["scores"]


@pytest.mark.parametrize(("dtype", "start"), [("fp32", "bert"), ("bf16", "albert")])
def test_kept_checkpoint_has_the_score_of_its_training(tiny, tmp_path, dtype, start):
    """Trained in bf16, a model is scored in the stated format after each epoch and at the end, as its checkpoint is later."""
    parts = {"recipe": RECIPE.updated({"epochs": 2, "learning_rate": 5e-4}), "dtype": dtype}
    epochs = []
    work = work_on(tiny(start), "fine-tune", bf16_training=True, **parts)
    look = evaluate.predict

    def predict(model, kind, features, *rest):
        epochs.append([output.tolist() for output in look(model, kind, features, *rest)])
        save = tmp_path / str(len(epochs))
        model.save_pretrained(save, state_dict={name: value.float() for name, value in model.state_dict().items()})
        return look(model, kind, features, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "predict", predict)
        outcome = quality.run_and_save(
            replace(work, train=toy("train", 96), splits=(toy("validation", 24),), keep=tmp_path / "kept")
        )
    later = run(work_on(tmp_path / "kept", **parts), None, [toy("validation", 24)])
    assert later.predictions == outcome.predictions
    assert value(later, "score") == next(m.values[0] for m in outcome.measurements if m.quantity == "score")
    assert len(epochs) == 2
    for number, outputs in enumerate(epochs, 1):
        ready = quality.prepare(work_on(tmp_path / str(number), **parts))
        features = ready.features(work.task, toy("validation", 24))
        assert [one.tolist() for one in look(ready.model, ready.kind, features, ready.pad, "", silent)] == outputs


def test_training_in_bf16_is_another_training(tiny):
    """The format shapes the weights, which stay in fp32; what is left of it on the model is nothing."""
    recipe = RECIPE.updated({"epochs": 1})
    models = [
        run(work_on(tiny(), "fine-tune", recipe=recipe, bf16_training=bf16), toy("train"), [toy("validation")]).model
        for bf16 in (True, False)
    ]
    weights = [model.classifier.weight for model in models]
    assert weights[0].dtype == torch.float32
    assert not torch.equal(*weights)
    assert "forward" not in models[0].__dict__


def test_threads_are_for_work_that_is_worth_them(tiny):
    """A tiny model runs on one thread, however many are asked for; a batch of much work gets them all."""
    model = quality.prepare(work_on(tiny(head="sequence-classification"))).model
    assert quality.useful_threads(model, 64, 8) == 1
    assert quality.useful_threads(model, 10**6, 8) == 8
    assert quality.useful_threads(model, 10**6, 1) == 1


def test_classifier_of_other_labels_is_fine_tuned_with_a_new_head(tiny):
    """A three-class checkpoint learns a two-class task."""
    folder = tiny(head="sequence-classification", num_labels=3)
    outcome = run(work_on(folder, "fine-tune"), toy("train"), [toy("validation")])
    assert value(outcome, "accuracy") == 1.0
    assert len(outcome.predictions["scores"][0]) == 2


def test_metric_of_another_kind_is_refused(tiny):
    """A metric that cannot be of the task's predictions is found before anything is trained."""
    task = task_spec(metrics=("accuracy", "entity_f1"), primary_metrics=("accuracy",))
    with pytest.raises(ConfigError, match="metric entity_f1 is for tags"):
        quality.prepare(work_on(tiny(), "fine-tune", task))


def test_features_are_shared_by_content(tiny, monkeypatch):
    """Seeds and models of one vocabulary tokenize the same examples once; another limit or text is another matter."""
    from bertbench.quality import features as _features
    from bertbench.tasks.kinds.sequence_classification import SequenceClassification

    calls = []
    whole = SequenceClassification.encode
    monkeypatch.setattr(SequenceClassification, "encode", lambda *a, **k: calls.append(1) or whole(*a, **k))
    _features._kept.clear()
    ready = {name: quality.prepare(work_on(tiny(name), "fine-tune")) for name in ("bert", "distilbert")}
    first = ready["bert"].features(TASK, toy("validation", 12))
    again = ready["bert"].features(TASK, toy("validation", 12))
    other = ready["distilbert"].features(TASK, toy("validation", 12))
    assert len(calls) == 1
    assert first is again
    assert "token_type_ids" in first.rows[0]
    assert "token_type_ids" not in other.rows[0]
    assert [row["input_ids"] for row in other.rows] == [row["input_ids"] for row in first.rows]
    ready["bert"].features(TASK, toy("validation", 12, seed=1))
    ready["bert"].max_length = 5
    ready["bert"].features(TASK, toy("validation", 12))
    assert len(calls) == 3


def test_run_that_learnt_nothing_says_so(tiny):
    """The score of the majority class stands beside, and a run that does no better is reported, not dropped."""
    outcome = run(
        work_on(tiny(), "fine-tune", recipe=RECIPE.updated({"learning_rate": 1e-9})), toy("train"), [toy("validation")]
    )
    assert any(str(line).startswith("diverged or learned nothing: its score is") for line in outcome.warnings)
    baseline = next(m for m in outcome.measurements if m.quantity == "baseline_score")
    assert (baseline.statistic, baseline.note) == ("trivial", "majority class")
    learnt = run(work_on(tiny(), "fine-tune"), toy("train"), [toy("validation")])
    assert not any(warning.kind == "not-learned" for warning in learnt.warnings)


def one_class(examples, label):
    """The same examples, all of one class."""
    return replace(examples, labels=(label,) * len(examples))


@pytest.mark.parametrize(
    ("task", "label"), [(task_spec(), 1.0), (task_spec(metrics=("f1",), primary_metrics=("f1",)), 0.0)]
)
def test_perfect_baseline_says_nothing_of_the_model(tiny, task, label):
    """One class throughout, and right: the data cannot tell, whether the metric then gives 100 or 0."""
    parts = one_class(toy("train"), label), [one_class(toy("validation"), label)]
    outcome = run(work_on(tiny(), "fine-tune", task), *parts)
    assert set(outcome.predictions["prediction"]) == {label}
    (line,) = outcome.warnings
    assert str(line).startswith(
        f"validation cannot tell whether anything was learned: its score is {100 * label:.1f}, the most"
    )


def test_score_that_no_prediction_can_have_is_no_divergence(tiny):
    """Of constant numbers no correlation is defined, whatever is predicted."""
    parts = toy("train"), [one_class(toy("validation"), 1.0)]
    outcome = run(work_on(tiny(), "fine-tune", NUMBERS), *parts)
    assert outcome.warnings == []
    assert [one.metric for one in outcome.undefined] == ["pearson", "spearman", "score"]


TAGS = task_spec(
    "tags", kind="token-classification", inputs=("tokens",), label="tags", labels=("O", "B-X", "I-X"),
    metrics=("entity_f1",), primary_metrics=("entity_f1",),
)  # fmt: skip
WORDLESS = ((), ("",), (" ", ""))


def tagged(split, count=40, wordless=()):
    """Sentences of which one word is an entity, and some without anything to read."""
    sentences = [(FILLERS[number % 7], GOOD, FILLERS[number % 5]) for number in range(count)]
    words = [*sentences, *wordless]
    labels = [tuple(int(word == GOOD) for word in sentence) for sentence in words]
    ids = tuple(f"{split}-{number}" for number in range(len(words)))
    return Examples(split, ids, tuple((sentence,) for sentence in words), tuple(labels), len(words))


@pytest.mark.parametrize("bf16", [False, True])
def test_sentences_without_words_are_left_out_of_training(tiny, bf16):
    """They have nothing to learn: the others are learnt as if they were not there, and they are counted."""
    recipe = RECIPE.updated({"batch_size": 4, "epochs": 4})
    runs = [
        run(work_on(tiny(), "fine-tune", TAGS, recipe=recipe, bf16_training=bf16), train, [tagged("validation", 12)])
        for train in (tagged("train", wordless=WORDLESS * 3), tagged("train"))
    ]
    assert [run.training.left_out for run in runs] == [9, 0]
    assert runs[0].predictions == runs[1].predictions
    assert value(runs[0], "entity_f1") == 1.0
    assert caution("left-out", count=9, examples=49) in runs[0].warnings
    assert not any(warning.kind in {"left-out", "cut-examples"} for warning in runs[1].warnings)


def test_sentences_without_words_are_evaluated_and_said(tiny):
    """Words that give no token are not said to be beyond the limit; without any to learn there is one clear error."""
    parts = tagged("train"), [tagged("validation", 12, WORDLESS)]
    outcome = run(work_on(tiny(), "fine-tune", TAGS), *parts)
    assert caution("unreadable-words", count=2, examples=15, split="validation") in outcome.warnings
    assert not any(warning.kind == "cut-examples" for warning in outcome.warnings)
    with pytest.raises(MeasurementError, match="no training example has anything that gives a token"):
        run(work_on(tiny(), "fine-tune", TAGS), tagged("train", 0, WORDLESS), parts[1])


def test_texts_that_give_no_token_at_all(tiny, tmp_path):
    """Without [CLS] an empty text is nothing: left out of training and counted, and no score is made up for it."""
    folder = tiny()
    backend = json.loads((folder / "tokenizer.json").read_text()) | {"post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(backend))
    work = work_on(folder, "fine-tune", recipe=RECIPE.updated({"epochs": 1}))
    work = replace(work, source=replace(work.source, tokenizer=folder))
    empty = replace(toy("train"), inputs=(("",), *toy("train").inputs[1:]))
    outcome = run(work, empty, [toy("validation")])
    assert outcome.training.left_out == 1
    with pytest.raises(MeasurementError, match="evaluating bert on sst2, validation: 1 examples give no token"):
        run(work, toy("train"), [replace(empty, split="validation")])


def test_best_epoch_stands_apart(tiny):
    """Where evaluating is cheap every epoch is looked at; the score stays that of the last."""
    outcome = run(work_on(tiny(), "fine-tune"), toy("train", 96), [toy("validation", 12)])
    best = next(m for m in outcome.measurements if m.statistic == "best-epoch")
    last = next(m for m in outcome.measurements if (m.quantity, m.statistic) == ("score", "value"))
    assert best.values[0] >= last.values[0]
    assert best.note.startswith("after epoch ")
    assert best.note.endswith("of 5, chosen on these examples; 'score' is the last")
    halves = run(
        work_on(tiny(), "fine-tune", recipe=RECIPE.updated({"epochs": 1.5})), toy("train", 96), [toy("validation", 12)]
    )
    assert any(
        m.note.endswith("of 2, chosen on these examples; 'score' is the last") for m in halves.measurements if m.note
    )
    dear = run(work_on(tiny(), "fine-tune"), toy("train"), [toy("validation")])
    assert not any(m.statistic == "best-epoch" for m in dear.measurements)


def test_best_epoch_of_a_run_that_was_gone_on_from_is_left_out(tiny, tmp_path):
    """Epochs before an interruption were not kept: of the others none is called the best of all."""
    parts = (work_on(tiny(), "fine-tune", state=tmp_path, save_every_s=0.0), toy("train", 96), [toy("validation", 12)])

    def stop(label, step, _):
        if step == 30 and label.startswith("fine-tuning"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(*parts, progress=stop)
    outcome = run(*parts)
    assert caution("resumed", step=29) in outcome.warnings
    assert not any(m.statistic == "best-epoch" for m in outcome.measurements)
    seen = next(m.n for m in outcome.measurements if m.quantity == "training_time")
    assert seen == 5 * 96


def test_parts_add_up_to_the_whole(trained):
    """Answers to parts, put together and brought into order, score as if all had been evaluated at once."""
    split, work = toy("validation", 30), work_on(trained)
    at_once = run(work, splits=[split])
    places = random.Random(1).sample(range(30), 30)
    first, second = (
        quality.answer_part(replace(work, splits=(split.at(part),))) for part in (places[:11], places[11:])
    )
    together = (first.answers[0] + second.answers[0]).at(sorted(range(30), key=places.__getitem__))
    scored = evaluate.score(TASK, [split], [together], RECIPE.max_length)
    assert scored.predictions["example_id"] == list(split.ids)
    assert scored.predictions["prediction"] == at_once.predictions["prediction"]
    np.testing.assert_allclose(scored.predictions["scores"], at_once.predictions["scores"], atol=1e-5)
    assert together.losses.examples == 30
    of_whole = [m for m in at_once.measurements if m.unit != "s"]
    assert [m for m in scored.measurements if m.unit != "s"] == of_whole
    assert first.attention == at_once.attention


def test_a_model_stays_loaded_between_parts(trained, monkeypatch):
    """The next part of a checkpoint loads nothing; other weights, lengths and formats are loaded anew."""
    loaded, prepare = [], quality.prepare
    monkeypatch.setattr(quality, "prepare", lambda work: loaded.append(work.dtype) or prepare(work))
    quality._waiting.clear()
    work = work_on(trained, splits=(toy("validation", 4),))
    for part in (
        work,
        work,
        replace(work, dtype="bf16"),
        work,
        replace(work, recipe=RECIPE.updated({"max_length": 9})),
    ):
        quality.answer_part(part)
    assert loaded == ["fp32", "bf16", "fp32"]


def test_an_evaluation_ends_at_its_deadline(trained):
    """What is not done when time is up is no answer; a training run's evaluation goes on."""
    split = toy("validation", 300)
    late = replace(work_on(trained), splits=(split,), deadline=time.monotonic() - 1)
    with pytest.raises(OutOfTimeError, match="evaluating bert on sst2, validation: stopped at the time limit after"):
        quality.answer_part(late)


@pytest.mark.parametrize(
    ("task", "first", "second", "expected"),
    [
        (TASK, [0, 1, 1], [0, 0, 1], (1, 3)),
        (NUMBERS, [0.5, 1.0, 4.0], [0.51, 1.0, 4.1], (1, 3)),
        (tags_task(), ['["O", "B-PER"]', '["O"]'], ['["O", "O"]', '["O"]'], (1, 3)),
    ],
)
def test_answers_that_differ_are_counted(task, first, second, expected):
    """Classes and tags one by one, numbers where they differ by more than rounding."""
    labels = [0.0, 2.0, 5.0]
    given = [evaluate.Replies({"prediction": column, "label": labels}, 1.0, None) for column in (first, second)]
    assert evaluate.disagreements(task, *given) == expected
