"""Windows over encoded documents: five vectors in a row and the one that follows."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextvec.errors import WrongSpace
from nextvec.family import Family
from nextvec.vectors import Array, unit
from services.lvm.checkpoint import CONTEXT
from training import encoded, sequence_npz
from training.documents import share_of
from training.encoded import Mapped
from training.sequence_npz import Origin, SequencesError

__all__ = ["SPLITS", "Origin", "Sequences", "SequencesError"]

SPLITS = {"train": (0.10, 1.0), "validation": (0.0, 0.05), "test": (0.05, 0.10)}
"""Documents of each split: those whose hash, a number in [0, 1), is in the interval."""

# "(github:owner/name @ commit path)": what follows the commit names a file.
_FILE_IN_REPOSITORY = re.compile(r"( @ [0-9a-f]{7,40}) [^)]+")

_HELD_OUT = 0.05  # share of the documents that a training without validation data holds out
_BLOCK = 2048  # windows read at a time


@dataclass(frozen=True)
class Sequences:
    """Windows over one array of vectors, which all views of it share.

    A window is the row of its target; its context is the CONTEXT rows before, all of the same document.
    """

    vectors: np.ndarray | Mapped  # [N, D] float16, raw
    document: np.ndarray  # [N] int32: number of each row's document
    position: np.ndarray  # [N] int64: each row's place in its document
    ids: list[str]  # of the documents
    origins: list[Origin]  # of the documents
    windows: np.ndarray  # [W] int64: rows of the targets
    digest: str  # SHA-256 over the data's files, whole ones where `limit` cuts the last
    space: str = ""  # of the vectors; empty where the data does not say
    documented: bool = True  # whether the data names its documents
    crossing: int = 0  # windows left out because they reach into another document

    @classmethod
    def load(cls, place: Path, limit: int | None = None, *, mapped: bool = False) -> "Sequences":
        """Every window of an encoded corpus folder or of an .npz of sequences.

        Of a folder, `limit` takes so many chunks from its beginning, and `mapped` leaves the vectors on
        disk. Raises SequencesError where the folder is not a corpus, is not encoded or has no window, and
        where the file is not what `sequence_npz.read` can read.
        """
        if place.suffix == ".npz":
            return cls(**vars(sequence_npz.read(place)))
        parts = encoded.parts(place, limit)
        columns = ["document_id", "position", "source", "licence"]
        table = pa.concat_tables(pq.read_table(part, columns=columns) for part in parts).slice(0, limit)
        vectors = Mapped([encoded.vectors_of(part) for part in parts], limit)
        numbers: dict[str, int] = {}
        origins: list[Origin] = []
        document = np.empty(len(table), dtype=np.int32)
        position = np.empty(len(table), dtype=np.int64)
        batches = (zip(*(c.to_pylist() for c in b.columns), strict=True) for b in table.to_batches())
        for row, (name, number, source, licence) in enumerate(entry for b in batches for entry in b):
            if name not in numbers:
                numbers[name] = len(numbers)
                origins.append(Origin(source, licence))
            document[row], position[row] = numbers[name], number
        windows = _windows(document, position)
        if not len(windows):
            raise SequencesError(
                f"{place} has no document of more than {CONTEXT} chunks; add longer documents"
            )
        return cls(
            vectors if mapped else vectors.read(),
            document,
            position,
            list(numbers),
            origins,
            windows,
            encoded.digest(parts),
            encoded.space_of(place),
        )

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def dimensions(self) -> int:
        """Dimension of the vectors."""
        return self.vectors.shape[1]

    def require(self, family: Family) -> None:
        """Raises WrongSpace where the vectors are of another space than the family's, or of other size.

        Data that does not say its space is taken at its dimension.
        """
        if self.space not in ("", family.space) or self.dimensions != family.dimensions:
            raise WrongSpace(
                f"the vectors have {self.dimensions} dimensions and space {self.space or 'unknown'}; "
                f"those of family {family.name} have {family.dimensions} and {family.space}"
            )

    def directions(self, windows: np.ndarray) -> tuple[Array, Array]:
        """Unit contexts [B, 5, D], oldest first, and unit targets [B, D] of windows given by index [B]."""
        rows = self.windows[windows][:, None] + np.arange(-CONTEXT, 1)  # [B, 6]
        units = unit(self.vectors[rows])
        return units[:, :CONTEXT], units[:, CONTEXT]

    def split(self, held_out: float) -> tuple["Sequences", "Sequences"]:
        """Windows to train on and windows to validate on, by a hash of their document's id.

        A document is on one side whole: overlapping windows on both would let a model validate on vectors
        that it was trained to predict. `held_out` is the share of documents held out. Raises
        SequencesError where the data does not name its documents.
        """
        held = self._shares()[self.document[self.windows]] < held_out
        return replace(self, windows=self.windows[~held]), replace(self, windows=self.windows[held])

    def part(self, name: str) -> "Sequences":
        """The windows of one of SPLITS, by the hash of `split`. Raises SequencesError where it has none."""
        low, high = SPLITS[name]
        shares = self._shares()[self.document[self.windows]]
        found = replace(self, windows=self.windows[(shares >= low) & (shares < high)])
        if not len(found):
            raise SequencesError(
                f"none of {len(self.ids)} documents falls into the {name} split, which takes "
                f"{high - low:.0%} of them by a hash of their ids; add documents, or take no split"
            )
        return found

    def held_out(self) -> tuple["Sequences", "Sequences"]:
        """`split` that holds out the 5% of the documents with windows whose hashes are lowest, one at least.

        A share of the documents that are there, because one of SPLITS has none of the low hashes. Raises
        SequencesError where only one document has windows.
        """
        shares = np.sort(self._shares()[np.unique(self.document[self.windows])])
        if len(shares) == 1:
            raise SequencesError("a single document has windows; give more, or data to validate on")
        last = shares[max(1, round(_HELD_OUT * len(shares))) - 1]
        return self.split(float(np.nextafter(last, 1)))

    def runs(self, longest: int, most: int) -> Iterator[np.ndarray]:
        """Rows of chunks in a row of one document, 6 to `longest` at a time, `most` of them at most.

        They are spread evenly over the data. The windows may be stored in any order: where they name
        document and position, each is put behind the one that it continues.
        """
        of, place = self.document[self.windows], self.position[self.windows]
        windows = self.windows[np.lexsort((place, of))]
        chains = np.split(windows, np.flatnonzero(~self._continued(windows)) + 1)
        targets = longest - CONTEXT
        pieces = [chain[i : i + targets] for chain in chains for i in range(0, len(chain), targets)]
        for number in np.unique(np.linspace(0, len(pieces) - 1, min(most, len(pieces))).astype(np.int64)):
            first = pieces[number][0]
            yield np.concatenate((np.arange(first - CONTEXT, first), pieces[number]))

    def shared(self, other: "Sequences") -> int:
        """How many of the windows are among those of `other`, vector for vector.

        Holds eight bytes a window. A window is its target with its context: one sentence alone may well
        stand in two documents.
        """
        return int(np.isin(self._fingerprints(), other._fingerprints()).sum())

    def sources(self) -> Iterator[tuple[Origin, int, int]]:
        """Each origin of the windows with its number of documents and of chunks, largest first."""
        used = np.unique(self.document[self.windows])
        sizes = np.bincount(self.document, minlength=len(self.ids))
        documents, chunks = Counter[Origin](), Counter[Origin]()
        for number in used:
            origin = self.origin(int(number))
            documents[origin] += 1
            chunks[origin] += int(sizes[number])
        for origin, count in chunks.most_common():
            yield origin, documents[origin], count

    def origin(self, number: int) -> Origin:
        """The origin of a document; files of one repository at one commit are one origin."""
        source, licence = self.origins[number]
        return Origin(_FILE_IN_REPOSITORY.sub(r"\1", source), licence)

    def _continued(self, windows: np.ndarray) -> np.ndarray:
        """Of windows by row [W], whether each but the last [W - 1] is continued by the one behind it."""
        one = np.diff(self.document[windows]) == 0
        found = one & (np.diff(windows) == 1)
        # Positions that do not count chunks are told by the vectors: contexts that do not overlap.
        stored_apart = np.flatnonzero(one & ~found & (np.diff(self.position[windows]) == 1))
        for start in range(0, len(stored_apart), _BLOCK):
            pair = stored_apart[start : start + _BLOCK]
            found[pair] = (self.vectors[windows[pair]] == self.vectors[windows[pair + 1] - 1]).all(1)
        return found

    def _fingerprints(self) -> np.ndarray:
        """A hash [W] uint64 of the vectors of each window."""
        found = np.empty(len(self), dtype=np.uint64)
        for start in range(0, len(self), _BLOCK):
            rows = self.windows[start : start + _BLOCK, None] + np.arange(-CONTEXT, 1)
            vectors = self.vectors[rows].astype(np.float16, copy=False)
            digests = (hashlib.blake2b(window.tobytes(), digest_size=8).digest() for window in vectors)
            found[start : start + _BLOCK] = np.frombuffer(b"".join(digests), np.uint64)
        return found

    def _shares(self) -> np.ndarray:
        """A number in [0, 1) for each document."""
        if not self.documented:
            raise SequencesError(
                "the windows do not name their documents (doc_ids), so they cannot be split without leaks; "
                "give validation data of its own"
            )
        return np.array([share_of(name, "validation") for name in self.ids])


def _windows(document: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows whose CONTEXT predecessors are the chunks right before them in the same document."""
    target = np.arange(CONTEXT, len(document))
    first = target - CONTEXT
    whole = (document[first] == document[target]) & (position[target] - position[first] == CONTEXT)
    return target[whole]
