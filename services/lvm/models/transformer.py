"""Transformer decoder (Vaswani et al., 2017) that reads the context as its own memory."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Hyperparameters:
    """Sizes of the network; 17,867,520 parameters as they stand."""

    dimensions: int = 768
    scale: float = 1.0  # of the directions read and predicted; see services/lvm/models/__init__.py
    width: int = 512
    heads: int = 8
    feed_forward: int = 2048
    layers: int = 4
    dropout: float = 0.1  # in training only


class Model(nn.Module):
    """Causal self-attention over the context and causal attention to it as memory, in every layer."""

    def __init__(self, hyperparameters: Hyperparameters):
        super().__init__()
        h = hyperparameters
        self.scale = h.scale
        self.input_proj = nn.Linear(h.dimensions, h.width)
        layer = nn.TransformerDecoderLayer(h.width, h.heads, h.feed_forward, h.dropout, batch_first=True)
        self.transformer_decoder = nn.TransformerDecoder(layer, h.layers)
        self.head = nn.Sequential(
            nn.Linear(h.width, h.width), nn.GELU(), nn.LayerNorm(h.width), nn.Linear(h.width, h.dimensions)
        )

    def forward(self, context: Tensor) -> Tensor:
        """context [B, T, D] → next vector [B, D]."""
        length = context.shape[1]
        x = self.input_proj(context * self.scale)  # [B, T, W]
        memory = x = x + _sinusoids(length, x.shape[2], x)
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        *layers, last = self.transformer_decoder.layers
        for layer in layers:
            x = layer(x, memory, tgt_mask=future, memory_mask=future)
        return self.head(_last_step(last, x, memory))


def _last_step(layer: nn.TransformerDecoderLayer, x: Tensor, memory: Tensor) -> Tensor:
    """The layer's output at the last position alone, [B, W], from x and memory [B, T, W].

    Nothing reads the last layer's other positions, which would be a fifth of all the work. The last
    position sees the whole sequence, so there is nothing to mask.
    """
    step = x[:, -1:]  # [B, 1, W]
    attended = layer.self_attn(step, x, x, need_weights=False)[0]
    step = layer.norm1(step + layer.dropout1(attended))
    attended = layer.multihead_attn(step, memory, memory, need_weights=False)[0]
    step = layer.norm2(step + layer.dropout2(attended))
    raised = layer.dropout(layer.activation(layer.linear1(step)))
    return layer.norm3(step + layer.dropout3(layer.linear2(raised)))[:, 0]


def _sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Position encodings [length, width]: sines in the even columns, cosines in the odd ones."""
    position = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angles = position * torch.exp(even * (-math.log(10000.0) / width))  # [T, W / 2]
    return torch.stack((angles.sin(), angles.cos()), 2).reshape(length, width).to(like.dtype)
