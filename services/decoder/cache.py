"""What the decoder keeps: where each vector stood after each rung, never whether its text passed the checks.

The checks depend on the source, so they run again on every hit.
"""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from services.decoder.walk import Hypothesis, Standing

FORMAT = 1
"""Changes when entries of before cannot be read any more."""

POLICY = "greedy"
"""How texts are chosen; the sequence of hypotheses of a vector depends on nothing else but the weights."""

STEPS_PER_OCTAVE = 64
"""Quantisation of a vector: steps of its root mean square, that being rounded down to a power of two.

Vectors within a cell have a cosine above 0.9999 to each other, far nearer than two texts ever are; the
differences that batching makes in an encoder are ten thousand times smaller than a cell, so that the same
text nearly always finds its entry.
"""


class Keys:
    """Names of entries, all of one family and one decoder."""

    def __init__(self, space: str, digest: str) -> None:
        self._prefix = f"nextvec:decode:{FORMAT}:{space}:{digest}:{POLICY}:"

    def of(self, vector: NDArray[np.float32]) -> str:
        """Name of a vector [D], in braces: a Redis cluster keeps its rungs together, to be read at once."""
        name = hashlib.blake2b(quantised(vector), digest_size=16).hexdigest()
        return f"{self._prefix}{{{name}}}"

    @staticmethod
    def at(key: str, rung: int) -> str:
        """Name of a vector's entry for a rung."""
        return f"{key}:{rung}"


def quantised(vector: NDArray[np.float32]) -> bytes:
    """A vector [D] as the bytes of its cell."""
    scale = np.sqrt(np.dot(vector, vector) / len(vector))
    octave = np.floor(np.log2(scale))
    cells = np.rint(vector * (STEPS_PER_OCTAVE / 2.0**octave))
    return int(octave).to_bytes(2, "little", signed=True) + cells.astype("<i4").tobytes()


class StandingCodec:
    """Standings as JSON, without the hypotheses' vectors."""

    def encode(self, value: Standing) -> bytes:
        record = {"best": _record(value.best), "last": _record(value.last), "closed": value.closed}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()

    def decode(self, data: bytes) -> Standing:
        """Raises ValueError for bytes that `encode` did not make."""
        try:
            record = json.loads(data)
            return Standing(_hypothesis(record["best"]), _hypothesis(record["last"]), bool(record["closed"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a standing: {error!r}") from error


def _record(hypothesis: Hypothesis) -> list[object]:
    return [hypothesis.step, list(hypothesis.ids), hypothesis.text, hypothesis.cosine]


def _hypothesis(record: list[object]) -> Hypothesis:
    step, ids, text, cosine = record
    if not (
        isinstance(step, int)
        and isinstance(ids, list)
        and isinstance(text, str)
        and isinstance(cosine, float)
    ):
        raise ValueError("not a hypothesis")
    return Hypothesis(step, tuple(ids), text, cosine)
