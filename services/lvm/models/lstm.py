"""Long short-term memory (Hochreiter and Schmidhuber, 1997) over the context."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
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
        with _torchs_own_kernels():
            states, _ = self.lstm(context * self.scale)  # [B, T, W]
        return self.output_proj(states[:, -1])


@contextmanager
def _torchs_own_kernels() -> Iterator[None]:
    """Keeps a prediction from oneDNN, which arranges all weights anew at every call of an LSTM.

    With it a single prediction takes 1.7 times as long, one of eight as long as without. In training it is
    left as it is. The switch is the process's; what another thread computes meanwhile differs by rounding.
    """
    before = torch.backends.mkldnn.enabled
    if torch.is_inference_mode_enabled():
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a property of the module
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before
