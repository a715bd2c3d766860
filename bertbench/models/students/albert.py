"""BERT's weights in an ALBERT: tables factorized together, layers shared or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# BERT's names of the parts of a layer, and ALBERT's.
ALBERT_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
SAMPLE = 20_000  # embedded tokens that the projection is fitted to
RIDGE = 1e-6  # of the mean variance: keeps the fit defined where the sample is small


def weights(body: Mapping[str, Any], taken: Sequence[int], config: Any) -> dict[str, Any]:
    """In ALBERT's names: embeddings, one set of weights a group of layers, and the pooler.

    A group that serves several layers starts as the first of them.
    """
    groups = int(config.num_hidden_groups)
    firsts = [taken[group * len(taken) // groups] for group in range(groups)]
    found = {
        f"encoder.albert_layer_groups.{group}.albert_layers.0.{new}.{kind}": body[
            f"encoder.layer.{number}.{old}.{kind}"
        ]
        for group, number in enumerate(firsts)
        for old, new in ALBERT_LAYER.items()
        for kind in ("weight", "bias")
    }
    found |= embeddings(body, int(config.embedding_size), float(config.layer_norm_eps))
    pooler = {
        f"pooler.{kind}": body[f"pooler.dense.{kind}"] for kind in ("weight", "bias") if f"pooler.dense.{kind}" in body
    }
    heads = {name: value for name, value in body.items() if name.startswith(("classifier.", "qa_outputs."))}
    return found | pooler | heads


def embeddings(body: Mapping[str, Any], size: int, eps: float) -> dict[str, Any]:
    """Tables of width `size` and the projection back to the hidden size.

    The three tables are factorized together by singular value decomposition. ALBERT normalizes before it projects, BERT at
    full width, so no choice of weights gives the same: the projection is fitted, by least squares over pairs of a random token
    and position, to what BERT passes on to its first layer.
    """
    import torch

    tables = [body[f"embeddings.{name}.weight"].float() for name in TABLES]
    narrow = tables if size == tables[0].shape[1] else _factorized(tables, size)
    weight, bias = _fitted(tables, narrow, body, eps)
    found = {f"embeddings.{name}.weight": table for name, table in zip(TABLES, narrow, strict=True)}
    return found | {
        "embeddings.LayerNorm.weight": torch.ones(size),
        "embeddings.LayerNorm.bias": torch.zeros(size),
        "encoder.embedding_hidden_mapping_in.weight": weight,
        "encoder.embedding_hidden_mapping_in.bias": bias,
    }


def _factorized(tables: Sequence[Any], size: int) -> list[Any]:
    """The tables in the basis of their `size` largest singular values."""
    import torch

    whole = torch.cat(list(tables))
    # The eigenvectors of the small Gram matrix are the right singular vectors; the tables themselves are tall.
    basis = torch.linalg.eigh((whole.T @ whole).double()).eigenvectors.flip(-1)[:, :size].float()
    return [table @ basis for table in tables]


def _fitted(tables: Sequence[Any], narrow: Sequence[Any], body: Mapping[str, Any], eps: float) -> tuple[Any, Any]:
    """Weight (hidden, size) and bias (hidden) that bring normalized narrow embeddings nearest to BERT's."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(len(table), (SAMPLE,), generator=generator) for table in tables[:2]]

    def summed(of: Sequence[Any]) -> Any:
        return of[0][rows[0]] + of[1][rows[1]] + of[2][0]

    norm = torch.nn.functional.layer_norm
    hidden, size = tables[0].shape[1], narrow[0].shape[1]
    gain, shift = (body[f"embeddings.LayerNorm.{kind}"].float() for kind in ("weight", "bias"))
    target = norm(summed(tables), (hidden,), gain, shift, eps).double()
    inputs = norm(summed(narrow), (size,), eps=eps).double()
    inputs = torch.cat([inputs, torch.ones(SAMPLE, 1, dtype=inputs.dtype)], dim=1)
    gram = inputs.T @ inputs
    gram.diagonal().add_(RIDGE * SAMPLE)
    solution = torch.linalg.solve(gram, inputs.T @ target).float()  # (size + 1, hidden)
    return solution[:-1].T.contiguous(), solution[-1].contiguous()
