"""A bank: vectors of real text in a folder, searched exactly.

    vectors.npy   raw vectors [N, D] float16, memory-mapped
    index.faiss   inner-product index over their unit directions; entry i is row i
    texts.arrow   text, document_id and position of every row, memory-mapped
    bank.json     space, counts, sources and digests

The chunks of a document are consecutive rows in reading order, so that those before a row are the rows
before it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
import pyarrow as pa

from nextvec import weights
from nextvec.errors import StartupError, WrongSpace
from nextvec.vectors import Array, check_vectors, unit

RECORD = "bank.json"
FILES = ("vectors.npy", "index.faiss", "texts.arrow")
_COLUMNS = ("text", "document_id", "position")


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

    @property
    def id(self) -> str:
        """Changes with the bank's content."""
        digests = "".join(self.sha256[name] for name in FILES)
        return f"bank-{hashlib.sha256(digests.encode()).hexdigest()[:12]}"


class Bank:
    """An open bank. Reading is safe from several threads at once."""

    def __init__(self, record: BankRecord, vectors: np.ndarray, index: faiss.Index, texts: pa.Table) -> None:
        self.record = record
        self.vectors = vectors  # [N, D] float16
        self._index = index
        self._texts, self._documents, self._positions = (texts.column(name) for name in _COLUMNS)

    @classmethod
    def open(cls, folder: Path, space: str | None = None) -> "Bank":
        """Opens a bank's folder.

        Raises BankError where a file is missing or not the one that was written, and BankOfWrongSpace,
        naming both, where the bank is for another space than `space`.
        """
        record = _read_record(folder)
        if space is not None and record.space != space:
            raise BankOfWrongSpace(
                f"bank {folder} is for space {record.space!r}; this stage works in {space!r}: "
                "build it again with that family"
            )
        for name in FILES:
            path = folder / name
            if not path.is_file():
                raise BankError(f"{path} is missing; {_REMEDY}")
            if weights.sha256(path) != record.sha256[name]:
                raise BankError(f"{path} does not have the SHA-256 of {RECORD}; {_REMEDY}")
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        index = faiss.read_index(str(folder / "index.faiss"))
        texts = pa.ipc.open_file(pa.memory_map(str(folder / "texts.arrow"))).read_all()
        if not vectors.shape == (record.entries, record.dimensions) == (index.ntotal, index.d):
            raise BankError(f"the files of bank {folder} do not belong together; {_REMEDY}")
        return cls(record, vectors, index, texts)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, directions: Array, k: int) -> tuple[Array, np.ndarray]:
        """The k entries nearest to each direction [Q, D]: cosines [Q, k] and rows [Q, k], best first."""
        cosines, rows = self._index.search(np.ascontiguousarray(directions), min(k, len(self)))
        return cosines, rows

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


def write_bank(
    folder: Path,
    vectors: np.ndarray,
    texts: Sequence[str],
    document_ids: Sequence[str],
    positions: Sequence[int],
    *,
    space: str,
    sources: Iterable[str] = (),
) -> BankRecord:
    """Writes a bank of raw vectors [N, D] and their texts, replacing one that is there.

    The chunks of a document must be consecutive and in reading order. Raises BankError where they are not
    or there is none, InvalidInput where a vector is not finite or is zero.
    """
    _require_order(document_ids, positions)
    stored = np.asarray(vectors, dtype=np.float16)
    exact = check_vectors(stored.astype(np.float32), "vectors", dimension=stored.shape[1])
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".draft", dir=folder) as temporary:
        draft = Path(temporary)
        np.save(draft / "vectors.npy", stored)
        index = faiss.IndexFlatIP(stored.shape[1])
        index.add(unit(exact))
        faiss.write_index(index, str(draft / "index.faiss"))
        _write_texts(draft / "texts.arrow", texts, document_ids, positions)
        record = BankRecord(
            space=space,
            entries=len(stored),
            documents=len(set(document_ids)),
            dimensions=stored.shape[1],
            sources=tuple(sorted(set(sources))),
            sha256={name: weights.sha256(draft / name) for name in FILES},
        )
        # Without its record a bank does not open, so a mixture of two is never used. A server that has the
        # old files mapped keeps them: they are replaced, not overwritten.
        (folder / RECORD).unlink(missing_ok=True)
        for name in FILES:
            (draft / name).replace(folder / name)
    text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    return record


def _write_texts(
    path: Path, texts: Sequence[str], document_ids: Sequence[str], positions: Sequence[int]
) -> None:
    arrays = [
        pa.array(texts, pa.large_string()),
        pa.array(document_ids, pa.string()),
        pa.array(positions, pa.uint32()),
    ]
    table = pa.table(dict(zip(_COLUMNS, arrays, strict=True)))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


_REMEDY = "build the bank again: nextvec bank build FOLDER"


def _read_record(folder: Path) -> BankRecord:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        sources, digests = tuple(record.pop("sources")), dict(record.pop("sha256"))
        if digests.keys() != set(FILES):
            raise ValueError(f"sha256 must name {', '.join(FILES)}")
        return BankRecord(sources=sources, sha256=digests, **record)
    except FileNotFoundError:
        raise BankError(f"no bank in {folder}: {path} is missing; {_REMEDY}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BankError(f"{path} is not a bank's record ({error!r}); {_REMEDY}") from error


def _require_order(document_ids: Sequence[str], positions: Sequence[int]) -> None:
    if not len(document_ids):
        raise BankError("there is no text to build a bank of; give a folder of .txt, .md or .jsonl files")
    seen: set[str] = set()
    previous, place = None, -1
    for document, position in zip(document_ids, positions, strict=True):
        if document != previous and document in seen:
            raise BankError(f"two documents have the id {document!r}; ids must be unique within a bank")
        if document == previous and position <= place:
            raise BankError(f"the chunks of document {document!r} are not in reading order")
        seen.add(document)
        previous, place = document, position
