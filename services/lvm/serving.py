"""Makes a model that will only predict faster, without changing what it predicts.

torch's recurrent and attention modules keep their weights to themselves; here they become what
`services.layers` makes fast. Only what the architectures use is replaced, and the golden probe is put
to the model as it comes out of this: one that cannot be run so, or gives something else, is served as it is.
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from services.layers import replace, unusable
from services.layers.recurrent import CompiledRecurrent


def prepare(model: nn.Module) -> None:
    """Replaces what can be replaced in a model on the CPU, in place."""
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if CompiledRecurrent.stands_for(part) and not unusable():
                setattr(module, name, CompiledRecurrent(part))
            elif _is_plain_attention(part):
                setattr(module, name, _Attention(part))
    replace(model)


def _is_plain_attention(part: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    plain = isinstance(part, nn.MultiheadAttention) and part.batch_first and not part.add_zero_attn
    return plain and part.in_proj_weight is not None and part.in_proj_bias is not None and part.bias_k is None


class _Attention(nn.Module):
    """`torch.nn.MultiheadAttention`, batch first, called as a decoder layer calls it."""

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.heads, width = attention.num_heads, attention.embed_dim
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self.query: nn.Module = _linear(weight[:width], bias[:width])
        self.memory: nn.Module = _linear(weight[width:], bias[width:])
        self.out: nn.Module = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """query [B, T, W], key and value the same [B, S, W] → [B, T, W]; True in `attn_mask` [T, S] bars.

        Raises ValueError for what else torch's module takes, so that a model which asks it fails its probe
        here and is served as it is.
        """
        floating = attn_mask is not None and attn_mask.dtype != torch.bool
        if key is not value or key_padding_mask is not None or need_weights or floating:
            raise ValueError(
                "attention for serving takes the keys for values, no mask but a boolean one, gives no weights"
            )
        queries = self._split(self.query(query))
        keys, values = (self._split(part) for part in self.memory(key).chunk(2, 2))
        attend = None if attn_mask is None else ~attn_mask
        mixed = F.scaled_dot_product_attention(queries, keys, values, attend)
        return self.out(mixed.transpose(1, 2).flatten(2)), None

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, W] → [B, heads, T, W / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer
