"""A bank: vectors of real text in a folder, opened for searching.

    vectors.npy   raw vectors [N, D] float16, memory-mapped
    index.faiss   inner-product index over their unit directions; entry i is row i (see index.py)
    texts.arrow   text, document_id and position of every row, memory-mapped
    bank.json     space, counts, sources, digests, and the index' kind and measured recall

The chunks of a document are consecutive rows in reading order, so that those before a row are the rows
before it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextvec import weights
from nextvec.errors import StartupError, WrongSpace
from nextvec.vectors import Array
from services.snap.index import Index, IndexRecord

RECORD = "bank.json"
FILES = ("vectors.npy", "index.faiss", "texts.arrow")
COLUMNS = ("text", "document_id", "position")


class BankError(StartupError):
    """A bank is missing, corrupt or not what its record says; the message names the remedy."""


class BankOfWrongSpace(BankError, WrongSpace):
    """A bank was built for another space."""


@dataclass(frozen=True)
class Entry:
    """One chunk of the bank; `id` is its row."""

    id: int
    text: str
    document_id: str
    position: int


@dataclass(frozen=True)
class BankRecord:
    """What is known about a bank; `bank.json` on disk."""

    space: str
    entries: int
    documents: int
    dimensions: int
    sources: tuple[str, ...]  # "source (licence)", as far as the documents say
    sha256: Mapping[str, str]  # of each file
    index: IndexRecord = field(default_factory=IndexRecord)

    @property
    def id(self) -> str:
        """Changes with the bank's content."""
        digests = "".join(self.sha256[name] for name in FILES)
        return f"bank-{hashlib.sha256(digests.encode()).hexdigest()[:12]}"


class Bank:
    """An open bank. Reading is safe from several threads at once."""

    def __init__(self, record: BankRecord, vectors: np.ndarray, index: Index, texts: pa.Table) -> None:
        self.record = record
        self.vectors = vectors  # [N, D] float16
        self._index = index
        self._texts, self._documents, self._positions = (texts.column(name) for name in COLUMNS)

    @classmethod
    def open(cls, folder: Path, space: str | None = None) -> "Bank":
        """Opens a bank's folder.

        Raises BankError where a file is missing or not the one that was written, and BankOfWrongSpace,
        naming both, where the bank is for another space than `space`.
        """
        record = read_record(folder)
        if space is not None and record.space != space:
            raise BankOfWrongSpace(
                f"bank {folder} is for space {record.space!r}; this stage works in {space!r}: "
                "build it again with that family"
            )
        for name in FILES:
            path = folder / name
            if not path.is_file():
                raise BankError(f"{path} is missing; {_remedy(folder)}")
            if weights.sha256(path) != record.sha256[name]:
                raise BankError(f"{path} does not have the SHA-256 of {RECORD}; {_remedy(folder)}")
        try:
            # A plain view of the mapped file: every slice of a numpy.memmap would be one again, and slow.
            vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="r"))
            texts = pa.ipc.open_file(pa.memory_map(str(folder / "texts.arrow"))).read_all()
            if not vectors.shape == (record.entries, record.dimensions) == (len(texts), vectors.shape[-1]):
                raise ValueError(f"{vectors.shape[0]} vectors, {len(texts)} texts, {record.entries} entries")
            index = Index.read(folder / "index.faiss", vectors, record.index)
        except ValueError as error:  # pyarrow's own are ValueErrors
            raise BankError(
                f"the files of bank {folder} do not belong together: {error}; {_remedy(folder)}"
            ) from error
        return cls(record, vectors, index, texts)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, directions: Array, k: int) -> tuple[Array, np.ndarray]:
        """The k entries nearest to each direction [Q, D]: cosines [Q, k] and rows [Q, k], best first.

        Of a bank whose index is approximate, the share that `record.index.recall` says.
        """
        return self._index.search(directions, k)

    def raw(self, rows: np.ndarray | Sequence[int]) -> Array:
        """Raw vectors [K, D] of rows."""
        return np.asarray(self.vectors[np.asarray(rows, dtype=np.int64)], dtype=np.float32)

    def entry(self, row: int) -> Entry:
        """Text and place of a row."""
        return Entry(
            row, self._texts[row].as_py(), self._documents[row].as_py(), self._positions[row].as_py()
        )

    def preceding(self, row: int, count: int) -> list[Entry]:
        """Up to `count` chunks right before a row in its document, in reading order."""
        entries: list[Entry] = []
        document = self._documents[row].as_py()
        for before in range(row - 1, max(row - 1 - count, -1), -1):
            if self._documents[before].as_py() != document:
                break
            entries.append(self.entry(before))
        return entries[::-1]


def _remedy(folder: Path) -> str:
    return f"build it again: nextvec bank build DOCUMENTS --out {folder}"


def read_record(folder: Path) -> BankRecord:
    """What `bank.json` of a folder says; raises BankError where it is missing or no such record."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        sources, digests = tuple(record.pop("sources")), dict(record.pop("sha256"))
        index = IndexRecord(**record.pop("index", {}))
        if digests.keys() != set(FILES):
            raise ValueError(f"sha256 must name {', '.join(FILES)}")
        return BankRecord(sources=sources, sha256=digests, index=index, **record)
    except FileNotFoundError:
        raise BankError(f"no bank in {folder}: {path} is missing; {_remedy(folder)}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BankError(f"{path} is not a bank's record ({error!r}); {_remedy(folder)}") from error
