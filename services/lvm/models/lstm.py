"""Long short-term memory (Hochreiter and Schmidhuber, 1997) over the context."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Hyperparameters:
    """Sizes of the network; 5,120,768 parameters as they stand."""

    dimensions: int = 768
    scale: float = 1.0  # of the directions read and predicted; see services/lvm/models/__init__.py
    width: int = 512
    layers: int = 2
    dropout: float = 0.2  # between the layers, in training only


class Model(nn.Module):
    """A stack of LSTM layers; the last step's state becomes the next vector."""

    def __init__(self, hyperparameters: Hyperparameters):
        super().__init__()
        h = hyperparameters
        self.scale = h.scale
        # torch warns of dropout in a single layer, which has nothing to drop between.
        dropout = h.dropout if h.layers > 1 else 0.0
        self.lstm = nn.LSTM(h.dimensions, h.width, h.layers, dropout=dropout, batch_first=True)
        self.output_proj = nn.Linear(h.width, h.dimensions)

    def forward(self, context: Tensor) -> Tensor:
        """context [B, T, D] → next vector [B, D]."""
        states, _ = self.lstm(context * self.scale)  # [B, T, W]
        return self.output_proj(states[:, -1])
