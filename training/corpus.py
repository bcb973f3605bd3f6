"""A corpus on disk: chunks within a family's token limit, and their vectors.

A corpus folder holds numbered parts, `part-00000.parquet` (document_id, position, text, source,
licence) and, once encoded, `part-00000.npy` (float16 raw vectors [chunks, dimensions]). A part is
written in one piece, so work that was interrupted goes on at the first missing part.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from nextvec.chunking import fit, sentences
from nextvec.family import Family
from services.families.embedder import Embedder
from training.documents import Document

DOCUMENTS_PER_PART = 256
SCHEMA = pa.schema(
    {
        "document_id": pa.string(),
        "position": pa.int32(),
        "text": pa.string(),
        "title": pa.string(),
        "source": pa.string(),
        "licence": pa.string(),
        "category": pa.string(),
    }
)


def build(documents: Iterable[Document], family: Family, folder: Path) -> Iterator[int]:
    """Cuts documents into chunks and writes the parts that are still missing.

    Yields the number of documents of each part as it is done. The documents must come in the same
    order at every call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remaining = iter(documents)
    number = 0
    while group := list(islice(remaining, DOCUMENTS_PER_PART)):
        path = folder / f"part-{number:05}.parquet"
        if not path.exists():
            rows = [row for document in group for row in chunk_rows(document, family)]
            partial = path.with_suffix(".partial")
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial)
            partial.replace(path)
        number += 1
        yield len(group)


def encode(folder: Path, embedder: Embedder, batch: int = 64) -> Iterator[int]:
    """Writes the vectors of every part that has none yet; yields each part's number of chunks."""
    for part in parts(folder):
        target = part.with_suffix(".npy")
        texts = pq.read_table(part, columns=["text"])["text"].to_pylist()
        if not target.exists():
            partial = target.with_suffix(".partial")
            with partial.open("wb") as file:
                np.save(file, encode_texts(embedder, texts, batch))
            partial.replace(target)
        yield len(texts)


def encode_texts(embedder: Embedder, texts: list[str], batch: int = 64) -> np.ndarray:
    """Texts → raw vectors [N, dimensions] float16, in bfloat16 arithmetic, sorted by length meanwhile."""
    ids = embedder.token_ids(texts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = np.empty((len(ids), len(embedder.mean)), dtype=np.float16)
    device = embedder.mean.device.type
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            vectors[rows] = embedder.embed([ids[i] for i in rows]).cpu().numpy()
    return vectors


def parts(folder: Path) -> list[Path]:
    """The Parquet files of a corpus in order."""
    return sorted(folder.glob("part-*.parquet"))


def chunk_rows(document: Document, family: Family) -> list[dict[str, object]]:
    """The document's chunks in reading order, as rows of the schema."""
    raw = document.chunks or [
        sentence for paragraph in document.text.split("\n\n") for sentence in sentences(paragraph)
    ]
    chunks = fit(raw, family.count_tokens, family.token_limit)
    shared = {
        "document_id": document.id,
        "title": document.title,
        "source": document.source,
        "licence": document.licence,
        "category": document.category,
    }
    return [{**shared, "position": position, "text": text} for position, text in enumerate(chunks)]
