"""BERT encoder (Devlin et al., 2019): post-norm transformer over word pieces."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BertConfig:
    """The fields of a published config.json that the forward pass needs."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float = 1e-12


class BertEncoder(nn.Module):
    """Token ids to the hidden states after every layer.

    The parameters carry short names; `rename` maps a published checkpoint's names onto them.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.segment = nn.Parameter(torch.empty(2, width))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, ids: Tensor, mask: Tensor, layers: int | None = None) -> list[Tensor]:
        """ids, mask [B, T] → hidden states [B, T, width]: the embeddings, then one per layer run."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segment[0]
        states = [self.norm(x)]
        attend = mask[:, None, None, :].bool()  # [B, 1, 1, T], broadcast over heads and queries
        for layer in self.layers[:layers]:
            states.append(layer(states[-1], attend))
        return states

    @staticmethod
    def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published names to this module's; the unused pooler is left out."""
        names = {
            "embeddings.word_embeddings": "words",
            "embeddings.position_embeddings": "positions",
            "embeddings.token_type_embeddings.weight": "segment",
            "embeddings.LayerNorm": "norm",
            "encoder.layer.": "layers.",
            "attention.self.": "",
            "attention.output.dense": "out",
            "attention.output.LayerNorm": "norm1",
            "intermediate.dense": "up",
            "output.dense": "down",
            "output.LayerNorm": "norm2",
        }
        renamed = {}
        for key, tensor in state.items():
            if key.startswith("pooler") or key.endswith("position_ids"):
                continue
            for old, new in names.items():
                key = key.replace(old, new)
            renamed[key] = tensor
        return renamed


class _Layer(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.up = nn.Linear(width, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, width)
        self.norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, attend: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            linear(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )  # [B, heads, T, width / heads]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
        x = self.norm1(x + self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))
