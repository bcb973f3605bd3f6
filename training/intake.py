"""From documents to the rows of a corpus: cleaned, cut into chunks, each document once."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from nextvec.chunking import fit, sentences
from nextvec.family import Family
from training import cleaning
from training.documents import Document
from training.duplicates import SeenDocuments

EMPTY, LITTLE_PROSE = "empty", "too little prose"
_LOST = (
    0.3  # a document that loses more of its sentences is a list, a log or an index; what is left has holes
)

Row = dict[str, object]


@dataclass
class Counts:
    """What became of a run of documents.

    `dropped` counts whole documents and `cut` pieces of the kept ones, both by reason. `origins` are
    [source, licence, category, documents, chunks]. `digest` is the SHA-256 of the documents as read.
    """

    documents: int = 0
    kept: int = 0
    chunks: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    origins: list[list[object]] = field(default_factory=list)
    digest: str = ""

    @property
    def without_licence(self) -> int:
        """Kept documents that state no licence."""
        return sum(int(str(documents)) for _, licence, _, documents, _ in self.origins if not licence)


class Intake:
    """Takes documents in, one run after another, and remembers those it has seen."""

    def __init__(self, family: Family, clean: bool, deduplicate: bool) -> None:
        self._family = family
        self._clean = clean
        self._seen = SeenDocuments() if deduplicate else None
        self._ids = Counter[str]()

    def take(self, documents: Iterator[Document], kept: int, chunks: int) -> tuple[list[Row], Counts]:
        """Rows of the next documents until `kept` of them are kept, they have `chunks`, or none are left.

        The last document is taken whole, so there may be more chunks.
        """
        counts, digest = Counts(), hashlib.sha256()
        dropped, cut = Counter[str](), Counter[str]()
        origins: dict[tuple[str, str, str], list[int]] = {}
        rows: list[Row] = []
        while counts.kept < kept and len(rows) < chunks and (document := next(documents, None)):
            counts.documents += 1
            digest.update(_content(document))
            identity = self._own_id(document)
            if self._clean:
                new, faults = cleaned_rows(document, self._family)
            else:
                new, faults = chunk_rows(document, self._family), Counter[str]()
            reason = self._reason(document, new, faults)
            if reason:
                dropped[reason] += 1
                continue
            rows += [{**row, "document_id": identity} for row in new]
            counts.kept += 1
            cut += faults
            origin = origins.setdefault((document.source, document.licence, document.category), [0, 0])
            origin[0] += 1
            origin[1] += len(new)
        counts.chunks = len(rows)
        counts.dropped, counts.cut = dict(sorted(dropped.items())), dict(sorted(cut.items()))
        counts.origins = [[*origin, *numbers] for origin, numbers in origins.items()]
        counts.digest = digest.hexdigest()
        return rows, counts

    def replay(self, documents: Iterator[Document], counts: Counts, ids: list[str], texts: list[str]) -> bool:
        """Passes over a run taken earlier, whose rows have these document ids and texts.

        Returns whether the documents are the same as then.
        """
        digest = hashlib.sha256()
        for document in islice(documents, counts.documents):
            digest.update(_content(document))
            self._own_id(document)
        if self._seen:
            start = 0
            for end in range(1, len(ids) + 1):
                if end == len(ids) or ids[end] != ids[start]:
                    self._seen.add(texts[start:end])
                    start = end
        return digest.hexdigest() == counts.digest

    def _reason(self, document: Document, rows: Sequence[Row], faults: Counter[str]) -> str | None:
        if not rows:
            return LITTLE_PROSE if faults else EMPTY
        lost = sum(faults[f] for f in cleaning.SENTENCE_FAULTS)
        if lost > _LOST * (lost + len(rows)):
            return LITTLE_PROSE
        return self._seen.add([str(row["text"]) for row in rows]) if self._seen else None

    def _own_id(self, document: Document) -> str:
        """The document's id, made different from every earlier one: rows are told apart by it."""
        self._ids[document.id] += 1
        number = self._ids[document.id]
        return document.id if number == 1 else f"{document.id}~{number}"


def chunk_rows(document: Document, family: Family) -> list[Row]:
    """The document's chunks in reading order, as rows of the schema, nothing left out."""
    raw = document.chunks or [
        sentence for paragraph in document.text.split("\n\n") for sentence in sentences(paragraph)
    ]
    return _rows(document, list(enumerate(fit(raw, family.count_tokens, family.token_limit))))


def cleaned_rows(document: Document, family: Family) -> tuple[list[Row], Counter[str]]:
    """The document's chunks in reading order, and how many pieces were left out for which fault.

    A sentence that is left out leaves a gap in the positions, so that no window is laid over the hole.
    """
    cut = Counter[str]()
    units: list[str] = []
    if document.chunks:
        units = [cleaning.tidy(chunk) for chunk in document.chunks]
    else:
        for block in cleaning.blocks(document.text, document.markdown):
            if block.fault:
                cut[block.fault] += 1
            else:
                units += sentences(cleaning.tidy(block.text))
    placed: list[tuple[int, str]] = []
    run: list[str] = []
    position = 0
    for unit in [*units, None]:
        reason = cleaning.fault(unit) if unit else None
        if unit and not reason:
            run.append(unit)
            continue
        pieces = fit(run, family.count_tokens, family.token_limit)
        placed += enumerate(pieces, position)
        position += len(pieces)
        run = []
        if reason:
            cut[reason] += 1
            position += 1
    return _rows(document, placed), cut


def _rows(document: Document, placed: list[tuple[int, str]]) -> list[Row]:
    shared = {
        "document_id": document.id,
        "title": document.title,
        "source": document.source,
        "licence": document.licence,
        "category": document.category,
    }
    return [{**shared, "position": position, "text": text} for position, text in placed]


def _content(document: Document) -> bytes:
    parts = (document.id, document.source, document.licence, document.text, *document.chunks)
    return "\x00".join(parts).encode("utf-8", "surrogatepass") + b"\x01"
