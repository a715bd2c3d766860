"""The tokenizer of the demo models: one word, one token, over all words that the demo generators can emit.

A new generator's words are in it as soon as its file is there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from bertbench.specs import plugins

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordSource(Protocol):
    """The part of a demo task's generator that the tokenizer needs."""

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token it can emit, lower-cased, sorted."""


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Return the special tokens, then every demo generator's words, sorted; a token's place is its id."""
    package = "bertbench.tasks.demo"  # by name: tasks lie above models and are not imported here
    generators: list[WordSource] = [plugins.load(package, "generator", name) for name in plugins.names(package)]
    words = {word for generator in generators for word in generator.vocabulary()}
    return (*SPECIAL_TOKENS, *sorted(words))


def vocabulary_size() -> int:
    """Count the tokens, special ones included."""
    return len(vocabulary())


def build_tokenizer(max_length: int = 128) -> PreTrainedTokenizerFast:
    """Build a lower-casing word-level tokenizer: [CLS] a [SEP], or [CLS] a [SEP] b [SEP] with token types 0 and 1.

    `max_length` is in tokens, special ones included.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {token: number for number, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # splits off punctuation, too
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
