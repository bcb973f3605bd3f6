"""Runs of chunks' vectors out of a file of windows, without reading the whole file into memory."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from nextvec.errors import InvalidInput
from nextvec.vectors import Array
from training.coherence import SHORTEST

CONTEXT, TARGET, DOCUMENT, POSITION = "context_vectors", "target_vectors", "doc_ids", "positions"
_RUN = 24  # vectors


def runs_of_windows(path: Path, limit: int) -> tuple[list[Array], list[int]]:
    """At most `limit` runs of vectors [6 to 24, D], evenly over the file, and the document of each.

    The file is an .npz with `context_vectors` [N, K, D], `target_vectors` [N, D] and, where there are,
    `doc_ids` and `positions` [N]. Windows of one document at consecutive positions that overlap are
    chained to longer runs; any other window is a run of its own, of a document of its own where the file
    names none. Raises InvalidInput where the file is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _runs(archive, path, limit)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as .npz: {error}") from None


def _runs(archive: zipfile.ZipFile, path: Path, limit: int) -> tuple[list[Array], list[int]]:
    members = {name.removesuffix(".npy") for name in archive.namelist()}
    if not {CONTEXT, TARGET} <= members:
        raise InvalidInput(f"{path} needs {CONTEXT} and {TARGET}; it holds {', '.join(sorted(members))}")
    count, context_shape = _shape(archive, TARGET)[0], _shape(archive, CONTEXT)
    if not count or len(context_shape) != 3 or context_shape[0] != count or context_shape[1] + 1 < SHORTEST:
        raise InvalidInput(
            f"{path} has contexts {list(context_shape)} for {count} targets; [N, 5, D] are wanted"
        )
    whole = np.arange(count)
    owners = _rows(archive, DOCUMENT, whole).astype(np.int64) if DOCUMENT in members else whole
    chains = [whole[i : i + 1] for i in range(count)]
    if {DOCUMENT, POSITION} <= members:
        chains = _chains(owners, _rows(archive, POSITION, whole), _RUN - context_shape[1])
    chains = _spread(chains, limit)
    runs = _read(archive, chains)
    if runs is None:  # the positions do not count chunks: every window stands for itself
        chains = _spread([whole[i : i + 1] for i in range(count)], limit)
        runs = _read(archive, chains) or []
    if not all(np.isfinite(run).all() for run in runs):
        raise InvalidInput(f"{path} holds vectors that are not finite")
    return runs, [int(owners[chain[0]]) for chain in chains]


def _chains(owners: np.ndarray, positions: np.ndarray, longest: int) -> list[np.ndarray]:
    """Rows of windows one position apart in one document, cut to at most `longest`."""
    order = np.lexsort((positions, owners))
    follows = (np.diff(owners[order]) == 0) & (np.diff(positions[order]) == 1)
    pieces = []
    for chain in np.split(order, np.flatnonzero(~follows) + 1):
        pieces += [chain[i : i + longest] for i in range(0, len(chain), longest)]
    return pieces


def _spread(chains: list[np.ndarray], limit: int) -> list[np.ndarray]:
    picked = np.unique(np.linspace(0, len(chains) - 1, min(limit, len(chains))).astype(np.int64))
    return [chains[i] for i in picked]


def _read(archive: zipfile.ZipFile, chains: list[np.ndarray]) -> list[Array] | None:
    """The vectors of chained windows, or None where the windows turn out not to overlap."""
    target_rows = np.unique(np.concatenate(chains))
    context_rows = np.unique(np.concatenate([chain[:2] for chain in chains]))
    targets = dict(zip(target_rows.tolist(), _rows(archive, TARGET, target_rows), strict=True))
    contexts = dict(zip(context_rows.tolist(), _rows(archive, CONTEXT, context_rows), strict=True))
    runs = []
    for chain in chains:
        if len(chain) > 1 and not np.allclose(contexts[chain[1]][-1], targets[chain[0]], atol=1e-3):
            return None
        run = np.concatenate([contexts[chain[0]], np.stack([targets[row] for row in chain.tolist()])])
        runs.append(run.astype(np.float32))
    return runs


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as file:
        return _header(file)[0]


def _rows(archive: zipfile.ZipFile, name: str, rows: np.ndarray) -> np.ndarray:
    """The given rows, in ascending order, of a member of any size."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        start, width = file.tell(), dtype.itemsize * int(np.prod(shape[1:]))
        out = np.empty((len(rows), *shape[1:]), dtype=dtype)
        row = 0
        while row < len(rows):
            end = row + 1
            while end < len(rows) and rows[end] == rows[end - 1] + 1:
                end += 1
            file.seek(start + int(rows[row]) * width)
            block = file.read((end - row) * width)
            out[row:end] = np.frombuffer(block, dtype=dtype).reshape(end - row, *shape[1:])
            row = end
        return out


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran and len(shape) > 1:
        raise ValueError("an array is stored column by column; store it row by row")
    return shape, dtype
