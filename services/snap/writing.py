"""Writes a bank's folder block by block, so that its size is bounded by the disk and not by memory."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from nextvec import weights
from nextvec.vectors import check_vectors
from services.snap.bank import COLUMNS, FILES, RECORD, BankError, BankRecord, read_record
from services.snap.index import IndexProgress, IndexRecord, build_index

_DRAFT = ".draft"
"""Start of the name of a folder with what is being written; it becomes the bank when it is whole."""

_SCHEMA = pa.schema(zip(COLUMNS, (pa.large_string(), pa.string(), pa.uint32()), strict=True))


@dataclass(frozen=True)
class Block:
    """Consecutive chunks of a bank: raw vectors [n, D], and of each its text, document and place in it."""

    vectors: np.ndarray
    texts: Sequence[str]
    document_ids: Sequence[str]
    positions: Sequence[int]


def write_blocks(
    folder: Path, blocks: Iterable[Block], entries: int, *, space: str, sources: Iterable[str] = ()
) -> Iterator[IndexProgress]:
    """Writes a bank of blocks that have `entries` chunks together, replacing one that is there.

    Yields what has been done; the bank is in place when the iterator is exhausted, and until then the old
    one is. The chunks of a document must be consecutive and in reading order. Raises BankError where they
    are not or there is none, or where another process writes there, InvalidInput where a vector is not finite
    or is zero.
    """
    if not entries:
        raise BankError("there is no text to build a bank of; give a folder of .txt, .md or .jsonl files")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), TemporaryDirectory(prefix=_DRAFT, dir=folder) as temporary:
        draft = Path(temporary)
        order = _Order()
        yield from _write_chunks(draft, blocks, entries, order)
        vectors = np.asarray(np.load(draft / "vectors.npy", mmap_mode="r"))
        index = IndexRecord()
        for step in build_index(vectors, draft / "index.faiss"):
            if isinstance(step, IndexRecord):
                index = step
            else:
                yield step
        record = BankRecord(
            space=space,
            entries=entries,
            documents=len(order.documents),
            dimensions=vectors.shape[1],
            sources=tuple(sorted(set(sources))),
            sha256={name: weights.sha256(draft / name) for name in FILES},
            index=index,
        )
        text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
        (draft / RECORD).write_text(text + "\n", encoding="utf-8")
        # Without its record a bank does not open, so a mixture of two is never used. A server that has the
        # old files mapped keeps them: they are replaced, not overwritten.
        (folder / RECORD).unlink(missing_ok=True)
        for name in (*FILES, RECORD):
            (draft / name).replace(folder / name)


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
    """Writes a bank of raw vectors [N, D] and their texts in one go; else as `write_blocks`."""
    block = Block(vectors, texts, document_ids, positions)
    for _ in write_blocks(folder, [block], len(vectors), space=space, sources=sources):
        pass
    return read_record(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other writers out of a bank's folder, and removes what one that was killed left there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for draft in folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft)
        yield
    except BlockingIOError:
        raise BankError(f"{folder} is being written by another process; wait for it, or end it") from None
    finally:
        os.close(descriptor)


def _write_chunks(
    draft: Path, blocks: Iterable[Block], entries: int, order: "_Order"
) -> Iterator[IndexProgress]:
    vectors: np.memmap | None = None
    done = 0
    with (
        pa.OSFile(str(draft / "texts.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        for block in blocks:
            order.check(block)
            stored = np.asarray(block.vectors, dtype=np.float16)
            check_vectors(stored.astype(np.float32), "vectors", dimension=stored.shape[1])
            if vectors is None:
                vectors = np.lib.format.open_memmap(
                    draft / "vectors.npy", "w+", np.float16, (entries, stored.shape[1])
                )
            vectors[done : done + len(stored)] = stored
            columns = (block.texts, block.document_ids, block.positions)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))
            done += len(stored)
            yield IndexProgress("writing", done, entries)
    if vectors is None or done != entries:
        raise BankError(f"there were {done} chunks instead of {entries}; the documents change meanwhile")
    vectors.flush()


class _Order:
    """Sees to it that documents are whole and in reading order, across blocks."""

    def __init__(self) -> None:
        self.documents: set[str] = set()
        self._previous: str | None = None
        self._place = -1

    def check(self, block: Block) -> None:
        for document, position in zip(block.document_ids, block.positions, strict=True):
            if document != self._previous and document in self.documents:
                raise BankError(f"two documents have the id {document!r}; ids must be unique within a bank")
            if document == self._previous and position <= self._place:
                raise BankError(f"the chunks of document {document!r} are not in reading order")
            self.documents.add(document)
            self._previous, self._place = document, position
