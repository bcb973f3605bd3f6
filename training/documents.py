"""Documents in: files, folders and Hugging Face datasets, one record each, always in the same order."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextvec.errors import InvalidInput

SUFFIXES = (".txt", ".md", ".jsonl", ".jsonl.gz")
HUB = "hf:"
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")  # marks of a dataset's `save_to_disk`


class DocumentError(InvalidInput):
    """Documents cannot be read."""


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
    markdown: bool = False


def read_documents(*places: Path | str, licence: str = "") -> Iterator[Document]:
    """Documents of files, folders (sorted by name) and Hugging Face datasets.

    A dataset is named `hf:REPOSITORY[:CONFIGURATION[:SPLIT]]`, for example
    `hf:wikimedia/wikipedia:20231101.en`, or `hf:FOLDER` for one on disk, and is streamed. A .jsonl line
    and a row of a dataset hold `text` or `chunks`, and optionally `doc_id` or `id`, `title`, `source`,
    `license` or `licence`, `category`. A .md file may name the same in its front matter. `licence` is for
    documents that state none. Raises DocumentError naming file and line, or what a dataset lacks.
    """
    for place in places:
        if str(place).startswith(HUB):
            yield from _read_dataset(str(place).removeprefix(HUB), licence)
            continue
        path = Path(place)
        if not path.exists():
            raise DocumentError(f"{path} does not exist")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.name.endswith((".jsonl", ".jsonl.gz")):
                yield from _read_lines(file, licence)
            elif file.suffix in SUFFIXES:
                yield _read_plain(file, path if path.is_dir() else path.parent, licence)
            elif not path.is_dir():
                raise DocumentError(f"{file}: unknown kind of file; readable are {', '.join(SUFFIXES)}")


def share_of(document_id: str, salt: str = "") -> float:
    """A fixed pseudo-random number in [0, 1) for a document, from a hash of its id."""
    digest = hashlib.sha256(f"{salt}{document_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _read_plain(file: Path, root: Path, licence: str) -> Document:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{file} is not UTF-8 ({error}); convert it first") from error
    name = str(file.relative_to(root))
    markdown = file.suffix == ".md"
    record: dict[str, Any] = {"text": text}
    if markdown and (matter := _FRONT_MATTER.match(text)):
        pairs = (line.partition(":") for line in matter[1].splitlines())
        record = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
        record["text"] = text[matter.end() :]
    return _document(record, name, file.stem, name, licence, markdown=markdown)


def _read_lines(file: Path, licence: str) -> Iterator[Document]:
    opener = gzip.open if file.suffix == ".gz" else open
    number = 0
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    record = _checked(json.loads(line))
                    yield _document(record, f"{file.stem}-{number}", "", "", licence)
    except (json.JSONDecodeError, TypeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file}:{max(number, 1)} is not a document record: {error}") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DocumentError(f"{file} breaks off behind line {number} ({error}); fetch it again") from error


def _read_dataset(name: str, licence: str) -> Iterator[Document]:
    rows = _open_dataset(name)
    stated = getattr(getattr(rows, "info", None), "license", "") or licence
    for number, row in enumerate(rows):
        try:
            record = _checked(row)
        except TypeError as error:
            raise DocumentError(f"row {number} of {HUB}{name} is not a document record: {error}") from error
        identity = f"{name}/{row.get('doc_id') or row.get('id') or number}"
        yield _document({**record, "doc_id": identity}, identity, "", f"{HUB}{name}", stated)


def _open_dataset(name: str) -> Iterable[Mapping[str, Any]]:
    try:
        from datasets import DatasetDict, load_dataset, load_from_disk
    except ImportError as error:
        raise DocumentError(
            f"reading {HUB}{name} needs the datasets library: `pip install 'nextvec[hub]'`"
        ) from error
    repository, configuration, split = (*name.split(":"), "", "")[:3]
    try:
        if any((Path(repository) / mark).is_file() for mark in _SAVED):
            saved = load_from_disk(repository)
            return saved[configuration or split or "train"] if isinstance(saved, DatasetDict) else saved
        return load_dataset(repository, configuration or None, split=split or "train", streaming=True)
    except (OSError, ValueError, KeyError) as error:
        raise DocumentError(f"{HUB}{name} cannot be opened: {error}") from error


def _checked(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise TypeError(f"an object is wanted, this is {type(record).__name__}")
    text, chunks = record.get("text"), record.get("chunks")
    if text is None and chunks is None:
        raise TypeError(f"it needs text or chunks, this has {', '.join(map(str, record)) or 'nothing'}")
    if not isinstance(text or "", str) or not all(isinstance(c, str) for c in chunks or ()):
        raise TypeError("text must be a string and chunks a list of strings")
    if isinstance(chunks, str):
        raise TypeError("chunks must be a list of strings")
    return record


def _document(
    record: Mapping[str, Any],
    identity: str,
    title: str,
    source: str,
    licence: str,
    markdown: bool = False,
) -> Document:
    """A record's own fields, else the given ones."""
    return Document(
        id=str(record.get("doc_id") or record.get("id") or identity),
        text=record.get("text") or "",
        chunks=tuple(record.get("chunks") or ()),
        title=str(record.get("title") or title),
        source=str(record.get("source") or source),
        licence=str(record.get("license") or record.get("licence") or licence),
        category=str(record.get("category") or ""),
        markdown=markdown,
    )
