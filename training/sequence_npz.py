"""Reads windows from .npz files: this project's own, and those of the system that it replaces.

Own files hold `context_vectors` [N, 5, D], `target_vectors` [N, D], `doc_ids` [N] and `positions` [N], and
have a card beside them. Older ones name the same arrays otherwise, keep document and position together in
`truth_keys` [N, 2] or leave them out, and may be compressed. Every vector is in up to six windows; reading
keeps it once, so that a file of windows takes no more memory than the vectors that it was made from.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from nextvec import weights
from nextvec.errors import InvalidInput
from services.lvm.checkpoint import CONTEXT

CONTEXTS, TARGETS, DOCUMENTS, POSITIONS = "context_vectors", "target_vectors", "doc_ids", "positions"
_NAMES = {
    CONTEXTS: (CONTEXTS, "context_sequences", "contexts", "sequences"),
    TARGETS: (TARGETS, "targets"),
    DOCUMENTS: (DOCUMENTS, "document_ids", "article_ids", "truth_keys"),
    POSITIONS: (POSITIONS, "truth_keys"),
}
_COLUMN = {DOCUMENTS: 0, POSITIONS: 1}  # of `truth_keys`
_BLOCK = 2048  # windows read at a time


class SequencesError(InvalidInput):
    """A corpus or file has no windows, is not encoded, or is not what its card says."""


class Origin(NamedTuple):
    """Where a document comes from."""

    source: str
    licence: str


@dataclass(frozen=True)
class Stored:
    """What a file of windows holds; the fields are those of `training.sequences.Sequences`."""

    vectors: np.ndarray
    document: np.ndarray
    position: np.ndarray
    ids: list[str]
    origins: list[Origin]
    windows: np.ndarray
    digest: str
    space: str
    documented: bool
    crossing: int


def card_of(path: Path) -> Path:
    """The place of a file's card."""
    return path.with_name(f"{path.name}.json")


def read(path: Path) -> Stored:
    """The windows of a file, without those whose context reaches into another document.

    A window that overlaps the one before it continues its run of rows; where the two name different
    documents, the rows keep their own, and the windows across the border show. Without a card the space
    is "" and sources are unknown. Raises SequencesError where the file does not exist or cannot be read,
    lacks contexts or targets, has other shapes or types, or vectors that are not finite or zero, and where
    the card belongs to another file.
    """
    if not path.is_file():
        raise SequencesError(f"{path} does not exist")
    digest = weights.sha256(path)
    card = _card(path, digest)
    try:
        with zipfile.ZipFile(path) as archive:
            rows = _Rows(list(_blocks(archive, path)))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise SequencesError(f"{path} cannot be read as .npz: {error}") from None
    numbers, document = np.unique(rows.owner, return_inverse=True)
    whole = (document[rows.windows[:, None] + np.arange(-CONTEXT, 1)] == document[rows.windows, None]).all(1)
    ids, origins = _documents(path, card, numbers)
    return Stored(
        vectors=rows.vectors,
        document=document.astype(np.int32),
        position=rows.position,
        ids=ids,
        origins=origins,
        windows=rows.windows[whole],
        digest=digest,
        space=str(card.get("space", "")),
        documented=rows.documented,
        crossing=int((~whole).sum()),
    )


class _Block(NamedTuple):
    """Some windows, in the order of the file: rows of vectors that the blocks before do not have."""

    vectors: np.ndarray  # [R, D] float16
    fresh: np.ndarray  # [B] bool: the window does not continue the one before
    owner: np.ndarray | None  # [B] document
    position: np.ndarray | None  # [B] of the target


class _Rows:
    """All rows of a file, from its blocks."""

    def __init__(self, blocks: list[_Block]):
        fresh = np.concatenate([block.fresh for block in blocks])
        added = np.where(fresh, CONTEXT + 1, 1)
        self.windows = np.cumsum(added) - 1
        self.documented = blocks[0].owner is not None
        owners = [block.owner for block in blocks if block.owner is not None]
        # Where the file names no documents, a run of overlapping windows is the most that is known of one.
        owner = np.concatenate(owners) if self.documented else np.cumsum(fresh)
        self.owner = np.repeat(owner, added)
        places = [block.position for block in blocks if block.position is not None]
        place = np.concatenate(places) if places else np.arange(len(fresh)) + CONTEXT
        back = np.repeat(self.windows, added) - np.arange(len(self.owner))
        self.position = np.repeat(place, added) - back
        self.vectors = np.concatenate([block.vectors for block in blocks])


class _Member:
    """One array of an archive, read from front to back."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        self.name = name
        self._file: IO[bytes] = archive.open(f"{name}.npy")
        version = npy.read_magic(self._file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        self.shape, fortran, self.dtype = read(self._file)
        if fortran and len(self.shape) > 1:
            raise ValueError(f"{name} is stored column by column; store it row by row")
        if self.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which only pickle reads; store numbers")

    def take(self, rows: int) -> np.ndarray:
        """The next rows."""
        shape = (rows, *self.shape[1:])
        size = int(np.prod(shape)) * self.dtype.itemsize
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError(f"{self.name} breaks off")
        return np.frombuffer(data, self.dtype).reshape(shape)


def _blocks(archive: zipfile.ZipFile, path: Path) -> Iterator[_Block]:
    held = [name.removesuffix(".npy") for name in archive.namelist()]
    contexts, targets = (_Member(archive, _find(held, name, path)) for name in (CONTEXTS, TARGETS))
    count = _require_shapes(contexts, targets, path)
    numbers = {}
    for name in (DOCUMENTS, POSITIONS):
        if found := next((known for known in _NAMES[name] if known in held), None):
            numbers[name] = _integers(_Member(archive, found), _COLUMN[name], count, path)
    before: tuple[np.ndarray, np.ndarray] | None = None
    for start in range(0, count, _BLOCK):
        rows = slice(start, min(start + _BLOCK, count))
        context, target = contexts.take(rows.stop - start), targets.take(rows.stop - start)
        vectors, fresh = _unfolded(context[:, -CONTEXT:], target, before)
        before = context[-1, -CONTEXT:], target[-1]
        # Zero has no direction, and what overflows float16 is no vector of an encoder.
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise SequencesError(
                f"{path} holds a vector that is zero or not finite among windows {start} to {rows.stop - 1}"
            )
        named = (numbers[name][rows] if name in numbers else None for name in (DOCUMENTS, POSITIONS))
        yield _Block(vectors, fresh, *named)


def _unfolded(
    context: np.ndarray, target: np.ndarray, before: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows [R, D] that windows [B, 5, D], [B, D] add to the one before, and which do not continue it."""
    fresh = np.ones(len(target), dtype=bool)
    same = (context[1:, :-1] == context[:-1, 1:]).all((1, 2)) & (context[1:, -1] == target[:-1]).all(1)
    fresh[1:] = ~same
    if before is not None:
        last, reached = before
        fresh[0] = not ((context[0, :-1] == last[1:]).all() and (context[0, -1] == reached).all())
    ends = np.cumsum(np.where(fresh, CONTEXT + 1, 1)) - 1
    vectors = np.empty((ends[-1] + 1, target.shape[1]), dtype=np.float16)
    with np.errstate(over="ignore"):
        vectors[ends] = target
        vectors[ends[fresh][:, None] + np.arange(-CONTEXT, 0)] = context[fresh]
    return vectors, fresh


def _find(held: list[str], name: str, path: Path) -> str:
    for known in _NAMES[name]:
        if known in held:
            return known
    raise SequencesError(
        f"{path} has no {name} (nor {', '.join(_NAMES[name][1:])}); it holds {', '.join(held)}"
    )


def _require_shapes(contexts: _Member, targets: _Member, path: Path) -> int:
    c, t = contexts.shape, targets.shape
    if contexts.dtype.kind != "f" or targets.dtype.kind != "f":
        raise SequencesError(
            f"{path} has {contexts.name} of {contexts.dtype} and {targets.name} of {targets.dtype}; "
            "both must be floating-point"
        )
    if len(c) != 3 or len(t) != 2 or c[0] != t[0] or c[2] != t[1] or c[1] < CONTEXT:
        raise SequencesError(
            f"{path} has {contexts.name} {list(c)} and {targets.name} {list(t)}; "
            f"[N, {CONTEXT}, D] and [N, D] are wanted, of one N and one D"
        )
    if not t[0]:
        raise SequencesError(f"{path} holds no window")
    return int(t[0])


def _integers(member: _Member, column: int, count: int, path: Path) -> np.ndarray:
    """An array [N] of integers, or a column of one [N, 2], as int64."""
    wanted = [(count,), (count, 2)] if member.name == "truth_keys" else [(count,)]
    if member.dtype.kind not in "iu" or member.shape not in wanted:
        raise SequencesError(
            f"{path} has {member.name} {list(member.shape)} of {member.dtype}; "
            f"{list(wanted[-1])} integers are wanted"
        )
    values = member.take(count).astype(np.int64)
    return values[:, column] if values.ndim == 2 else values


def _card(path: Path, digest: str) -> dict[str, Any]:
    place = card_of(path)
    if not place.is_file():
        return {}
    try:
        card = dict(json.loads(place.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise SequencesError(f"{place} is not a card of sequences; build the sequences again") from None
    if card.get("sha256") != digest:
        raise SequencesError(
            f"{place} is the card of another file: {path} has SHA-256 {digest}; build it again"
        )
    return card


def _documents(path: Path, card: dict[str, Any], numbers: np.ndarray) -> tuple[list[str], list[Origin]]:
    """Ids and origins of the documents with these numbers, as the card has them."""
    if not card:
        return [str(number) for number in numbers], [Origin("", "")] * len(numbers)
    try:
        sources = [Origin(source["source"], source["licence"]) for source in card["sources"]]
        ids, of = card["document_ids"], card["document_sources"]
        return [str(ids[n]) for n in numbers], [sources[of[n]] for n in numbers]
    except (KeyError, IndexError, TypeError):
        raise SequencesError(
            f"{card_of(path)} does not name all documents of {path.name}; build it again"
        ) from None
