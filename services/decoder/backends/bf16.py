"""The project's own engine with weights in bfloat16: half the memory, everything between layers exact."""

from torch import Tensor, nn
from torch.nn import functional as F

from nextvec.family import Family
from services.decoder.backends import Backend, native

WEIGHT_BYTES = 2
"""Of every weight that a decoder pass reads."""


class Bf16Linear(nn.Module):
    """A linear layer without bias: x [..., K], float32 → [..., N], float32."""

    weight: Tensor

    def __init__(self, weight: Tensor):
        """Rounds a weight [N, K]; it is not kept."""
        super().__init__()
        self.register_buffer("weight", weight.detach().bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.bfloat16(), self.weight).float()


def load(family: Family, slots: int) -> Backend:
    """Loads the family's parts; raises WeightsError where they are not usable."""
    return native.load(family, slots, "bf16", Bf16Linear)
