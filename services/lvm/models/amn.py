"""Attention Mixture Network: the context mean plus a learned correction."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Hyperparameters:
    """Sizes of the network; 1,510,912 parameters as they stand."""

    dimensions: int = 768
    scale: float = 1.0  # of the directions read and predicted; see services/lvm/models/__init__.py
    attention: int = 256  # width of keys and query
    hidden: int = 512


class Model(nn.Module):
    """Starts from the mean of the context, which is hard to beat, and learns where to leave it."""

    def __init__(self, hyperparameters: Hyperparameters):
        super().__init__()
        h = hyperparameters
        self.scale, self.temperature = h.scale, h.attention**0.5
        self.context_encoder = nn.Linear(h.dimensions, h.attention)
        self.query_encoder = nn.Linear(h.dimensions, h.attention)
        last = nn.Linear(h.hidden // 2, h.dimensions)
        # A new network predicts the context mean, instead of having to unlearn a random correction first.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual_net = nn.Sequential(
            nn.Linear(2 * h.dimensions, h.hidden),
            nn.GELU(),
            nn.LayerNorm(h.hidden),
            nn.Linear(h.hidden, h.hidden // 2),
            nn.GELU(),
            nn.LayerNorm(h.hidden // 2),
            last,
        )

    def forward(self, context: Tensor) -> Tensor:
        """context [B, T, D] → next vector [B, D]."""
        context = context * self.scale
        baseline = context.mean(1)  # [B, D]
        keys = self.context_encoder(context)  # [B, T, A]
        query = self.query_encoder(baseline)  # [B, A]
        scores = (keys @ query[:, :, None])[:, :, 0] / self.temperature
        shares = scores.float().softmax(1)  # [B, T]
        mixture = (shares.to(context.dtype)[:, None] @ context)[:, 0]
        return baseline + self.residual_net(torch.cat((baseline, mixture), 1))
