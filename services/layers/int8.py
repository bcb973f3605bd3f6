"""Linear layers over weights in 8 bits, for CPUs with AVX512-VNNI.

Weights have a scale a row, so that weights shipped in 8 bits are read as they were shipped. Activations have
a scale a token: a token's states do not depend on what else is in its pass, be it another request's vector,
far off, or a wrong guess.

An activation is one code of 8 bits, or the sum of several, each on a finer scale for what those before it
leave. All codes go through one multiplication as rows of their own, which reads the weights once. Sums of
codes are exact, and three codes tell 2**-24 of a token's largest activation, so that a product errs no more
than single precision's does where no single activation towers over the others: the relative error of a row
of 768 is 1.6e-7 where single precision has 3.1e-7, and 1.1e-6 where one activation is a thousand times as
large as the rest.

The multiplication is torch's own (fbgemm). CPU time of 40 layers of 768 to 3072, one core of an EPYC with
VNNI and without AMX, in ms by tokens:

| layer | 1 | 2 | 4 | 8 | 32 | 64 |
|---|---|---|---|---|---|---|
| single precision (`services.layers.packed`) | 14.3 | 21 | 21 | 24 | 42 | 65 |
| three codes | 5.0 | 5.8 | 8.5 | 11.6 | 29 | 53 |
| two codes | 4.6 | 5.2 | 6.3 | 10.0 | 23 | 41 |
| one code | 3.9 | 4.4 | 5.0 | 6.3 | 16 | 26 |

ONNX Runtime (dynamic 8 bits) and torch's `_weight_int8pack_mm` and oneDNN kernels were measured beside it:
the first is little faster and would need the decoder written a second time, as a graph with its own cache;
the others are slower. torch calls the type of the packed weights deprecated, so that another torch may need
another kernel here.
"""

import warnings
from typing import Self

import torch
from torch import Tensor, nn

# There is no other way to weights for this multiplication yet.
warnings.filterwarnings("ignore", "torch.quantize_per_tensor.*deprecated", UserWarning)

_LARGEST = 127
_ZERO = 128  # activations are unsigned on the way, as the instructions want them: this code stands for 0
_FINER = 2 * _LARGEST  # steps of a code's scale in one of the code before it
_LEAST = torch.tensor(1e-30)  # no scale of activations is smaller, so that zeros can be divided by it
_MULTIPLY = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default
_ROUNDING = 4 * torch.finfo(torch.float32).eps


def unusable() -> str:
    """Why this machine cannot run such layers; empty where it can."""
    if not torch.cpu.get_capabilities().get("avx512_vnni"):
        return "this CPU has no AVX512-VNNI"
    if torch.backends.quantized.engine not in ("x86", "fbgemm"):
        return f"torch multiplies 8 bits by {torch.backends.quantized.engine}, which must be x86 or fbgemm"
    return ""


class Int8Linear(nn.Module):
    """x [..., K] → [..., N], float32."""

    CODES = 1
    """Of an activation."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        """Rounds a weight [N, K]; it is not kept."""
        super().__init__()
        self._bias = None if bias is None else bias.detach()
        codes, scales = _rounded(weight)
        zeros = torch.zeros(len(scales), dtype=torch.long)
        quantised = torch._make_per_channel_quantized_tensor(
            codes.to(torch.int8), scales[:, 0].double(), zeros, 0
        )
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)
        self._powers = torch.tensor([0.0, *(float(_FINER) ** power for power in range(self.CODES))])

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """What stands for a layer."""
        return cls(layer.weight, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.add(_LEAST, x.abs().amax(-1, keepdim=True), alpha=1 / _LARGEST)
        whole = (x / scale * self._powers.view(-1, *[1] * x.dim())).round_()
        # What a scale rounds to, less what the coarser scale before it has said already, is a code.
        codes = torch.sub(whole[1:], whole[:-1], alpha=_FINER)
        *coarser, product = _MULTIPLY(codes, 1.0, _ZERO, self._packed).unbind()
        for one in reversed(coarser):
            product = one.add_(product, alpha=1 / _FINER)
        product = product.mul_(scale)
        return product if self._bias is None else product.add_(self._bias)


class WideLinear(Int8Linear):
    """The same with activations in 16 bits."""

    CODES = 2


class ExactInt8Linear(Int8Linear):
    """The same with as much of an activation as single precision has: exact where weights are in 8 bits."""

    CODES = 3

    @staticmethod
    def holds(weight: Tensor) -> bool:
        """Whether a weight [N, K] has 8 bits and a scale a row, so that rounding it changes nothing."""
        codes, scales = _rounded(weight)
        return bool(((codes * scales - weight).abs() <= _ROUNDING * weight.abs()).all())


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [N, K] as codes [N, K], whole numbers, and scales [N, 1]."""
    weight = weight.detach()
    scales = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    return (weight / scales).round(), scales
