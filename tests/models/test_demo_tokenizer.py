"""The demo tokenizer covers the demo generators and fits the mini models."""

import pytest

from bertbench.models.demo_tokenizer import SPECIAL_TOKENS, build_tokenizer, vocabulary, vocabulary_size
from bertbench.specs import plugins
from bertbench.specs.catalog import Catalog

MINIS = ("bert-mini", "distilbert-mini", "albert-mini")


@pytest.fixture(scope="module")
def tokenizer():
    """The demo tokenizer."""
    return build_tokenizer(max_length=128)


def test_special_tokens_come_first(tokenizer):
    """Ids 0 to 4 are the special tokens, in BERT's order of use."""
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.pad_token_id == 0
    assert vocabulary()[:5] == SPECIAL_TOKENS


def test_vocabulary_is_the_union_of_all_generators():
    """Every generator's words are in it, and nothing else."""
    words = set()
    for name in plugins.names("bertbench.tasks.demo"):
        words.update(plugins.load("bertbench.tasks.demo", "generator", name).vocabulary())

    assert set(vocabulary()) == words | set(SPECIAL_TOKENS)
    assert vocabulary_size() == len(vocabulary()) == len(set(vocabulary()))


def test_text_is_lower_cased_and_split_at_punctuation(tokenizer):
    """Case does not matter and punctuation marks are tokens of their own."""
    ids = tokenizer("The PLOT was tedious; even so, the cast delighted me.").input_ids

    assert " ".join(tokenizer.convert_ids_to_tokens(ids)) == (
        "[CLS] the plot was tedious ; even so , the cast delighted me . [SEP]"
    )


def test_a_pair_has_token_types(tokenizer):
    """The second text of a pair and its [SEP] have token type 1."""
    encoded = tokenizer("the plot", "the cast was")

    assert tokenizer.convert_ids_to_tokens(encoded.input_ids) == (
        ["[CLS]", "the", "plot", "[SEP]", "the", "cast", "was", "[SEP]"]
    )
    assert encoded.token_type_ids == [0, 0, 0, 0, 1, 1, 1, 1]


def test_unknown_words_are_unk_and_long_texts_are_cut(tokenizer):
    """A word that no generator emits is [UNK]; truncation keeps [SEP]."""
    assert tokenizer("xylophone").input_ids == [2, 1, 3]
    assert len(tokenizer("the plot " * 100, truncation=True).input_ids) == 128


def test_saved_tokenizer_loads_as_it_was(tokenizer, tmp_path):
    """save_pretrained and from_pretrained give the same tokenizer back."""
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)

    text = ("Although the plot was tedious, I would recommend this film.", "The cast is not dreadful.")
    assert loaded(*text) == tokenizer(*text)
    assert loaded.model_max_length == 128
    assert loaded.pad_token_id == 0


@pytest.mark.parametrize("name", MINIS)
def test_mini_model_fits_the_tokenizer(name, tokenizer):
    """Every token id and position has an embedding, and the model can be built and run."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    spec = Catalog().model(name)
    config = AutoConfig.for_model(spec.architecture, **spec.config)
    model = AutoModelForSequenceClassification.from_config(config).eval()

    assert spec.tokenizer == "demo"
    assert spec.checkpoint is None
    assert config.vocab_size >= vocabulary_size()
    assert config.max_position_embeddings >= tokenizer.model_max_length
    with torch.inference_mode():
        assert model(torch.full((1, 128), vocabulary_size() - 1)).logits.shape == (1, 2)


def test_mini_models_are_compressed_as_their_namesakes():
    """DistilBERT-mini has half of the layers at the same width; ALBERT-mini shares them and factorizes embeddings."""
    bert, distilbert, albert = (Catalog().model(name).config for name in MINIS)

    assert distilbert["n_layers"] * 2 == bert["num_hidden_layers"] == albert["num_hidden_layers"]
    assert distilbert["dim"] == bert["hidden_size"] == albert["hidden_size"]
    assert albert["num_hidden_groups"] == 1
    assert albert["embedding_size"] < albert["hidden_size"]


def test_demo_suite_compares_the_minis_with_bert_mini():
    """The demo suite trains the three minis on demo-sentiment and quotes speed for one input of 128 tokens."""
    suite = Catalog().suite("demo")
    task = Catalog().task("demo-sentiment")

    assert (suite.models, suite.reference, suite.tasks) == (MINIS, "bert-mini", ("demo-sentiment",))
    assert [shape.label for shape in suite.timing.shapes] == ["1x128", "1xnatural", "32x32"]
    assert task.dataset.generator == "demo-sentiment"
    assert task.labels == ("negative", "positive")
