"""Vectors of texts that were encoded before."""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
"""Changes when entries of before cannot be read any more."""

_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class Encoded:
    """Vector [D] of a text, and how many tokens the text has, special tokens included."""

    vector: NDArray[np.float32]
    tokens: int


class EncodedCodec:
    """The token count, then the vector's bytes."""

    def encode(self, value: Encoded) -> bytes:
        return _COUNT.pack(value.tokens) + value.vector.astype("<f4").tobytes()

    def decode(self, data: bytes) -> Encoded:
        """Raises ValueError for bytes that `encode` did not make."""
        if len(data) <= _COUNT.size or (len(data) - _COUNT.size) % 4:
            raise ValueError(f"an encoded text has no {len(data)} bytes")
        vector = np.frombuffer(data, dtype="<f4", offset=_COUNT.size)
        return Encoded(vector.astype(np.float32, copy=False), _COUNT.unpack_from(data)[0])


def key_of(space: str, text: str) -> str:
    """Name of the entry of a text; the space stands for weights, tokenizer and pooling."""
    return f"nextvec:encode:{FORMAT}:{space}:{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
