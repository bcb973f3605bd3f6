"""The project's own engine with weights and activations in 8 bits, for CPUs with AVX512-VNNI.

Weights have a scale a row, so that weights shipped in 8 bits are read as they were shipped. Activations have
a scale a token: a token's states do not depend on what else is in its pass, be it another request's vector,
far off, or a wrong guess.

The multiplication is torch's own (fbgemm). CPU time of the linear layers of one decoder pass at T5-base size
(124M weights), one core of a busy EPYC with VNNI and without AMX, in ms by tokens fed:

| layers | 1 | 8 | 32 |
|---|---|---|---|
| torch, single precision | 46 | 99 | 168 |
| torch, 8 bits, one scale a pass | 10.9 | 18 | 32 |
| ONNX Runtime, dynamic 8 bits | 9.3 | 15 | 32 |
| ONNX Runtime, 8 bits in blocks of 64 | 7.9 | 22 | 65 |
| torch, `_weight_int8pack_mm` | 27 | 51 | 168 |

ONNX Runtime is little faster and would need the decoder written a second time, as a graph with its own
cache. At 74M weights a scale a token costs 9.1 ms where one a pass costs 7.7; torch's oneDNN kernel, 14.0.
torch calls the type of the packed weights deprecated, so that another torch may need another kernel here.
"""

import torch
from torch import Tensor, nn

from nextvec.errors import StartupError
from nextvec.family import Family
from services.decoder.backends import Backend, native

WEIGHT_BYTES = 1
"""Of every weight that a decoder pass reads."""

_LARGEST = 127
_ZERO = 128
"""Activations are unsigned on the way, as the instructions want them: this code stands for 0."""


class Int8Linear(nn.Module):
    """A linear layer without bias: x [..., K], float32 → [..., N], float32."""

    def __init__(self, weight: Tensor):
        """Rounds a weight [N, K]; it is not kept."""
        super().__init__()
        scales = weight.detach().abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
        codes = (weight.detach() / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(scales), dtype=torch.long)
        quantised = torch._make_per_channel_quantized_tensor(codes, scales.double(), zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantised, None)

    def forward(self, x: Tensor) -> Tensor:
        reach = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True)
        reach = reach.clamp_min(torch.finfo(torch.float32).tiny)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / reach, 1 / _LARGEST, _ZERO, self._packed
        )
        return product * reach


def unusable() -> str:
    """Why this machine cannot run it; empty where it can."""
    if not torch.cpu.get_capabilities().get("avx512_vnni"):
        return "this CPU has no AVX512-VNNI"
    if torch.backends.quantized.engine not in ("x86", "fbgemm"):
        return f"torch multiplies 8 bits by {torch.backends.quantized.engine}, which must be x86 or fbgemm"
    return ""


def load(family: Family, slots: int) -> Backend:
    """Loads the family's parts.

    Raises StartupError where the machine is not fit, WeightsError where the weights are not usable.
    """
    if reason := unusable():
        raise StartupError(f"backend 'int8' cannot run: {reason}; use 'native'")
    return native.load(family, slots, "int8", (Int8Linear, Int8Linear))
