"""Documents in: .txt, .md and .jsonl(.gz) files, one record each, always in the same order."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".txt", ".md", ".jsonl", ".jsonl.gz")


class DocumentError(ValueError):
    """A file of documents cannot be read."""


@dataclass(frozen=True)
class Document:
    """One document: its id, running text or chunks already cut, and where it comes from."""

    id: str
    text: str = ""
    chunks: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    licence: str = ""
    category: str = ""


def read_documents(*paths: Path) -> Iterator[Document]:
    """Documents of files and folders, folders sorted by name.

    A .jsonl line holds `text` or `chunks`, and optionally `doc_id` or `id`, `title`, `source`,
    `license` or `licence`, `category`. Raises DocumentError naming file and line.
    """
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.name.endswith((".jsonl", ".jsonl.gz")):
                yield from _read_lines(file)
            elif file.suffix in SUFFIXES:
                yield _read_plain(file, root=path if path.is_dir() else path.parent)
            elif not path.is_dir():
                raise DocumentError(f"{file}: unknown kind of file; readable are {', '.join(SUFFIXES)}")


def share_of(document_id: str, salt: str = "") -> float:
    """A fixed pseudo-random number in [0, 1) for a document, from a hash of its id."""
    digest = hashlib.sha256(f"{salt}{document_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _read_plain(file: Path, root: Path) -> Document:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{file} is not UTF-8 ({error}); convert it first") from error
    name = str(file.relative_to(root))
    return Document(id=name, text=text, title=file.stem, source=name)


def _read_lines(file: Path) -> Iterator[Document]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if not ("text" in record or "chunks" in record):
                    raise KeyError("text or chunks")
            except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
                raise DocumentError(f"{file}:{number} is not a document record: {error!r}") from error
            yield Document(
                id=str(record.get("doc_id") or record.get("id") or f"{file.stem}-{number}"),
                text=record.get("text", ""),
                chunks=tuple(record.get("chunks", ())),
                title=record.get("title", ""),
                source=record.get("source", ""),
                licence=record.get("license") or record.get("licence", ""),
                category=record.get("category", ""),
            )
