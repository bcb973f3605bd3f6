"""Makes a model that will only predict faster, without changing what it predicts.

torch's recurrent and attention modules keep their weights to themselves; here they become linear layers,
which `services.layers` makes fast. Only what the architectures use is replaced, and the golden probe is put
to the model as it comes out of this: one that cannot be run so, or gives something else, is served as it is.
"""

from abc import ABC, abstractmethod
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from services.layers import replace


def prepare(model: nn.Module) -> None:
    """Replaces what can be replaced in a model on the CPU, in place."""
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if _is_plain_recurrent(part):
                setattr(module, name, _Recurrent(part))
            elif _is_plain_attention(part):
                setattr(module, name, _Attention(part))
    replace(model)


def _is_plain_recurrent(part: nn.Module) -> TypeGuard[nn.RNNBase]:
    plain = isinstance(part, nn.LSTM | nn.GRU) and part.batch_first and part.bias
    return plain and not part.bidirectional and not part.proj_size


def _is_plain_attention(part: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    plain = isinstance(part, nn.MultiheadAttention) and part.batch_first and not part.add_zero_attn
    return plain and part.in_proj_weight is not None and part.in_proj_bias is not None and part.bias_k is None


class _Gates(nn.Module, ABC):
    """One layer of a recurrent module: what comes of the inputs, and what comes of the state before."""

    def __init__(self, recurrent: nn.RNNBase, layer: int):
        super().__init__()
        weight_of, bias_of = (
            {side: getattr(recurrent, f"{what}_{side}_l{layer}") for side in ("ih", "hh")}
            for what in ("weight", "bias")
        )
        self.inputs: nn.Module = _linear(weight_of["ih"], bias_of["ih"])
        self.state: nn.Module = _linear(weight_of["hh"], bias_of["hh"])

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] → states [B, T, W]."""
        inputs = self.inputs(x)  # [B, T, gates * W]
        carried, states = None, []
        for step in inputs.unbind(1):
            carried = self.step(step, carried)
            states.append(carried[0])
        return torch.stack(states, 1)

    @abstractmethod
    def step(self, inputs: Tensor, carried: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The state [B, W] after a step, and what else is carried on to the next one."""


class _LstmLayer(_Gates):
    def __init__(self, recurrent: nn.RNNBase, layer: int):
        super().__init__(recurrent, layer)
        # What comes of inputs and of state is added up, so that one bias does, and before the first step
        # there is nothing to add.
        of_inputs, of_state = cast(nn.Linear, self.inputs), cast(nn.Linear, self.state)
        of_inputs.bias = nn.Parameter(of_inputs.bias + of_state.bias)
        of_state.register_parameter("bias", None)

    def step(self, inputs: Tensor, carried: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        if carried:
            inputs = self.state(carried[0]).add_(inputs)
        let_in, keep, new, let_out = inputs.chunk(4, 1)
        memory = let_in.sigmoid() * new.tanh()
        if carried:
            memory = keep.sigmoid().mul_(carried[1]).add_(memory)
        return memory.tanh().mul_(let_out.sigmoid()), memory


class _GruLayer(_Gates):
    def __init__(self, recurrent: nn.RNNBase, layer: int):
        super().__init__(recurrent, layer)
        self.at_rest = cast(nn.Linear, self.state).bias.detach()  # what comes of a state of zeros

    def step(self, inputs: Tensor, carried: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        width = inputs.shape[1] // 3
        gates, new = inputs.split((2 * width, width), 1)
        held = self.state(carried[0]) if carried else self.at_rest.expand_as(inputs)
        held_gates, held_new = held.split((2 * width, width), 1)
        reset, keep = (held_gates + gates).sigmoid_().chunk(2, 1)
        new = (held_new * reset).add_(new).tanh_()
        state = torch.lerp(new, carried[0], keep) if carried else new * (1 - keep)
        return state, state


class _Recurrent(nn.Module):
    """`torch.nn.LSTM` or `GRU` in one direction, batch first, without the states that it ends in."""

    def __init__(self, recurrent: nn.RNNBase):
        super().__init__()
        kind = _LstmLayer if isinstance(recurrent, nn.LSTM) else _GruLayer
        self.layers = nn.Sequential(*(kind(recurrent, layer) for layer in range(recurrent.num_layers)))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x [B, T, D] → states [B, T, W]."""
        return self.layers(x), None


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
