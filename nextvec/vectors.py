"""Vectors on the wire and off it: numpy arrays to and from VectorBlock, checks, and cosines."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextvec.errors import InvalidInput, WrongSpace
from nextvec.v1.vectors_pb2 import D_TYPE_FLOAT16, D_TYPE_FLOAT32, DType, VectorBlock

DIMENSION = 768
"""Dimension of every family's vectors."""

Array = NDArray[np.float32]

MIN_NORM, MAX_NORM = 1e-6, 1e6
"""Norms outside are refused: real vectors are nowhere near, and float32 arithmetic stays exact within."""

_DTYPES: dict[DType, np.dtype[Any]] = {D_TYPE_FLOAT32: np.dtype("<f4"), D_TYPE_FLOAT16: np.dtype("<f2")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def to_block(vectors: NDArray[np.floating], space: str, dtype: str = "float32") -> VectorBlock:
    """Packs vectors [..., 768] of `space`; `dtype` is "float32" or "float16"."""
    wire = np.dtype(dtype).newbyteorder("<")
    data = np.ascontiguousarray(vectors, dtype=wire).tobytes()
    return VectorBlock(data=data, dtype=_CODES[wire], shape=vectors.shape, space=space)


def from_block(
    block: VectorBlock, field: str, *, ndim: tuple[int, ...] = (1, 2), dimension: int = DIMENSION
) -> Array:
    """Reads a block as a float32 array of its shape, checked.

    Float32 blocks are not copied: the array is a read-only view of the message's bytes. `field` names the
    block in messages, `ndim` the numbers of axes that are allowed. Raises InvalidInput where dtype, length,
    shape or dimension are wrong, or where a vector is not finite or is zero.
    """
    wire = _DTYPES.get(block.dtype)
    if wire is None:
        name = DType.Name(block.dtype) if block.dtype in DType.values() else block.dtype
        raise InvalidInput(f"{field}.dtype is {name}; must be D_TYPE_FLOAT32 or D_TYPE_FLOAT16")
    shape = tuple(block.shape)
    if len(shape) not in ndim:
        allowed = " or ".join(str(n) for n in ndim)
        raise InvalidInput(f"{field}.shape is {list(shape)}; must have {allowed} axes")
    if shape[-1] != dimension:
        raise InvalidInput(f"{field}.shape is {list(shape)}; the last axis must be {dimension}")
    if 0 in shape:
        raise InvalidInput(f"{field}.shape is {list(shape)}; every axis must be at least 1")
    expected = math.prod(shape) * wire.itemsize
    if len(block.data) != expected:
        raise InvalidInput(
            f"{field}.data has {len(block.data)} bytes; {wire.name} of shape {list(shape)} has {expected}"
        )
    vectors = np.frombuffer(block.data, dtype=wire).reshape(shape).astype(np.float32, copy=False)
    return check_vectors(vectors, field, dimension=dimension)


def check_vectors(vectors: Array, field: str, *, dimension: int = DIMENSION) -> Array:
    """Returns `vectors` [..., dimension] if each is finite and not zero; else raises InvalidInput."""
    if vectors.ndim == 0 or vectors.shape[-1] != dimension:
        raise InvalidInput(f"{field} has shape {list(vectors.shape)}; the last axis must be {dimension}")
    rows = vectors.reshape(-1, dimension)
    # One pass over the usual case; double precision, so that large finite values do not overflow.
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    good = (norms >= MIN_NORM) & (norms <= MAX_NORM)
    if good.all():
        return vectors
    row = int(np.argmin(good))
    if not np.isfinite(rows[row]).all():
        column = int(np.argmin(np.isfinite(rows[row])))
        raise InvalidInput(f"{field} row {row} has {rows[row, column]} at {column}; must be finite")
    if norms[row] == 0:
        raise InvalidInput(f"{field} row {row} is all zeros; must have a direction")
    raise InvalidInput(
        f"{field} row {row} has norm {norms[row]:.3g}; must be from {MIN_NORM:g} to {MAX_NORM:g}"
    )


def require_space(block: VectorBlock, expected: str, field: str) -> None:
    """Raises WrongSpace, naming both spaces, unless the block is of the expected one."""
    if block.space != expected:
        found = repr(block.space) if block.space else "not set"
        raise WrongSpace(
            f"{field}.space is {found}; this stage works in {expected!r}: "
            "use vectors made by that family's encoder"
        )


def unit(x: NDArray[np.floating]) -> Array:
    """Directions of vectors [..., D], as float32 of norm 1; a zero vector stays zero."""
    rows: Array = np.asarray(x, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    return rows / norms


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """Cosines of vectors [..., D] and [..., D], broadcast against each other; with a zero vector, 0."""
    return np.asarray(np.sum(unit(a) * unit(b), axis=-1))
