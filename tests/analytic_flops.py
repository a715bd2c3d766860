"""FLOPs by formula: what the counted ones are checked against, since it is independent of torch's counter."""

from bertbench.models.size import BERT_LIKE, inner_size

WITHOUT_POOLER = {"distilbert", "electra", "splinter"}


def analytic_flops(config, batch_size=1, sequence_length=128):
    """Compute FLOPs from the shapes of the matrices, or None for an architecture that is not built like BERT.

    Per token and layer 4 H x H products (query, key, value, output) and 2 of H x I (feed-forward); per layer and
    sequence 2 products of S x S x H (scores, context); the E x H projection where E differs; the pooler's H x H.

    Source: the matrices of Devlin et al. 2019, section 3, and Lan et al. 2020, section 3.1.
    """
    if config.model_type not in BERT_LIKE:
        return None
    hidden, tokens = config.hidden_size, batch_size * sequence_length
    inner = inner_size(config)
    embedding = getattr(config, "embedding_size", hidden)
    layer = tokens * (4 * hidden * hidden + 2 * hidden * inner) + batch_size * 2 * sequence_length**2 * hidden
    projected = config.model_type == "albert" or embedding != hidden
    multiply_adds = config.num_hidden_layers * layer
    multiply_adds += tokens * embedding * hidden if projected else 0
    multiply_adds += batch_size * hidden * hidden if config.model_type not in WITHOUT_POOLER else 0
    return int(2 * multiply_adds)
