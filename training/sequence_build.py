"""Writes windows to an .npz that numpy reads, with a card beside it.

Vectors are copied block by block into a folder beside the file, `<name>.partial`, and packed once all are
there: so memory stays small, work that was interrupted goes on at the last block, and the file appears in
one piece. The same data gives the same bytes. While it packs, the disk holds the vectors twice.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from nextvec import weights
from nextvec.family import Family
from services.lvm.checkpoint import CONTEXT
from training.sequence_npz import CONTEXTS, DOCUMENTS, POSITIONS, TARGETS, card_of
from training.sequences import Sequences

_BLOCK = 2048  # windows written at a time
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every member, so that equal data gives an equal file
_CLAIM = "claim.json"


def build(
    sequences: Sequences, out: Path, family: Family, split: str = "all", dtype: str = "float16"
) -> Iterator[tuple[int, int]]:
    """Writes the windows of `sequences` and their card; yields the windows done and their total.

    The arrays are `context_vectors` [N, 5, D] and `target_vectors` [N, D], raw, in `dtype`; `doc_ids` [N]
    int32, numbering the documents that the card lists; and `positions` [N] int32, the target's place in
    its document. `split` is only recorded. A file that is complete is left as it is; its card is brought up
    to what the sequences say of their sources.
    """
    claim = {
        "family": family.name,
        "space": family.space,
        "split": split,
        "windows": len(sequences),
        "context": CONTEXT,
        "dimensions": sequences.dimensions,
        "dtype": dtype,
        "data_sha256": sequences.digest,
    }
    used, numbers = np.unique(sequences.document[sequences.windows], return_inverse=True)
    told = _documents(sequences, used)
    if found := _complete(out, claim):
        if found != found | told:
            _write_json(card_of(out), found | told)
    else:
        staging = out.with_name(f"{out.name}.partial")
        _begin(staging, claim)
        for name, values in ((DOCUMENTS, numbers), (POSITIONS, sequences.position[sequences.windows])):
            np.save(staging / f"{name}.npy", values.astype(np.int32))
        yield from _copy(sequences, staging, np.dtype(dtype))
        packed = _pack(staging)
        # The card goes first: a card without its file says nothing, a file without its card is not trusted.
        _write_json(card_of(out), {**claim, "sha256": weights.sha256(packed), **told})
        packed.replace(out)
        shutil.rmtree(staging)
    yield len(sequences), len(sequences)


def _complete(out: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """The card of a file that holds these windows, whole; None where there is none."""
    card = card_of(out)
    if not out.is_file() or not card.is_file():
        return None
    found: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
    whole = claim.items() <= found.items() and found.get("sha256") == weights.sha256(out)
    return found if whole else None


def _begin(staging: Path, claim: dict[str, Any]) -> None:
    """Makes the folder, or keeps it where it was begun for the same windows."""
    record = staging / _CLAIM
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) == claim:
        return
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    _write_json(record, claim)


def _copy(sequences: Sequences, staging: Path, dtype: np.dtype) -> Iterator[tuple[int, int]]:
    """Appends the vectors that the staged arrays still lack."""
    dimensions, count = sequences.dimensions, len(sequences)
    contexts = _Appended(staging / f"{CONTEXTS}.npy", (count, CONTEXT, dimensions), dtype)
    targets = _Appended(staging / f"{TARGETS}.npy", (count, dimensions), dtype)
    start = min(contexts.rows, targets.rows)
    with contexts.opened(start) as context_file, targets.opened(start) as target_file:
        for first in range(start, count, _BLOCK):
            rows = sequences.windows[first : first + _BLOCK, None] + np.arange(-CONTEXT, 1)
            vectors = sequences.vectors[rows].astype(dtype, copy=False)
            context_file.write(vectors[:, :CONTEXT].tobytes())
            target_file.write(vectors[:, CONTEXT].tobytes())
            yield first + len(rows), count


class _Appended:
    """A .npy file that grows row by row to a shape known beforehand."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype):
        header = io.BytesIO()
        description = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(header, description)
        self._path, self._header = path, header.getvalue()
        self._width = dtype.itemsize * int(np.prod(shape[1:]))
        present = path.stat().st_size if path.exists() else 0
        self.rows = max(0, present - len(self._header)) // self._width

    def opened(self, rows: int) -> io.BufferedWriter:
        """The file with so many of its rows, to append to."""
        with self._path.open("ab") as file:
            file.truncate(len(self._header) + rows * self._width if rows else 0)
            if not rows:
                file.write(self._header)
        return self._path.open("ab")


def _pack(staging: Path) -> Path:
    packed = staging / "packed.npz"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in (CONTEXTS, TARGETS, DOCUMENTS, POSITIONS):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with (
                (staging / f"{name}.npy").open("rb") as source,
                archive.open(member, "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)
    return packed


def _documents(sequences: Sequences, used: np.ndarray) -> dict[str, Any]:
    """What the card says of the documents with windows: sources and counts, then each by its number."""
    sources = list(sequences.sources())
    places = {origin: place for place, (origin, _, _) in enumerate(sources)}
    return {
        "documents": len(used),
        "chunks": sum(chunks for _, _, chunks in sources),
        "crossing_windows_left_out": sequences.crossing,
        "sources": [
            {"source": origin.source, "licence": origin.licence, "documents": documents, "chunks": chunks}
            for origin, documents, chunks in sources
        ],
        "document_ids": [sequences.ids[number] for number in used],
        "document_sources": [places[sequences.origin(int(number))] for number in used],
    }


def _write_json(path: Path, record: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
