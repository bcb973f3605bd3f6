"""The compiled kernel, and weights as it reads them.

`kernel/` is C, compiled when the project is installed, for x86-64 with AVX512-VNNI; with AMX it is faster
still. Where it is missing, or the CPU lacks the instructions, the project does without it.

Weights are in single precision or in 8 bits with a scale a row, so that weights shipped in 8 bits are read as
they were shipped. Activations that meet 8 bits have a scale a token: a token's states do not depend on what
else is in its pass, be it another request's vector, far off, or a wrong guess. An activation is one code of 8
bits, or the sum of several, each on a finer scale for what those before it leave; all codes go through one
product as rows of their own, which reads the weights once. Sums of codes are exact, and three codes tell
2**-24 of a token's largest activation, so that a product errs no more than single precision's does where no
single activation towers over the others: the relative error of a row of 768 is 1.6e-7 where single precision
has 3.1e-7, and 1.1e-6 where one activation is a thousand times as large as the rest.

Time of 40 layers of 768 to 3072, more than the second cache holds, on two cores of a Xeon with AMX, in ms by
tokens:

| layer | 1 | 2 | 4 | 8 | 32 | 64 | 256 |
|---|---|---|---|---|---|---|---|
| oneDNN, single precision (`services.layers.packed`) | 17.9 | 18.2 | 18.4 | 21.2 | 39.8 | 63 | 175 |
| single precision | 11.2 | 11.4 | 12.2 | 17.7 | 30.4 | 49 | 164 |
| three codes | 2.9 | 2.6 | 3.8 | 3.3 | 7.8 | 13.8 | 46 |
| two codes | 2.6 | 2.3 | 3.1 | 2.8 | 6.1 | 11.1 | 38 |
| one code | 2.8 | 2.9 | 3.0 | 4.3 | 7.8 | 13.4 | 26 |

torch's own products in 8 bits (fbgemm) take 8.0 ms for three codes of one token, and 11 for one code. ONNX
Runtime (dynamic 8 bits), measured beside fbgemm, was little faster, has one scale for a whole batch, and
would need the decoder written a second time, as a graph with its own cache.
"""

import ctypes
from array import array
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

kernel: Any
try:
    kernel = import_module("services.layers._kernel")
except ImportError:
    kernel = None

FLOATS = 0
"""Codes of an activation where weights and activations are in single precision."""

EXACT = 3
"""Codes of an activation that are as exact as single precision, over weights that have 8 bits."""

_EDITION = 1  # of what is handed to the kernel: EDITION in module.c
_LARGEST = 127
_ZERO = 128  # added to codes of weights, which the instructions want unsigned
_BLOCK = 16  # rows of a block: LANES in product.h
_GROUP = 64  # rows are filled up to a multiple of it: GROUP blocks in product.c
_STEP = 64  # and columns of codes to one of this: STEP in product.c
_MOST_COLUMNS = 2**31 // (_LARGEST * 255)  # sums of more products could leave 32 bits
_ROUNDING = 4 * torch.finfo(torch.float32).eps


def unusable() -> str:
    """Why this machine cannot run the kernel; empty where it can."""
    if kernel is None:
        return "the kernel was not compiled; have a C compiler and Python's headers and install nextvec again"
    if kernel.EDITION != _EDITION:
        return "the kernel is of another version of nextvec; install nextvec again"
    if not hasattr(torch.cpu, "get_capabilities"):
        return f"torch {torch.__version__} does not say what the CPU can do; install a newer one"
    if not torch.cpu.get_capabilities().get("avx512_vnni"):
        return "this CPU has no AVX512-VNNI"
    return ""


def readable(x: Tensor, columns: int) -> Tensor:
    """x [..., columns] as the kernel reads it, which checks nothing; raises ValueError where it cannot be."""
    if x.dtype != torch.float32 or x.shape[-1] != columns:
        raise ValueError(f"x is {x.dtype} of {list(x.shape)}; must be float32 of [..., {columns}]")
    return x.contiguous()


def has_8_bits(weight: Tensor) -> bool:
    """Whether a weight [N, K] has 8 bits and a scale a row, so that rounding it changes nothing."""
    codes, scales = _rounded(weight)
    return bool(((codes * scales - weight).abs() <= _ROUNDING * weight.abs()).all())


def exact(weight: Tensor) -> int:
    """The codes that make a product with a weight [N, K] exact, and read as few bytes as that takes."""
    return EXACT if weight.shape[1] <= _MOST_COLUMNS and has_8_bits(weight) else FLOATS


class Weights:
    """A weight [N, K] and a bias [N] as the kernel reads them, for activations of so many codes."""

    def __init__(self, weight: Tensor, bias: Tensor | None, codes: int):
        """Copies both. Weights that meet codes are rounded to 8 bits."""
        weight = weight.detach().float()
        self.rows, self.columns = weight.shape
        if codes and self.columns > _MOST_COLUMNS:
            raise ValueError(f"a weight has {self.columns} columns; must have at most {_MOST_COLUMNS}")
        scales = None
        if codes == FLOATS:
            self._laid_out = _filled(weight, 1, 0.0).unflatten(0, (-1, _BLOCK)).transpose(1, 2).contiguous()
        else:
            rounded, scales = _rounded(weight)
            filled = _filled((rounded + _ZERO).to(torch.uint8), _STEP, _ZERO)
            blocks = filled.unflatten(1, (-1, 4)).unflatten(0, (-1, _BLOCK))  # [N/16, 16, K/4, 4]
            self._laid_out = blocks.transpose(1, 2).contiguous()
        self._scales = None if scales is None else scales[:, 0].contiguous()
        self._bias = None if bias is None else bias.detach().float().clone()
        self.numbers = (
            address(self._laid_out),
            address(self._scales),
            address(self._bias),
            self.rows,
            self.columns,
            codes,
        )
        """The `Layer` of product.h."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("weights that were laid out for the kernel have addresses, and cannot be copied")


def address(tensor: Tensor | None) -> int:
    """Where the numbers of a contiguous tensor begin; 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def address_of_array(numbers: "array[int]") -> int:
    """Where the numbers of an array begin."""
    return numbers.buffer_info()[0]


def means() -> tuple[int, int]:
    """The `Means` of product.h: threads that may work, as torch is set, and whether AMX may be used."""
    return torch.get_num_threads(), _HAS_TILES


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [N, K] as codes [N, K], whole numbers, and scales [N, 1]."""
    weight = weight.detach().float()
    scales = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    return (weight / scales).round(), scales


def _filled(weight: Tensor, step: int, with_what: float) -> Tensor:
    rows, columns = weight.shape
    shape = -(-rows // _GROUP) * _GROUP, -(-columns // step) * step
    filled = torch.full(shape, with_what, dtype=weight.dtype)
    filled[:rows, :columns] = weight
    return filled


def _share_torchs_threads() -> None:
    """Has the kernel work with the threads that torch works with, where these come from OpenMP."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    try:
        functions = ctypes.CDLL(str(library))
        addresses = [ctypes.cast(getattr(functions, name), ctypes.c_void_p).value for name in names]
    except (OSError, AttributeError):
        return
    kernel.use_threads(*addresses)


_HAS_TILES = 0
if not unusable():
    _share_torchs_threads()
    _HAS_TILES = int(bool(torch.cpu.get_capabilities().get("amx_int8")) and kernel.ask_for_tiles())
