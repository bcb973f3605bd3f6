"""Linear layers by the compiled kernel."""

from array import array
from typing import Self

from torch import Tensor, nn

from services.layers import compiled
from services.layers.compiled import Weights


class CompiledLinear(nn.Module):
    """x [..., K] → [..., N], float32, on the CPU; its weights cannot be read back."""

    def __init__(self, weight: Tensor, bias: Tensor | None, codes: int):
        """What `codes` of an activation are, `services.layers.compiled` says."""
        super().__init__()
        self._weights = Weights(weight, bias, codes)
        self._numbers = array("q", self._weights.numbers)
        self._address = compiled.address_of_array(self._numbers)

    @classmethod
    def of(cls, layer: nn.Linear, codes: int) -> Self:
        """What stands for a layer."""
        return cls(layer.weight, layer.bias, codes)

    def forward(self, x: Tensor) -> Tensor:
        """Raises ValueError for another width or type."""
        x = compiled.readable(x, self._weights.columns)
        y = x.new_empty(*x.shape[:-1], self._weights.rows)
        tokens = x.numel() // self._weights.columns
        compiled.kernel.product(self._address, x.data_ptr(), tokens, y.data_ptr(), *compiled.means())
        return y
