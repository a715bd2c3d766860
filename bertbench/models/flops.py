"""Floating-point operations of one forward pass: two for each multiply-add of every matrix product.

Counted on torch's meta device, so nothing is computed. Element-wise work (activations, norms, softmax) and Fourier
transforms are left out, as is usual: for BERT-base at 128 tokens they are far below 1 %. Not aware of speed: equal FLOPs
do not mean equal time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertbench.models.architecture import empty_model, run_shapes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Architectures with BERT's layer, and whether the bare model has a pooler.
BERT_LIKE = {
    "albert": True,
    "bert": True,
    "camembert": True,
    "data2vec-text": True,
    "distilbert": False,
    "electra": False,
    "ernie": True,
    "ibert": True,
    "layoutlm": True,
    "megatron-bert": True,
    "mpnet": True,
    "roberta": True,
    "roberta-prelayernorm": True,
    "splinter": False,
    "xlm-roberta": True,
}


def count(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int:
    """FLOPs of one forward pass over `batch_size` x `sequence_length` tokens, pooler included.

    Attention is run in its plain form: fused kernels hide their products from torch's counter.

    Raises:
        ConfigError: the model cannot be built.
        MeasurementError: it cannot run with this shape.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = empty_model(config)
    with FlopCounterMode(display=False) as counter:
        run_shapes(model, batch_size, sequence_length)
    return int(counter.get_total_flops())


def analytic(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int | None:
    """The same from the shapes of the matrices, or None for an architecture that is not built like BERT.

    Per token and layer 4 H x H products (query, key, value, output) and 2 of H x I (feed-forward); per layer and
    sequence 2 products of S x S x H (scores, context); the E x H projection where E differs; the pooler's H x H.

    Source: the matrices of Devlin et al. 2019, section 3, and Lan et al. 2020, section 3.1.
    """
    if config.model_type not in BERT_LIKE:
        return None
    hidden, tokens = config.hidden_size, batch_size * sequence_length
    inner = inner_size(config) or 0
    embedding = getattr(config, "embedding_size", hidden)
    layer = tokens * (4 * hidden * hidden + 2 * hidden * inner) + batch_size * 2 * sequence_length**2 * hidden
    projected = config.model_type == "albert" or embedding != hidden
    multiply_adds = config.num_hidden_layers * layer
    multiply_adds += tokens * embedding * hidden if projected else 0
    multiply_adds += batch_size * hidden * hidden if BERT_LIKE[config.model_type] else 0
    return int(2 * multiply_adds)


def training_flops(config: PretrainedConfig, batch_size: int = 1, sequence_length: int = 128) -> int:
    """FLOPs of one training step: the backward pass takes about twice the forward one.

    Source: Kaplan et al. 2020 (arXiv:2001.08361), section 2.1.
    """
    return 3 * count(config, batch_size, sequence_length)


def inner_size(config: PretrainedConfig) -> int | None:
    """Width of the feed-forward layer; None where the configuration has no such number."""
    found = getattr(config, "hidden_dim", None) or getattr(config, "intermediate_size", None)
    return found if isinstance(found, int) else None
