"""Safetensors in and out as numpy arrays, optionally stored in 16 or 8 bits.

8-bit storage is symmetric with one scale per row: a matrix `w` becomes an int8 tensor `w` and a
float16 tensor `w.scale` with one entry per row. Vectors and scalars stay in float16. Reading gives
float32 whatever the storage was, so no caller needs to know.
"""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nextvec.errors import StartupError

Storage = Literal["float32", "float16", "int8"]
Arrays = dict[str, np.ndarray]

SCALE = ".scale"


class WeightsError(StartupError):
    """A weight file is missing, corrupt or not what its record says."""


def save(path: Path, arrays: Arrays, storage: Storage, metadata: dict[str, str] | None = None) -> None:
    """Writes `arrays` (float32) to a safetensors file in the given storage, replacing it atomically."""
    stored: Arrays = {}
    for name, array in arrays.items():
        if storage == "int8" and array.ndim >= 2:
            stored[name], stored[name + SCALE] = _quantise(array)
        elif storage == "float32":
            stored[name] = np.ascontiguousarray(array, dtype=np.float32)
        else:
            stored[name] = np.ascontiguousarray(array, dtype=np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(stored, partial, metadata={**(metadata or {}), "storage": storage})
    # safetensors writes files that their owner alone can read; a server often runs as another user.
    partial.chmod(0o644)
    partial.replace(path)


def load(path: Path) -> Arrays:
    """Reads a safetensors file as float32 arrays.

    Raises WeightsError when the file is missing or unreadable.
    """
    if not path.is_file():
        raise WeightsError(f"weight file {path} is missing; run `nextvec doctor` to see how to get it")
    try:
        stored = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"weight file {path} is corrupt ({error}); restore it") from error
    arrays: Arrays = {}
    for name, array in stored.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in stored:
            continue
        scale = stored.get(name + SCALE)
        if scale is not None and array.dtype == np.int8:
            rows = (-1,) + (1,) * (array.ndim - 1)
            array = array.astype(np.float32) * scale.astype(np.float32).reshape(rows)
        arrays[name] = np.asarray(array, dtype=np.float32)
    return arrays


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quantise(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = array.astype(np.float32).reshape(array.shape[0], -1)
    scale = np.maximum(np.abs(flat).max(axis=1) / 127, 1e-7).astype(np.float16)
    codes = np.rint(flat / scale.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8)
    # safetensors writes the memory as it lies, which must be row after row.
    return np.ascontiguousarray(codes.reshape(array.shape)), scale
