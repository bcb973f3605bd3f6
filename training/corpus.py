"""A corpus on disk: chunks within a family's token limit, and their vectors.

A corpus folder holds numbered parts, `part-00000.parquet` (document_id, position, text, title, source,
licence, category) with the counts of what was read for it in `part-00000.json`, and, once encoded,
`part-00000.npy` (float16 raw vectors [chunks, dimensions]). Each file is put in place in one piece, a part's
counts before the part, so work that was interrupted goes on at the first missing part and ends the same.
`corpus.json` is the corpus' card; it is there once the corpus is whole. `vectors.json` names the space.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from nextvec import weights
from nextvec.errors import FailedPrecondition
from nextvec.family import Family
from services.families.embedder import Embedder
from training.documents import Document
from training.intake import Counts, Intake, chunk_rows

__all__ = ["CorpusError", "build", "chunk_rows", "encode", "encode_part", "encode_texts", "parts"]

DOCUMENTS_PER_PART = 256
CHUNKS_PER_PART = 8192  # half a minute's encoding on two cores, which a kill costs at most
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
CARD, SETTINGS, VECTORS = "corpus.json", "build.json", "vectors.json"
_LISTED = 100  # sources that the card names one by one


class CorpusError(FailedPrecondition):
    """A corpus folder does not fit what is to be done with it."""


def build(
    documents: Iterable[Document],
    family: Family,
    folder: Path,
    *,
    clean: bool = True,
    deduplicate: bool = True,
) -> Iterator[Counts]:
    """Cuts documents into chunks and writes the parts that are still missing, then the card.

    A part ends at DOCUMENTS_PER_PART or CHUNKS_PER_PART, whichever comes first, and with a whole document.
    Yields what became of the documents read for each part as it is done. The documents must come in the same
    order at every call. Raises CorpusError where the folder was begun with other documents or settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizers = [family.part(part) / "tokenizer.json" for part in ("encoder", "inverter")]
    settings = {
        "family": family.name,
        "space": family.space,
        "token_limit": family.token_limit,
        "tokenizers": [weights.sha256(file) for file in tokenizers if file.is_file()],
        "clean": clean,
        "deduplicate": deduplicate,
    }
    _claim(folder / SETTINGS, settings)
    intake = Intake(family, clean, deduplicate)
    remaining = iter(documents)
    taken: list[Counts] = []
    for number in count():
        path = folder / f"part-{number:05}.parquet"
        if path.exists():
            counts = _counts_of(path)
            table = pq.read_table(path, columns=["document_id", "text"])
            ids, texts = table["document_id"].to_pylist(), table["text"].to_pylist()
            if not intake.replay(remaining, counts, ids, texts):
                raise CorpusError(
                    f"the documents of {path} have changed since it was written, or what is said of them, "
                    "such as --licence; build into an empty folder"
                )
        else:
            rows, counts = intake.take(remaining, DOCUMENTS_PER_PART, CHUNKS_PER_PART)
            if not counts.documents:
                break
            if rows:
                _write_json(path.with_suffix(".json"), asdict(counts))
                partial = path.with_suffix(".partial")
                pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial)
                partial.replace(path)
        taken.append(counts)
        yield counts
    _write_json(folder / CARD, _card(settings, taken, parts(folder)))


def encode(folder: Path, embedder: Embedder, batch: int = 64, space: str | None = None) -> Iterator[int]:
    """Writes the vectors of every part that has none yet; yields each part's number of chunks.

    `space` is the space of the embedder's vectors; the folder keeps it in `vectors.json`. Raises
    CorpusError where the folder was built for, or holds vectors of, another space.
    """
    claim_space(folder, space)
    for part in parts(folder):
        yield encode_part(part, embedder, batch)
    describe_vectors(folder, space)


def encode_part(part: Path, embedder: Embedder, batch: int = 64) -> int:
    """Writes a part's vectors unless they are there; returns its number of chunks."""
    target = part.with_suffix(".npy")
    texts = pq.read_table(part, columns=["text"])["text"].to_pylist()
    if not target.exists():
        partial = target.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, encode_texts(embedder, texts, batch))
        partial.replace(target)
    elif len(np.load(target, mmap_mode="r")) != len(texts):
        raise CorpusError(f"{target} does not belong to {part.name}; remove it and encode again")
    return len(texts)


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


def claim_space(folder: Path, space: str | None) -> None:
    """Marks a folder's vectors as being of a space, before the first of them is written."""
    if not space:
        return
    card, record = folder / CARD, folder / VECTORS
    built_for = json.loads(card.read_text())["space"] if card.is_file() else space
    if built_for != space:
        raise CorpusError(
            f"{folder} was built for space {built_for}, the encoder's is {space}; build it anew"
        )
    if record.is_file():
        found = json.loads(record.read_text())["space"]
    else:
        encoded = any(part.with_suffix(".npy").exists() for part in parts(folder))
        found = "unknown" if encoded else space
    if found != space:
        raise CorpusError(
            f"{folder} holds vectors of space {found}, the encoder's is {space}; remove its .npy files"
        )
    if not record.is_file():
        _write_json(record, {"space": space, "dtype": "float16", "parts": []})


def describe_vectors(folder: Path, space: str | None) -> None:
    """Records the digests of a folder's vectors, once all of them are there."""
    if space:
        files = [part.with_suffix(".npy") for part in parts(folder)]
        found = [{"file": file.name, "sha256": weights.sha256(file)} for file in files]
        _write_json(folder / VECTORS, {"space": space, "dtype": "float16", "parts": found})


def _card(settings: Mapping[str, object], taken: list[Counts], files: list[Path]) -> dict[str, object]:
    dropped, cut, licences = Counter[str](), Counter[str](), Counter[str]()
    sources: dict[tuple[str, str, str], list[int]] = {}
    for counts in taken:
        dropped.update(counts.dropped)
        cut.update(counts.cut)
        for source, licence, category, documents, chunks in counts.origins:
            total = sources.setdefault((str(source), str(licence), str(category)), [0, 0])
            total[0] += int(str(documents))
            total[1] += int(str(chunks))
            licences[str(licence) or "not stated"] += int(str(documents))
    largest = sorted(sources.items(), key=lambda item: (-item[1][1], item[0]))
    return {
        **settings,
        "documents": sum(counts.kept for counts in taken),
        "chunks": sum(counts.chunks for counts in taken),
        "documents_read": sum(counts.documents for counts in taken),
        "documents_dropped": dict(sorted(dropped.items())),
        "pieces_cut": dict(sorted(cut.items())),
        "licences": dict(sorted(licences.items())),
        "sources": [
            {"source": s, "licence": li, "category": c, "documents": d, "chunks": n}
            for (s, li, c), (d, n) in largest[:_LISTED]
        ],
        "sources_not_listed": max(0, len(largest) - _LISTED),
        "parts": [
            {"file": file.name, "chunks": pq.read_metadata(file).num_rows, "sha256": weights.sha256(file)}
            for file in files
        ],
    }


def _counts_of(part: Path) -> Counts:
    record = part.with_suffix(".json")
    if not record.is_file():
        raise CorpusError(
            f"{part} has no {record.name} beside it, so it cannot be continued; use an empty folder"
        )
    return Counts(**json.loads(record.read_text()))


def _claim(record: Path, settings: Mapping[str, object]) -> None:
    """Writes the settings that a folder is built with, or checks that they are the same as before."""
    if not record.is_file():
        _write_json(record, settings)
        return
    found = json.loads(record.read_text())
    differing = [f"{k} {found.get(k)!r}, now {v!r}" for k, v in settings.items() if found.get(k) != v]
    if differing:
        raise CorpusError(f"{record.parent} was built with {'; '.join(differing)}; use an empty folder")


def _write_json(path: Path, record: Mapping[str, object]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
