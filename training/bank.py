"""Builds a bank: of documents, cut within the family's limit and encoded, or of a corpus that is encoded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nextvec import weights
from nextvec.family import Family
from services.families.embedder import Embedder
from services.snap.bank import BankError, BankOfWrongSpace
from services.snap.index import IndexProgress
from services.snap.writing import Block, write_blocks
from training import corpus
from training.corpus import chunk_rows, encode_texts
from training.documents import read_documents

SAMPLES = Path("artifacts") / "samples" / "articles"
_ENCODED = 512  # chunks between two reports of progress
_ENDS = ".!?:;,\"'”’)…"
_HEADING_WORDS = 6  # a line of fewer, without a stop, is taken for a heading
_COLUMNS = ["text", "document_id", "position", "source", "licence"]


@dataclass(frozen=True)
class BankProgress:
    """Chunks that a step is done with, of how many."""

    done: int
    total: int
    step: str = "encoding"


def build_bank(
    paths: list[Path], family: Family, folder: Path | None = None, embedder: Embedder | None = None
) -> Iterator[BankProgress]:
    """Builds the bank of all documents of files and folders, into `folder` or the family's own bank.

    The bank is written when the iterator is exhausted. Raises DocumentError or BankError where there is
    nothing to build it of.
    """
    rows = [
        row
        for document in read_documents(*paths)
        for row in chunk_rows(document, family)
        if _is_sentence(str(row["text"]))
    ]
    if not rows:
        names = ", ".join(str(path) for path in paths)
        raise BankError(f"no text in {names}; give files or folders of .txt, .md or .jsonl documents")
    embedder = embedder or Embedder.load(family)

    def blocks() -> Iterator[Block]:
        for start in range(0, len(rows), _ENCODED):
            some = rows[start : start + _ENCODED]
            texts = [str(row["text"]) for row in some]
            yield Block(
                encode_texts(embedder, texts),
                texts,
                [str(row["document_id"]) for row in some],
                [int(str(row["position"])) for row in some],
            )

    # A document that states no licence is a file of the user's own: the folder says enough.
    sources = [f"{row['source']} ({row['licence']})" for row in rows if row["licence"]]
    work = write_blocks(
        folder or family.part("bank"),
        blocks(),
        len(rows),
        space=family.space,
        sources=sources or [path.name for path in paths],
    )
    for step in work:
        yield _progress(step, "encoding")


def build_bank_of_corpus(encoded: Path, family: Family, folder: Path | None = None) -> Iterator[BankProgress]:
    """Builds the bank of an encoded corpus' folder, whose vectors are taken as they are.

    As `build_bank` else. Raises BankError where the corpus is not wholly encoded or its files are not those
    that were encoded, BankOfWrongSpace where its vectors are of another space than the family's.
    """
    parts = _encoded_parts(encoded, family.space)
    # Headings are left out, so what remains is counted first: texts are small beside vectors.
    kept = [np.array([_is_sentence(text) for text in _texts(part)], dtype=bool) for part in parts]
    sources: set[str] = set()

    def blocks() -> Iterator[Block]:
        for part, keep in zip(parts, kept, strict=True):
            table = pq.read_table(part, columns=_COLUMNS).filter(keep).to_pydict()
            pairs = set(zip(table["source"], table["licence"], strict=True))
            sources.update(f"{source} ({licence})" for source, licence in pairs if licence)
            vectors = np.load(part.with_suffix(".npy"), mmap_mode="r")
            if len(vectors) != len(keep):
                raise BankError(f"{part} has {len(keep)} chunks, {len(vectors)} vectors; encode it again")
            yield Block(vectors[keep], table["text"], table["document_id"], table["position"])

    entries = sum(int(keep.sum()) for keep in kept)
    target = folder or family.part("bank")
    for step in write_blocks(target, blocks(), entries, space=family.space, sources=sources):
        yield _progress(step, "copying")


def _encoded_parts(folder: Path, space: str) -> list[Path]:
    """Parts of a corpus, all of them encoded for `space`, and unchanged since."""
    parts = corpus.parts(folder)
    if not parts:
        raise BankError(f"{folder} is no corpus: it has no part-*.parquet; nextvec corpus build DOCUMENTS")
    remedy = f"nextvec corpus encode {folder}"
    missing = [part.name for part in parts if not part.with_suffix(".npy").is_file()]
    record = folder / corpus.VECTORS
    if missing or not record.is_file():
        raise BankError(f"{len(missing)} of {len(parts)} parts of {folder} have no vectors; {remedy}")
    try:
        described = json.loads(record.read_text(encoding="utf-8"))
        found, digests = described["space"], {p["file"]: p["sha256"] for p in described.get("parts", [])}
    except (ValueError, KeyError, TypeError) as error:
        raise BankError(f"{record} is no record of vectors ({error!r}); {remedy}") from error
    if found != space:
        raise BankOfWrongSpace(
            f"{folder} holds vectors of space {found!r}; the family's is {space!r}: encode it again with it"
        )
    for part in parts:
        vectors = part.with_suffix(".npy")
        if vectors.name in digests and weights.sha256(vectors) != digests[vectors.name]:
            raise BankError(f"{vectors} does not have the SHA-256 of {record.name}; remove it, then {remedy}")
    return parts


def _texts(part: Path) -> list[str]:
    texts: list[str] = pq.read_table(part, columns=["text"])["text"].to_pylist()
    return texts


def _progress(step: IndexProgress, writing: str) -> BankProgress:
    return BankProgress(step.done, step.total, writing if step.step == "writing" else step.step)


def _is_sentence(text: str) -> bool:
    """Whether a chunk is more than a heading, which is no answer to give and no text to decode to."""
    return text[-1] in _ENDS or len(text.split()) >= _HEADING_WORDS
