"""The `int8` engine with the decoder's activations in 16 bits: texts all but those of single precision.

An activation is the sum of two codes of 8 bits, the second one a finer scale's for what the first one leaves.
Both go through the same multiplication as two rows, which reads the weights once. The encoder's activations
have 8 bits, as in `int8`: it runs once a text over many tokens at a time, where twice the rows cost twice the
time. Of 249 texts of `mini` after five corrections, 99% are those of single precision; with `int8` a quarter.

CPU time of the linear layers of one decoder pass at T5-base size, one core of a busy EPYC, in ms by tokens
fed:

| activations | 1 | 8 | 32 |
|---|---|---|---|
| 8 bits (`int8`) | 11.7 | 16.7 | 49 |
| 16 bits | 15.9 | 28 | 88 |
"""

import torch
from torch import Tensor

from nextvec.errors import StartupError
from nextvec.family import Family
from services.decoder.backends import Backend, native
from services.decoder.backends.int8 import WEIGHT_BYTES, Int8Linear, unusable

__all__ = ["WEIGHT_BYTES", "WideLinear", "load"]

_LARGEST = 127
_ZERO = 128  # the unsigned code that stands for 0
_FINER = 2 * _LARGEST  # steps of the second code in one of the first
_LEAST = 1e-30  # no scale is smaller, so that zeros can be divided by it


class WideLinear(Int8Linear):
    """A linear layer without bias: x [..., K], float32 → [..., N], float32."""

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True)
        scale = scale.clamp_min_(_LEAST).mul_(1 / _LARGEST)
        codes = x / scale
        coarse = codes.round()
        both = torch.stack((coarse, codes.sub_(coarse).mul_(_FINER)))
        product, rest = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            both, 1.0, _ZERO, self._packed
        )
        return product.add_(rest, alpha=1 / _FINER).mul_(scale)


def load(family: Family, slots: int) -> Backend:
    """Loads the family's parts.

    Raises StartupError where the machine is not fit, WeightsError where the weights are not usable.
    """
    if reason := unusable():
        raise StartupError(f"backend 'w8a16' cannot run: {reason}; use 'native'")
    return native.load(family, slots, "w8a16", (Int8Linear, WideLinear))
