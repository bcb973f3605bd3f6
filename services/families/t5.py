"""T5 encoder and decoder stacks (Raffel et al., 2020), sized by the tensors of a checkpoint.

Pre-norm blocks with root-mean-square norms, no linear biases, unscaled attention and one table of relative
position biases per stack. The feed-forward is ReLU (t5) or gated GELU (t5 v1.1). The parameters carry short
names, projections of the same input are joined; `rename` maps published names onto them.
"""

import math
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6
MAX_DISTANCE = 128
"""T5's own constants; no published checkpoint has others."""

_FEW_QUERIES = 4

State = dict[str, Tensor]


@dataclass(frozen=True)
class T5Shape:
    """Sizes of one stack."""

    vocabulary: int
    width: int
    inner: int  # heads × size of a head
    feed_forward: int
    heads: int
    layers: int
    buckets: int
    gated: bool

    @classmethod
    def of(cls, state: State, stack: str) -> "T5Shape":
        """Reads the sizes off a checkpoint with published names; `stack` is "encoder" or "decoder".

        Raises KeyError, naming the tensor, where one that the stack must have is missing.
        """
        first = f"{stack}.block.0.layer."
        forward = f"{first}{2 if stack == 'decoder' else 1}.DenseReluDense."
        gated = f"{forward}wi_0.weight" in state
        buckets, heads = state[f"{first}0.SelfAttention.relative_attention_bias.weight"].shape
        blocks = {int(key.split(".")[2]) for key in state if key.startswith(f"{stack}.block.")}
        vocabulary, width = words(state, stack).shape
        return cls(
            vocabulary=vocabulary,
            width=width,
            inner=state[f"{first}0.SelfAttention.q.weight"].shape[0],
            feed_forward=state[f"{forward}{'wi_0' if gated else 'wi'}.weight"].shape[0],
            heads=heads,
            layers=max(blocks) + 1,
            buckets=buckets,
            gated=gated,
        )


def words(state: State, stack: str = "encoder") -> Tensor:
    """The token embeddings [V, width] of a checkpoint, which may keep them under any of their tied names."""
    for name in (f"{stack}.embed_tokens.weight", "shared.weight", "lm_head.weight"):
        if name in state:
            return state[name]
    raise KeyError("shared.weight")


class Cache(Protocol):
    """Keys and values of the rows that a decoder is writing."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds [n, heads, w, d] of the tokens fed and returns all up to them, [n, heads, length, d]."""

    def memory(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [n, heads, S, d] of what the encoder read."""


class T5Encoder(nn.Module):
    """Token ids or input embeddings to hidden states."""

    def __init__(self, shape: T5Shape):
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.bias = nn.Embedding(shape.buckets, shape.heads)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape.width)

    @classmethod
    def of(cls, state: State) -> "T5Encoder":
        """An encoder with the weights of a checkpoint with published names."""
        with torch.device("meta"):
            encoder = cls(T5Shape.of(state, "encoder"))
        encoder.load_state_dict(encoder.rename(state), assign=True)
        return encoder

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """ids, mask [B, T] → states [B, T, width]: the embeddings, then one per layer, the last normed."""
        states = [self.words(ids)]
        bias = self._bias(mask)
        for block in self.blocks:
            states.append(block(states[-1], bias))
        states[-1] = self.norm(states[-1])
        return states

    def read(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Input embeddings [B, T, width] and a mask [B, T], or none for all ones → the last hidden states."""
        bias = self._bias(x.new_ones(1, x.shape[1]) if mask is None else mask)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)

    def _bias(self, mask: Tensor) -> Tensor:
        """[B, heads, T, T]: relative positions, and all but -inf at masked keys."""
        reach = torch.arange(mask.shape[1], device=mask.device)
        table = self.bias(_bucket(reach[None] - reach[:, None], self.shape.buckets, bidirectional=True))
        barred = (mask == 0) * torch.finfo(table.dtype).min
        return table.permute(2, 0, 1)[None] + barred[:, None, None, :]

    @staticmethod
    def rename(state: State) -> State:
        """Published names to this module's; what belongs to the decoder is left out."""
        return {"words.weight": words(state), **_rename(state, "encoder")}


class T5Decoder(nn.Module):
    """Writes after what an encoder read: token embeddings in, states ready for the output layer out."""

    def __init__(self, shape: T5Shape):
        super().__init__()
        self.shape = shape
        self.bias = nn.Embedding(shape.buckets, shape.heads)
        self.blocks = nn.ModuleList(_Block(shape, cross=True) for _ in range(shape.layers))
        self.norm = _Norm(shape.width)

    @classmethod
    def of(cls, state: State) -> "T5Decoder":
        """A decoder with the weights of a checkpoint with published names."""
        with torch.device("meta"):
            decoder = cls(T5Shape.of(state, "decoder"))
        decoder.load_state_dict(_rename(state, "decoder"), assign=True)
        return decoder

    def forward(self, x: Tensor, bias: Tensor, memory_bias: Tensor | None, cache: Cache) -> Tensor:
        """x [n, w, width] of w consecutive tokens of n rows → states [n, w, width].

        bias [1 or n, heads, w, length] are the rows of `position_bias` for the tokens fed, memory_bias
        [n, 1, 1, S] all but -inf at masked memory, None where nothing is masked.
        """
        for layer, block in enumerate(self.blocks):
            x = block(x, bias, memory_bias, cache, layer)
        return self.norm(x)

    def remember(self, memory: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Encoder states [B, S, width] → keys and values [B, heads, S, d] of every layer."""
        return [cast(_Block, block).remember(memory) for block in self.blocks]

    def position_bias(self, length: int) -> Tensor:
        """[heads, length, length]: bias of query i on key j, all but -inf where j comes after i."""
        reach = torch.arange(length, device=self.bias.weight.device)
        distance = reach[None] - reach[:, None]
        table = self.bias(_bucket(distance, self.shape.buckets, bidirectional=False)).permute(2, 0, 1)
        return table.masked_fill(distance > 0, torch.finfo(table.dtype).min)


class _Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, EPSILON)


class _Block(nn.Module):
    def __init__(self, shape: T5Shape, cross: bool = False):
        super().__init__()
        width, inner = shape.width, shape.inner
        self.heads = shape.heads
        self.norm1 = _Norm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        if cross:
            self.norm_cross = _Norm(width)
            self.query_cross = nn.Linear(width, inner, bias=False)
            self.kv_cross = nn.Linear(width, 2 * inner, bias=False)
            self.out_cross = nn.Linear(inner, width, bias=False)
        self.norm2 = _Norm(width)
        self.gate = nn.Linear(width, shape.feed_forward, bias=False) if shape.gated else None
        self.up = nn.Linear(width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, width, bias=False)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory_bias: Tensor | None = None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Tensor:
        q, k, v = (self._split(part) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        if cache is None:
            return self._feed(x + self.out(_attend(q, k, v, bias)))
        k, v = cache.extend(layer, k, v)
        x = x + self.out(_attend(q, k, v, bias))
        q = self._split(self.query_cross(self.norm_cross(x)))
        x = x + self.out_cross(_attend(q, *cache.memory(layer), memory_bias))
        return self._feed(x)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        k, v = (self._split(part) for part in self.kv_cross(memory).chunk(2, dim=-1))
        return k, v

    def _feed(self, x: Tensor) -> Tensor:
        normed = self.norm2(x)
        if self.gate is None:
            return x + self.down(F.relu(self.up(normed)))
        return x + self.down(F.gelu(self.gate(normed), approximate="tanh") * self.up(normed))

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, inner] → [B, heads, T, d]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """q [B, heads, T, d], k and v [B, heads, S, d], bias for [B, heads, T, S] → [B, T, heads * d]."""
    if q.shape[2] > _FEW_QUERIES:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    else:
        # torch's own attention takes half as long again for many rows of few queries.
        scores = q @ k.transpose(-1, -2)
        mixed = (scores if bias is None else scores + bias).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


def _bucket(distance: Tensor, buckets: int, bidirectional: bool) -> Tensor:
    """Distances key - query to rows of the bias table: near ones each their own, far ones by logarithm."""
    row = torch.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        row = (distance > 0) * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp_min(0)
    near = buckets // 2
    share = torch.log(distance.float() / near) / math.log(MAX_DISTANCE / near)
    far = (near + (share * (buckets - near)).long()).clamp_max(buckets - 1)
    return row + torch.where(distance < near, distance, far)


def _rename(state: State, stack: str) -> State:
    """A stack's tensors under short names; projections of the same input are joined row by row."""
    feed_forward = 2 if stack == "decoder" else 1
    renamed: State = {
        "bias.weight": state[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"],
        "norm.weight": state[f"{stack}.final_layer_norm.weight"],
    }

    def take(target: str, *sources: str) -> None:
        tensors = [state[f"{source}.weight"] for source in sources]
        renamed[f"{target}.weight"] = torch.cat(tensors) if len(tensors) > 1 else tensors[0]

    layers = T5Shape.of(state, stack).layers
    for layer in range(layers):
        ours, theirs = f"blocks.{layer}.", f"{stack}.block.{layer}.layer."
        attention = f"{theirs}0.SelfAttention."
        take(f"{ours}norm1", f"{theirs}0.layer_norm")
        take(f"{ours}qkv", *(attention + name for name in "qkv"))
        take(f"{ours}out", f"{attention}o")
        if stack == "decoder":
            attention = f"{theirs}1.EncDecAttention."
            take(f"{ours}norm_cross", f"{theirs}1.layer_norm")
            take(f"{ours}query_cross", f"{attention}q")
            take(f"{ours}kv_cross", *(attention + name for name in "kv"))
            take(f"{ours}out_cross", f"{attention}o")
        forward = f"{theirs}{feed_forward}.DenseReluDense."
        take(f"{ours}norm2", f"{theirs}{feed_forward}.layer_norm")
        if f"{forward}wi_0.weight" in state:
            take(f"{ours}gate", f"{forward}wi_0")
            take(f"{ours}up", f"{forward}wi_1")
        else:
            take(f"{ours}up", f"{forward}wi")
        take(f"{ours}down", f"{forward}wo")
    return renamed
