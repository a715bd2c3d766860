"""Small configurations of every architecture of transformers, and checkpoints of them with random weights."""

from bertbench.models.architecture import HEADS
from bertbench.models.demo_tokenizer import build_tokenizer
from bertbench.models.loading import quiet, save_random_encoder

POSITIONS = 40
USUAL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
}
# What an architecture calls otherwise, or needs besides.
OWN = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64},
    "lilt": {"hidden_size": 48, "channel_shrink_ratio": 2},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 20, "entity_emb_size": 16},
    "markuplm": {"max_depth": 4, "xpath_unit_hidden_size": 4},
    "neomme": {"num_key_value_heads": 2},
    "perceiver": {
        "d_model": 32, "d_latents": 32, "num_latents": 8, "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
    },
    "reformer": {
        "axial_pos_shape": [5, 8], "axial_pos_embds_dim": [16, 16], "attention_head_size": 16, "feed_forward_size": 64,
        "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "num_buckets": 2, "is_decoder": False,
        "attn_layers": ["local", "lsh"],
    },
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "squeezebert": {"embedding_size": 32},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 2},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 2},
    "xmod": {"default_language": "en_XX"},
    "esm": {"mask_token_id": 4, "token_dropout": False},
    "mobilebert": {"intra_bottleneck_size": 16, "true_hidden_size": 16, "embedding_size": 16},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "convbert": {"embedding_size": 32},
    "canine": {"num_hash_buckets": 64},
}  # fmt: skip
TEXT = USUAL
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
}
WITH_IMAGES = {
    "modernvbert": {"text_config": TEXT, "vision_config": VISION | {"patch_size": 16}},
    "ultravbert": {"text_config": TEXT, "vision_config": VISION | {"patch_size": 16}},
}


def config_for(architecture, **changes):
    """A small configuration with the demo tokenizer's vocabulary."""
    from transformers import AutoConfig

    size = {"vocab_size": len(build_tokenizer())}
    if architecture in WITH_IMAGES:
        values = WITH_IMAGES[architecture]
        values = values | {"text_config": values["text_config"] | size}
        return AutoConfig.for_model(architecture, **values, **changes)
    own = OWN.get(architecture, {})
    kept = {"max_position_embeddings", "pad_token_id"} - (
        {"max_position_embeddings"} if architecture == "funnel" else set()
    )
    renamed = {"dim", "emb_dim", "d_model", "block_sizes"} & set(own)
    usual = {key: value for key, value in USUAL.items() if not renamed or key in kept}
    return AutoConfig.for_model(architecture, **(usual | size | own | changes))


def save(config, folder, head=None):
    """A checkpoint with seeded random weights; `head` is a key of HEADS."""
    import torch
    import transformers

    if head is None:
        save_random_encoder(config, folder)
        return folder
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, HEADS[head]).from_config(config)
        model.save_pretrained(folder)
    return folder
