"""Linear layers in single precision whose weights are laid out once, as oneDNN's products read them: for
machines that cannot run the compiled kernel.

torch's own layer hands plain rows to MKL, which puts them in order anew at each call of a few tokens. CPU
time of 40 layers of 768 to 3072, more than any cache holds, one core of an EPYC, in ms by tokens:

| layer | 1 | 2 | 4 | 8 | 32 | 64 |
|---|---|---|---|---|---|---|
| `torch.nn.Linear` | 22 | 40 | 30 | 37 | 79 | 135 |
| laid out for oneDNN | 14 | 21 | 21 | 24 | 42 | 65 |
"""

from typing import Self

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """x [..., K] → [..., N], float32. Stays on the CPU, and its weights cannot be read back."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach()

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """What stands for a layer."""
        return cls(layer.weight, layer.bias)

    @staticmethod
    def usable() -> bool:
        """Whether this torch and this machine have what it takes."""
        return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
