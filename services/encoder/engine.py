"""Runs a family's embedder over batches of texts of like lengths."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from services.families.embedder import Embedder

Tokens = list[list[int]]
"""Token ids of the texts of one request, special tokens included."""

ROWS = 64
"""Texts of one pass of the network: more need more memory and are no faster."""


class EncoderEngine:
    """Encodes the texts of several requests together."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def token_ids(self, texts: Sequence[str]) -> Tokens:
        """Token ids of texts with the encoder's special tokens, uncut."""
        return self._embedder.token_ids(texts)

    @torch.inference_mode()
    def encode(self, requests: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """Vectors [N, dimensions] for each request of N texts.

        Texts of like lengths go into a pass together, whichever request they are of, so that little of it
        is padding.
        """
        rows = [tokens for request in requests for tokens in request]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        vectors: NDArray[np.float32] = np.empty((len(rows), len(self._embedder.mean)), dtype=np.float32)
        for start in range(0, len(rows), ROWS):
            together = order[start : start + ROWS]
            vectors[together] = self._embedder.embed([rows[i] for i in together]).cpu().numpy()
        ends = np.cumsum([len(request) for request in requests])
        return np.split(vectors, ends[:-1])
