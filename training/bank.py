"""Builds a bank from documents: chunks within the family's limit, encoded, and indexed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nextvec.family import Family
from services.families.embedder import Embedder
from services.snap.bank import BankError, write_bank
from training.corpus import chunk_rows, encode_texts
from training.documents import read_documents

SAMPLES = Path("artifacts") / "samples" / "articles"
_ENCODED = 512  # chunks between two reports of progress
_ENDS = ".!?:;,\"'”’)…"
_HEADING_WORDS = 6  # a line of fewer, without a stop, is taken for a heading


@dataclass(frozen=True)
class BankProgress:
    """Chunks encoded, of how many."""

    done: int
    total: int


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
    texts = [str(row["text"]) for row in rows]
    embedder = embedder or Embedder.load(family)
    blocks = []
    for start in range(0, len(texts), _ENCODED):
        blocks.append(encode_texts(embedder, texts[start : start + _ENCODED]))
        yield BankProgress(min(start + _ENCODED, len(texts)), len(texts))
    write_bank(
        folder or family.part("bank"),
        np.concatenate(blocks),
        texts,
        [str(row["document_id"]) for row in rows],
        [int(str(row["position"])) for row in rows],
        space=family.space,
        # A document that states no licence is a file of the user's own: the folder says enough.
        sources=[f"{row['source']} ({row['licence']})" for row in rows if row["licence"]]
        or [path.name for path in paths],
    )


def _is_sentence(text: str) -> bool:
    """Whether a chunk is more than a heading, which is no answer to give and no text to decode to."""
    return text[-1] in _ENDS or len(text.split()) >= _HEADING_WORDS
