"""Gated recurrent units (Cho et al., 2014) with residual connections."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Hyperparameters:
    """Sizes of the network; 7,095,552 parameters as they stand."""

    dimensions: int = 768
    scale: float = 1.0  # of the directions read and predicted; see services/lvm/models/__init__.py
    width: int = 512
    layers: int = 4


class Model(nn.Module):
    """A stack of residual GRU blocks; the last step's state becomes the next vector."""

    def __init__(self, hyperparameters: Hyperparameters):
        super().__init__()
        h = hyperparameters
        self.scale = h.scale
        self.input_proj = nn.Linear(h.dimensions, h.width)
        self.blocks = nn.ModuleList(_Block(h.width) for _ in range(h.layers))
        self.output_proj = nn.Linear(h.width, h.dimensions)

    def forward(self, context: Tensor) -> Tensor:
        """context [B, T, D] → next vector [B, D]."""
        x = self.input_proj(context * self.scale)  # [B, T, W]
        for block in self.blocks:
            x = block(x)
        return self.output_proj(x[:, -1])


class _Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(x)  # [B, T, W]
        return self.norm(x + states)
