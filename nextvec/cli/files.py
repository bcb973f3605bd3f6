"""Files of texts and of vectors, as the commands for single stages read and write them."""

import json
from pathlib import Path

import numpy as np

from nextvec.cli.output import err
from nextvec.errors import InvalidInput
from nextvec.family import Family
from nextvec.vectors import Array, check_vectors


def read_texts(path: Path) -> list[str]:
    """The lines of a file, one text each. Raises InvalidInput for a blank one, which has no vector."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
        ) from None
    if not lines:
        raise InvalidInput(f"{path} is empty; must have one text on each line")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise InvalidInput(f"{path} line {number} is blank; must have one text on each line")
    return lines


def read_vectors(path: Path, family: Family) -> tuple[Array, str]:
    """Vectors of a .npy file, checked, and their space: as the record beside it says, else the family's."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise InvalidInput(
            f"{path} is not a .npy file of numbers; `nextvec encode` makes one of texts"
        ) from None
    if array.dtype.kind != "f" or array.ndim not in (1, 2, 3) or array.shape[-1] != family.dimensions:
        raise InvalidInput(
            f"{path} is {array.dtype} {list(array.shape)}; must be floating-point [..., {family.dimensions}]"
        )
    vectors = check_vectors(array.astype(np.float32), str(path), dimension=family.dimensions)
    record = _record(path)
    if not record.exists():
        err.print(f"[dim]{record} is missing; {path} is taken to be of space {family.space}[/]")
        return vectors, family.space
    try:
        return vectors, str(json.loads(record.read_text(encoding="utf-8"))["space"])
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f'{record} is not a record of vectors; must be {{"space": ...}}') from None


def write_vectors(path: Path, vectors: Array, space: str) -> None:
    """Writes vectors to a .npy file and their space to the record beside it."""
    with path.open("wb") as file:
        np.save(file, vectors)
    _record(path).write_text(json.dumps({"space": space}) + "\n", encoding="utf-8")


def windows(vectors: Array, size: int, path: Path) -> Array:
    """Contexts [N, size, D]: as they are, or every `size` vectors in a row of a sequence [M, D]."""
    if vectors.ndim == 3:
        if vectors.shape[1] != size:
            raise InvalidInput(f"{path} is {list(vectors.shape)}; contexts must be [N, {size}, D]")
        return vectors
    if vectors.ndim != 2 or len(vectors) < size:
        raise InvalidInput(f"{path} is {list(vectors.shape)}; a sequence must have at least {size} vectors")
    return np.stack([vectors[start : start + size] for start in range(len(vectors) - size + 1)])


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
