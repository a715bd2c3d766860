"""Every architecture of the installed transformers that has a classifier: it is fine-tuned and evaluated, or refused in one line.

The program's own way: a checkpoint with random weights, prepared as `run` does, a training step, an evaluation.
"""

import json
from dataclasses import replace

import pytest
import torch

from bertbench.errors import CheckpointError
from bertbench.models.architecture import config_of, encoder_types
from bertbench.models.attention import PLAIN, USUAL
from bertbench.models.loading import load_with_head
from bertbench.quality import run
from bertbench.tasks.examples import Examples
from tests.factories import model_spec, task_spec
from tests.models.architectures import config_for, save
from tests.quality.test_run import RECIPE, TASK, toy, work_on

pytestmark = pytest.mark.usefixtures("one_thread")

SEQUENCES, TOKENS, QUESTIONS = "sequence-classification", "token-classification", "question-answering"
TAGS = task_spec(
    "tags", kind=TOKENS, inputs=("words",), labels=("O", "B-X", "I-X"), metrics=("entity_f1",), primary_metrics=("entity_f1",),
    stride=4,
)  # fmt: skip
ANSWERS = task_spec(
    "answers", kind=QUESTIONS, inputs=("question", "context"), labels=None, metrics=("answer_f1",),
    primary_metrics=("answer_f1",), stride=4,
)  # fmt: skip
NO_HEAD = "transformers has no {} for {}"
# What is refused, and why. All others run on all three kinds of tasks.
REFUSED = {
    # Trained on sequences of one fixed length (the product of its axial positions), which no task has.
    "reformer": {
        SEQUENCES: "reformer cannot be run on a short text",
        TOKENS: NO_HEAD,
        QUESTIONS: "reformer cannot be run on",
    },
    # Its head finds the question's end by three separators, as RoBERTa's tokenizer writes and the demo's does not.
    "longformer": {QUESTIONS: "longformer cannot be run on a short text .*three separator tokens"},
    # Has no pooled output; made for embeddings of pages.
    "neomme": {SEQUENCES: NO_HEAD, TOKENS: NO_HEAD, QUESTIONS: NO_HEAD},
    # Made for answers only.
    "splinter": {SEQUENCES: NO_HEAD, TOKENS: NO_HEAD},
    # Classifiers of texts only. (LayoutLM and TAPAS find answers in boxes and tables, which is another head.)
    "perceiver": {TOKENS: NO_HEAD, QUESTIONS: NO_HEAD},
    "tapas": {TOKENS: NO_HEAD, QUESTIONS: NO_HEAD},
    "layoutlm": {QUESTIONS: NO_HEAD},
    "esm": {QUESTIONS: NO_HEAD},
    "esmc": {QUESTIONS: NO_HEAD},
    "eurobert": {QUESTIONS: NO_HEAD},
    "gte": {QUESTIONS: NO_HEAD},
    "modernvbert": {QUESTIONS: NO_HEAD},
    "nomic_bert": {QUESTIONS: NO_HEAD},
    "ultravbert": {QUESTIONS: NO_HEAD},
}
FUSED = {
    "albert", "bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "esm", "esmc", "eurobert", "gte",
    "jina_embeddings_v3", "layoutlm", "mobilebert", "modernbert", "modernvbert", "nomic_bert", "roberta", "roberta-prelayernorm",
    "roc_bert", "ultrabert", "ultravbert", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip


def with_classifier():
    """The model types that transformers has a sequence classifier for."""
    from transformers.models.auto import modeling_auto

    return set(modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)


def examples_of(task):
    """A few texts with labels, as the task's kind has them."""
    texts = toy("train", 8)
    words = [text.split() for (text,) in texts.inputs]
    if task is TASK:
        return texts
    if task is TAGS:
        inputs, labels = [(tuple(row),) for row in words], [tuple(i % 2 for i in range(len(row))) for row in words]
    else:
        inputs, labels = [("what is it", " ".join(row)) for row in words], [((row[0], 0),) for row in words]
    return Examples("train", texts.ids, tuple(inputs), tuple(labels), 8)


@pytest.mark.slow
@pytest.mark.parametrize("task", [TASK, TAGS, ANSWERS], ids=lambda task: task.kind)
@pytest.mark.parametrize("architecture", sorted(encoder_types()))
def test_every_encoder_is_trained_and_evaluated_or_refused(architecture, task, tmp_path):
    """It runs with the attention that it has, and a note says where that is not torch's fused one; or one line says why not."""
    asked = work_on(
        save(config_for(architecture), tmp_path),
        "fine-tune",
        task,
        recipe=RECIPE.model_copy(update={"max_length": 16, "epochs": 1}),
    )
    refused = REFUSED.get(architecture, {}).get(task.kind)
    if refused:
        with pytest.raises(CheckpointError, match=refused.format(architecture, task.kind)) as caught:
            run.prepare(asked)
        assert "\n" not in str(caught.value)
        assert "download" not in str(caught.value)
        return
    examples = examples_of(task)
    outcome = run.run(replace(asked, train=examples, splits=(examples,)))
    assert outcome.attention == (USUAL if architecture in FUSED else PLAIN)
    said = f"'sdpa' attention is not available for this architecture; it was run with '{PLAIN}'"
    assert (said in map(str, outcome.warnings)) == (architecture not in FUSED)
    assert any(measurement.quantity == "score" for measurement in outcome.measurements)


@pytest.mark.parametrize("architecture", sorted(with_classifier() - encoder_types()))
def test_decoders_and_models_of_pictures_are_refused(architecture, tmp_path):
    """What generates text, BART and T5 among them, or reads pages is refused by its config.json, before weights are read."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": architecture}))
    with pytest.raises(CheckpointError, match=f"'{architecture}' is not a text encoder") as caught:
        config_of(model_spec(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["mpnet", "deberta-v2", "bert"])
def test_checkpoint_is_loaded_whole_whatever_the_attention(architecture, tmp_path):
    """The attention decides nothing about the weights: outputs are the same with either."""
    folder = save(config_for(architecture), tmp_path, SEQUENCES)
    models = [load_with_head(folder, "mine", SEQUENCES, asked, {}, trained=True)[0].eval() for asked in (USUAL, PLAIN)]
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        first, second = (model(input_ids=ids).logits for model in models)
    assert torch.allclose(first, second, atol=1e-6)


def test_of_a_damaged_file_the_file_is_to_blame_and_of_an_architecture_the_architecture(tmp_path):
    """'download it again' is said of files only."""
    folder = save(config_for("splinter"), tmp_path)
    with pytest.raises(CheckpointError, match="transformers has no splinter for sequence-classification") as caught:
        load_with_head(folder, "mine", SEQUENCES, USUAL, {}, trained=False)
    assert "download" not in str(caught.value)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"hidden_size": 33}))
    with pytest.raises(CheckpointError, match=r"not .*multiple of the number of (attention )?heads") as caught:
        load_with_head(folder, "mine", QUESTIONS, USUAL, {}, trained=False)
    assert "download" not in str(caught.value)
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "model.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(CheckpointError, match="its weights cannot be loaded") as caught:
        load_with_head(folder, "mine", QUESTIONS, USUAL, {}, trained=False)
    assert "download it again" in caught.value.hint


@pytest.mark.parametrize("architecture", ["perceiver", "ibert", "big_bird"])
def test_trying_leaves_the_model_as_it_was(architecture, tmp_path):
    """The pass before any work changes neither buffers, nor mode, nor the generator that training draws from."""
    folder = save(config_for(architecture), tmp_path)
    asked = work_on(folder, "fine-tune", recipe=RECIPE.model_copy(update={"max_length": 16}))
    torch.manual_seed(3)
    ready = run.prepare(asked)
    state, buffers = torch.get_rng_state(), {name: value.clone() for name, value in ready.model.named_buffers()}
    from bertbench.models.suitability import check_runs

    check_runs(ready.model, ready.tokenizer, "mine", 1, ready.kind.outputs, types=False, train=True)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, buffers[name]) for name, value in ready.model.named_buffers())


@pytest.mark.slow
def test_timing_records_the_attention_that_each_model_has(tmp_path):
    """Workers load MPNet with its plain attention beside BERT with the fused one; the result and a warning say so."""
    from bertbench.specs.timing import ShapeSpec, TimingSpec
    from bertbench.speed.side_by_side import SpeedTarget, measure_speed

    folders = {name: save(config_for(name), tmp_path / name) for name in ("bert", "mpnet")}
    targets = [SpeedTarget(name, folder) for name, folder in folders.items()]
    timing = TimingSpec(
        rounds=2, turns=1, passes=1, shapes=(ShapeSpec(batch_size=1, sequence_length=8),), min_shape_s=0
    )
    result = measure_speed(targets, "bert", timing, session_id="s")
    assert result.attentions == {"bert": "sdpa", "mpnet": "eager"}
    line = "mpnet: 'sdpa' attention is not available for this architecture; it was timed with 'eager'"
    assert line in map(str, result.warnings)
