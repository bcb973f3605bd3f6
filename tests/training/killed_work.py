"""Builds and encodes a toy corpus, and on request kills its own process on the way.

Run as a program with a folder, it dies once at every point of POINTS, each time in a folder of that name.
"""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from nextvec.family import Family
from training import corpus
from training.documents import Document
from training.intake import Counts

_NOUNS = [
    "kettle",
    "orchard",
    "ferry",
    "lantern",
    "quarry",
    "violin",
    "saddle",
    "chimney",
    "harbour",
    "canoe",
]
_VERBS = [
    "carries",
    "mends",
    "follows",
    "hides",
    "sells",
    "paints",
    "measures",
    "borrows",
    "forgets",
    "lifts",
]
_ENDS = ["before noon", "by the river", "without a word", "every winter", "at the fair", "behind the mill"]


SPACE_OF_MINI = Family.open("mini").space


class ToyEmbedder:
    """Vectors [N, 8] that depend on nothing but the text."""

    mean = torch.zeros(8)

    def token_ids(self, texts):
        """Characters as ids."""
        return [[ord(c) for c in text] for text in texts]

    def embed(self, ids):
        """Sums over fixed random vectors of the characters."""
        table = torch.from_numpy(np.random.default_rng(5).standard_normal((512, 8)).astype(np.float32))
        return torch.stack([table[torch.tensor(row) % 512].sum(0) for row in ids])


def documents(count: int = 22) -> Iterator[Document]:
    """Distinct documents, and between them a duplicate, an empty one, and sentences not worth keeping."""
    for number in range(count):
        dice = random.Random(number if number != 7 else 3)
        lines = [
            f"The {dice.choice(_NOUNS)} {dice.choice(_VERBS)} the {dice.choice(_NOUNS)} {dice.choice(_ENDS)}."
            for _ in range(12)
        ]
        if number % 5 == 2:
            lines.insert(4, "The manual is at https://example.org/manual for all who ask.")
        text = "" if number == 10 else " ".join(lines)
        yield Document(f"d{number}", text, source=f"source {number % 2}", licence="CC0-1.0")


def build(folder: Path, stream: Iterator[Document] | None = None) -> list[Counts]:
    """Builds with four documents to a part."""
    corpus.DOCUMENTS_PER_PART = 4
    return list(corpus.build(stream or documents(), Family.open("mini"), folder))


def encode(folder: Path) -> list[int]:
    """Encodes with the toy embedder."""
    return list(corpus.encode(folder, ToyEmbedder(), batch=8, space=SPACE_OF_MINI))


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_half_way(write: Callable[[object, object], None], call: int) -> Callable[..., None]:
    """A writer that at its n-th call leaves half a file behind and dies."""
    calls = iter(range(1, call + 1))

    def dying(first, second):
        if next(calls) < call:
            write(first, second)
            return
        target = first if hasattr(first, "write") else Path(second).open("wb")  # noqa: SIM115
        target.write(b"half")
        target.flush()
        _die()

    return dying


def _while_reading(folder: Path) -> None:
    def stream():
        for document in documents():
            if document.id == "d13":
                _die()
            yield document

    build(folder, stream())


def _before_a_part(folder: Path) -> None:
    write = corpus.pq.write_table
    corpus.pq.write_table = lambda table, path: _die() if "00002" in str(path) else write(table, path)
    build(folder)


def _in_a_part(folder: Path) -> None:
    corpus.pq.write_table = _die_half_way(corpus.pq.write_table, call=3)
    build(folder)


def _before_the_card(folder: Path) -> None:
    corpus._card = _die
    build(folder)


def _in_the_vectors(folder: Path) -> None:
    build(folder)
    corpus.np.save = _die_half_way(np.save, call=3)
    encode(folder)


def _before_the_digests(folder: Path) -> None:
    build(folder)
    corpus.describe_vectors = _die
    encode(folder)


POINTS = {
    "reading": _while_reading,
    "before a part": _before_a_part,
    "in a part": _in_a_part,
    "before the card": _before_the_card,
    "in the vectors": _in_the_vectors,
    "before the digests": _before_the_digests,
}


def main(folder: Path) -> int:
    """Dies at every point in a process of its own; returns how many of them survived."""
    survived = 0
    for name, work in POINTS.items():
        child = os.fork()
        if not child:
            work(folder / name)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        survived += not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
    return survived


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(Path(sys.argv[1])))
