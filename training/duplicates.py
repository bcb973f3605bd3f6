"""Documents seen before: the same words, or nearly all of the same phrases."""

import hashlib
import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from datasketch import MinHash, MinHashLSH

DUPLICATE, NEAR_DUPLICATE = "duplicate", "near duplicate"

_WORD = re.compile(r"\w+")
_PHRASE = 5  # words, as in the deduplication of GPT-3's and FineWeb's training data
_THRESHOLD = 0.8  # Jaccard similarity of the sets of phrases
_PERMUTATIONS = 128  # the estimate's standard error at the threshold is 0.035


class SeenDocuments:
    """Remembers documents by a hash of their words and by a MinHash of their phrases.

    What is found depends on nothing but the documents added and their order. Takes about 1 kB for a
    document.
    """

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._signatures: list[np.ndarray] = []  # [128] uint32 each
        self._index = MinHashLSH(threshold=_THRESHOLD, num_perm=_PERMUTATIONS)

    def add(self, texts: Sequence[str]) -> str | None:
        """Remembers a document given by its texts, unless it is seen already: then says how.

        Case, punctuation and spacing do not count.
        """
        words = [word.lower() for text in texts for word in _WORD.findall(text)]
        exact = hashlib.sha256(" ".join(words).encode()).digest()
        if exact in self._exact:
            return DUPLICATE
        signature = self._signature(words)
        alike = (self._signatures[key] for key in self._index.query(signature))
        if any(float(np.mean(other == signature.hashvalues)) >= _THRESHOLD for other in alike):
            return NEAR_DUPLICATE
        self._exact.add(exact)
        self._index.insert(len(self._signatures), signature)
        self._signatures.append(signature.hashvalues)
        return None

    @staticmethod
    def _signature(words: list[str]) -> MinHash:
        signature = MinHash(num_perm=_PERMUTATIONS, hashfunc=crc32)
        starts = range(max(1, len(words) - _PHRASE + 1))
        signature.update_batch(sorted({" ".join(words[i : i + _PHRASE]).encode() for i in starts}))
        return signature
