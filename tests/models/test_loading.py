"""Tokenizers and models from local folders; what is missing or does not fit is said."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file

from bertbench.errors import CheckpointError
from bertbench.models import loading
from bertbench.models.architecture import config_of
from bertbench.models.checkpoints import local_snapshot
from bertbench.models.loading import head_settings, load_tokenizer, load_with_head, output_order
from tests.factories import model_spec, task_spec

SETTINGS = head_settings(task_spec())
ENCODER_TENSORS = {
    "bert": "encoder.layer.1.attention.self.query.weight",
    "albert": "encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",
    "distilbert": "transformer.layer.1.ffn.lin1.weight",
}


def config(folder):
    """A folder's configuration."""
    return config_of(model_spec(), folder)


def load(folder, *, trained=False, settings=SETTINGS):
    """The classifier in a folder, and what loading found."""
    return load_with_head(folder, "mine", "sequence-classification", "sdpa", settings, trained=trained)


def test_tokenizer_is_loaded_from_the_folder(tiny):
    """The tokenizer lies with the model and fits it."""
    folder = tiny()
    tokenizer = load_tokenizer(folder, config(folder), "mine")
    assert len(tokenizer) == config(folder).vocab_size


@pytest.mark.parametrize("source", ["folder", "demo"])
def test_tokenizer_with_more_tokens_than_embeddings_is_refused(tiny, source):
    """Token ids beyond the embedding table would crash later: both numbers are said at once."""
    folder = tiny(vocab_size=20)
    with pytest.raises(CheckpointError, match=r"mine: its tokenizer has \d+ tokens but the model only 20 embeddings"):
        load_tokenizer(folder if source == "folder" else "demo", config(folder), "mine")


@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_missing_or_damaged_tokenizer_is_one_clear_line(tiny, damage):
    """A folder without tokenizer files, or with half of one, names the model and what is needed."""
    folder = tiny()
    if damage == "absent":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    else:
        (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:500])
    with pytest.raises(
        CheckpointError, match=r"model mine: (its tokenizer cannot be loaded|has no tokenizer)"
    ) as caught:
        load_tokenizer(folder, config(folder), "mine")
    assert "\n" not in str(caught.value)


def test_tokenizer_without_padding_is_refused(tiny):
    """Batches need a padding token."""
    folder = tiny()
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in values.items() if key != "pad_token"}))
    with pytest.raises(CheckpointError, match="no padding token"):
        load_tokenizer(folder, config(folder), "mine")


@pytest.mark.parametrize(
    ("architecture", "expected"), [("bert", True), ("albert", True), ("distilbert", False), ("roberta", False)]
)
def test_token_types_are_for_models_that_have_them(tiny, architecture, expected):
    """BERT and ALBERT tell two sentences apart by token types, DistilBERT and RoBERTa do not."""
    assert loading.uses_token_types(config(tiny(architecture))) is expected


def test_head_settings_name_the_outputs():
    """Outputs are the task's labels or those stated; regression has one output."""
    assert head_settings(task_spec())["id2label"] == {0: "negative", 1: "positive"}
    assert head_settings(task_spec(), ("positive", "negative"))["label2id"] == {"positive": 0, "negative": 1}
    assert head_settings(task_spec(labels=None)) == {"num_labels": 1, "problem_type": "regression"}


@pytest.mark.parametrize("architecture", ["bert", "albert", "distilbert"])
def test_only_the_head_is_new(tiny, architecture):
    """A bare encoder's weights are all used; what is new is the head, and that is said."""
    folder = tiny(architecture)
    model, report = load(folder)
    kept = load_file(folder / "model.safetensors")
    state = model.base_model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in kept.items())
    assert "classifier.weight" in report.new_head
    assert report.new_pooler == ()


def test_masked_language_model_gets_a_new_pooler(tiny):
    """A pre-training checkpoint without a pooler is complete outside the new head and pooler."""
    model, report = load(tiny(head="masked-lm"))
    assert report.new_pooler == ("bert.pooler.dense.bias", "bert.pooler.dense.weight")
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_trained_checkpoint_lacks_nothing(tiny):
    """A fine-tuned classifier is loaded whole."""
    _, report = load(tiny(head="sequence-classification"), trained=True)
    assert report == loading.LoadReport((), ())


@pytest.mark.parametrize("head", [None, "masked-lm"])
def test_missing_head_is_refused_where_it_must_be_trained(tiny, head):
    """An encoder without a trained head is never evaluated on random outputs; the hint is to fine-tune."""
    with pytest.raises(CheckpointError, match=r"mine: the checkpoint has no trained head .* is missing") as caught:
        load(tiny(head=head), trained=True)
    assert "--finetune" in caught.value.hint


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("architecture", ["bert", "albert", "distilbert"])
def test_missing_encoder_weights_are_never_random(tiny, edit_weights, architecture, trained):
    """A tensor of the encoder that is missing from the file is an error that names it, fine-tuned or not."""
    folder = tiny(architecture, head="sequence-classification" if trained else None)
    name = ENCODER_TENSORS[architecture]
    edit_weights(folder, lambda tensors: tensors.pop(f"{architecture}.{name}" if trained else name))
    with pytest.raises(CheckpointError, match="mine: 1 weights of the encoder are missing.*" + name):
        load(folder, trained=trained)


def test_damaged_file_is_one_clear_line(tiny):
    """A weight file that is cut off is found by its length, and does not pass the loader either."""
    folder = tiny()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        local_snapshot(folder)
    with pytest.raises(CheckpointError, match="mine: its weights cannot be loaded") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_other_shapes_are_refused(tiny, edit_weights):
    """A head for three labels does not serve two; a body of another width is no encoder of this config."""
    with pytest.raises(CheckpointError, match="mine: its weights cannot be loaded"):
        load(tiny(head="sequence-classification", num_labels=3), trained=True)
    for head, prefix in ((None, ""), ("sequence-classification", "bert.")):
        folder, name = tiny(head=head), "encoder.layer.0.output.dense.weight"
        edit_weights(folder, lambda tensors, name=prefix + name: tensors.update({name: torch.zeros(32, 8)}))
        with pytest.raises(CheckpointError, match=rf"mine: bert\.{name} has another shape than config.json says"):
            load(folder)


@pytest.mark.parametrize("architecture", ["bert", "albert", "distilbert"])
def test_head_for_other_labels_is_replaced_where_it_is_trained(tiny, architecture):
    """A checkpoint fine-tuned on three classes can be fine-tuned on two: new head, all of the encoder kept."""
    folder = tiny(architecture, head="sequence-classification", num_labels=3)
    model, report = load(folder)
    assert report.new_head == ("classifier.bias", "classifier.weight")
    assert model.classifier.weight.shape[0] == model.config.num_labels == 2
    stored = load_file(folder / "model.safetensors")
    name = f"{architecture}.{ENCODER_TENSORS[architecture]}"
    assert torch.equal(model.state_dict()[name], stored[name])
    assert torch.isfinite(model.classifier.weight).all()


def test_code_beside_a_checkpoint_is_never_run(tiny):
    """A config that points to code of its own loads the library's class, or nothing."""
    folder = tiny(head="sequence-classification")
    (folder / "evil.py").write_text("raise SystemExit('was run')\n")
    values = json.loads((folder / "config.json").read_text())
    values["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification"), "evil.Evil")
    (folder / "config.json").write_text(json.dumps(values))
    model, _ = load(folder, trained=True)
    assert type(model).__module__.startswith("transformers.")


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        """What pickle would call."""
        return os.mkdir, (self.path,)


def test_pickled_weights_run_nothing(tiny, tmp_path):
    """A pytorch_model.bin that would call a function when unpickled is refused, and the function is not called."""
    folder = tiny(head="sequence-classification")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights | {"evil": Evil(str(tmp_path / "was-run"))}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load(folder, trained=True)
    assert not (tmp_path / "was-run").exists()


def test_random_encoder_is_the_same_every_time(tiny, tmp_path):
    """Seeded weights have the same digest in every process, and drawing them leaves torch's generator alone."""
    settings = config(tiny())
    folders = [tmp_path / name for name in "abc"]
    before = torch.random.get_rng_state()
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        loading.save_random_encoder(settings, folder, seed)
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = (local_snapshot(folder).digest for folder in folders)
    assert first == again != other


def test_classifier_from_an_architecture_alone(tiny):
    """A model without a checkpoint is built from its configuration, with the task's outputs."""
    model = loading.new_with_head(
        config(tiny("albert")), "sequence-classification", "eager", head_settings(task_spec(labels=("a", "b", "c")))
    )
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model(torch.tensor([[5, 6]])).logits.shape == (1, 3)


def test_loading_is_silent(tiny, capfd):
    """Nothing of the libraries' reports and bars reaches the terminal, and their settings are put back."""
    from transformers.utils import logging

    folder = tiny(head="masked-lm")
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load(folder)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.skipif(os.name == "nt", reason="modes as Unix has them")
@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_saved_weights_have_the_mode_of_the_umask(tiny, tmp_path, umask):
    """The weights are not for the owner alone, as safetensors writes them, but for whom the configuration is."""
    folder = tiny()
    model, _ = load(folder)
    mask = os.umask(umask)
    try:
        loading.save(model, load_tokenizer(folder, config(folder), "mine"), tmp_path / "saved")
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "saved").iterdir()} == {0o666 & ~umask}


# Which output stands for which label.

LABELS = ("entailment", "not_entailment")


def test_stated_mapping_wins_over_names():
    """What the model's YAML says is taken, whatever the checkpoint calls its outputs."""
    mapping = ("not_entailment", "entailment")
    assert output_order("m", {0: "entailment", 1: "not_entailment"}, LABELS, mapping) == (mapping, None)


def test_names_in_another_order_are_honoured():
    """Permuted names give the permuted order, without a warning."""
    order, warning = output_order("m", {0: "not_entailment", 1: "entailment"}, LABELS, None)
    assert order == ("not_entailment", "entailment")
    assert warning is None


def test_names_are_compared_without_case_and_punctuation():
    """'Not entailment' and 'not_entailment' are the same label; outputs are taken by their number, not as listed."""
    order, _ = output_order("m", {1: "Entailment", 0: "Not entailment"}, LABELS, None)
    assert order == ("not_entailment", "entailment")


def test_placeholders_are_taken_in_order_with_a_warning():
    """LABEL_0, LABEL_1 say nothing: the task's order is taken, and that it is a guess is said."""
    order, warning = output_order("m", {0: "LABEL_0", 1: "LABEL_1"}, LABELS, None)
    assert order == LABELS
    assert "LABEL_0" in warning
    assert "task's order" in warning


@pytest.mark.parametrize(
    ("outputs", "mapping", "message"),
    [
        ({0: "positive", 1: "negative"}, None, "conflict with the task's"),
        ({0: "entailment", 1: "LABEL_1"}, None, "conflict with the task's"),
        ({0: "a", 1: "b", 2: "c"}, None, "has 3 outputs but the task 2 labels"),
        ({0: "LABEL_0"}, None, "has 1 outputs but the task 2 labels"),
        ({0: "LABEL_0", 1: "LABEL_1"}, ("entailment", "neutral"), "are not the task's"),
    ],
)
def test_conflict_is_refused_with_a_hint(outputs, mapping, message):
    """Other names, another number of outputs or a mapping to other labels is an error that names the model."""
    with pytest.raises(CheckpointError, match=message) as caught:
        output_order("my-model", outputs, LABELS, mapping)
    assert "my-model" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("labels", [("C", "C++", "C#"), ("<=50K", ">50K"), ("+", "-"), ("US", "us"), ("1", "-1")])
def test_names_that_differ_in_signs_or_case_are_told_apart(labels):
    """A checkpoint's own names are taken exactly, in whatever order; loosely written ones that could be two are refused."""
    assert output_order("m", dict(enumerate(labels[::-1])), labels, None) == (labels[::-1], None)
    with pytest.raises(CheckpointError, match="conflict with the task's"):
        output_order("m", dict.fromkeys(range(len(labels)), labels[0]), labels, None)


def test_a_task_whose_labels_are_placeholders_goes_by_them():
    """LABEL_1, LABEL_0 are names where the task's labels are called so."""
    labels = ("LABEL_0", "LABEL_1")
    assert output_order("m", {0: "LABEL_1", 1: "LABEL_0"}, labels, None) == (("LABEL_1", "LABEL_0"), None)


def test_tokenizer_of_a_sentencepiece_file_alone(tmp_path):
    """DeBERTa-v3's repositories have spm.model and no tokenizer.json: a fast tokenizer is made of it that cuts texts alike."""
    import sentencepiece

    lines = [f"the cat number {i} sat on the mat and saw {7 * i} dogs near the bank" for i in range(200)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "spm"), vocab_size=100, minloglevel=2,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
    )  # fmt: skip
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    tokenizer = loading.open_tokenizer(tmp_path, "deberta")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
    assert tokenizer.is_fast
    assert [tokenizer.tokenize(line) for line in lines] == [pieces.encode(line, out_type=str) for line in lines]
    assert tokenizer.convert_ids_to_tokens(tokenizer("cat", "mat")["input_ids"]).count("[SEP]") == 2
