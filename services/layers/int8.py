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

The multiplication is `kernel.c` beside this file, which is compiled when the project is installed. Time of
40 layers of 768 to 3072, more than the second cache holds, two cores of a Xeon with VNNI and AMX, in ms by
tokens:

KERNEL_TABLE
"""

import ctypes
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

try:
    from services.layers import _kernel as kernel
except ImportError:
    kernel = None

_LARGEST = 127
_ZERO = 128  # added to weights, which the instructions want unsigned
_GROUP, _STEP = 64, 64  # rows and columns of a weight are filled up to multiples of these
_MOST_COLUMNS = 2**31 // (_LARGEST * 255)  # sums of more products could leave 32 bits
_ROUNDING = 4 * torch.finfo(torch.float32).eps


def unusable() -> str:
    """Why this machine cannot run such layers; empty where it can."""
    if kernel is None:
        return "products in 8 bits were not compiled; have a C compiler and install nextvec again"
    if not torch.cpu.get_capabilities().get("avx512_vnni"):
        return "this CPU has no AVX512-VNNI"
    return ""


class Int8Linear(nn.Module):
    """x [..., K] → [..., N], float32."""

    CODES = 1
    """Of an activation."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        """Rounds a weight [N, K]; it is not kept."""
        super().__init__()
        codes, scales = _rounded(weight)
        self._rows, self._columns = codes.shape
        if self._columns > _MOST_COLUMNS:
            raise ValueError(f"a weight has {self._columns} columns; must have at most {_MOST_COLUMNS}")
        self._weight = _laid_out(codes)
        self._scales = scales[:, 0].contiguous()
        self._bias = None if bias is None else bias.detach().float().contiguous()
        self._fixed = (
            self._weight.data_ptr(),
            self._scales.data_ptr(),
            0 if self._bias is None else self._bias.data_ptr(),
            self._rows,
            self._columns,
            self.CODES,
        )

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """What stands for a layer."""
        return cls(layer.weight, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], self._rows)
        tokens = x.numel() // self._columns
        kernel.multiply(
            *self._fixed, x.data_ptr(), y.data_ptr(), tokens, torch.get_num_threads(), _HAS_TILES
        )
        return y


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
    weight = weight.detach().float()
    scales = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    return (weight / scales).round(), scales


def _laid_out(codes: Tensor) -> Tensor:
    """Codes [N, K] as the kernel reads them, [N/16, K/4, 16, 4] and filled up."""
    rows, columns = codes.shape
    filled = torch.full((-(-rows // _GROUP) * _GROUP, -(-columns // _STEP) * _STEP), _ZERO, dtype=torch.uint8)
    filled[:rows, :columns] = codes + _ZERO
    return filled.unflatten(1, (-1, 4)).unflatten(0, (-1, 16)).transpose(1, 2).contiguous()


def _share_torchs_threads() -> None:
    """Has the kernel work with the threads that torch works with, where it has its own from OpenMP."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        functions = ctypes.CDLL(str(library))
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        addresses = [ctypes.cast(getattr(functions, name), ctypes.c_void_p).value for name in names]
    except (OSError, AttributeError):
        return
    kernel.use_threads(*addresses)


_HAS_TILES = False
if kernel is not None:
    _share_torchs_threads()
    _HAS_TILES = bool(torch.cpu.get_capabilities().get("amx_int8")) and kernel.ask_for_tiles()
