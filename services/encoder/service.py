"""EncoderService: texts in, vectors out, by way of the cache and the batch queue."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import grpc
import numpy as np
from numpy.typing import NDArray

from nextvec.batching import BatchQueue
from nextvec.cache import Cache
from nextvec.characters import CONTROL
from nextvec.deadline import Deadline
from nextvec.errors import InvalidInput
from nextvec.family import Family
from nextvec.request import current
from nextvec.stream import serve_items
from nextvec.v1.encoder_pb2 import EncodeRequest, EncodeResponse, EncodeResult
from nextvec.v1.encoder_pb2_grpc import EncoderServiceServicer
from nextvec.v1.vectors_pb2 import Timing
from nextvec.vectors import Array, to_block
from services.encoder.cache import Encoded, key_of
from services.encoder.engine import EncoderEngine, Tokens

MAX_TEXTS = 1024
"""Texts of one item; more of them go into more items, which then share the queue fairly with others."""

MAX_CHARACTERS_PER_TOKEN = 64
"""A text of more characters than this times the token limit is refused before it is tokenized."""


class EncoderService(EncoderServiceServicer):
    """Serves one family's encoder."""

    def __init__(
        self,
        engine: EncoderEngine,
        queue: BatchQueue[Tokens, NDArray[np.float32]],
        cache: Cache[Encoded],
        family: Family,
        model_id: str,
    ) -> None:
        """`queue` runs the engine's `encode`."""
        self._engine = engine
        self._queue = queue
        self._cache = cache
        self._limit = family.token_limit
        self._space = family.space
        self._model_id = model_id

    async def Encode(
        self, request_iterator: AsyncIterator[EncodeRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[EncodeResponse]:
        handle = partial(self._encode, deadline=Deadline.of(context))
        async for response in serve_items(request_iterator, handle, EncodeResponse):
            yield response

    async def _encode(self, request: EncodeRequest, deadline: Deadline | None) -> EncodeResponse:
        texts = list(request.texts)
        self._check(texts)
        keys = [key_of(self._space, text) for text in texts]
        known = await self._known(keys)
        missing = [index for index, encoded in enumerate(known) if encoded is None]
        current().notes.update(model=self._model_id, texts=len(texts), cache_hits=len(texts) - len(missing))
        timing = Timing()
        if missing:
            self._queue.require_room(min(len(missing), self._queue.max_batch), deadline)
            tokens = await self._tokens(texts, missing)
            vectors, timing = await self._compute(tokens, deadline)
            encoded: dict[str, Encoded] = {}
            for index, ids, vector in zip(missing, tokens, vectors, strict=True):
                # A copy, so that an entry does not keep the vectors of its whole batch.
                known[index] = encoded[keys[index]] = Encoded(vector.copy(), len(ids))
            self._cache.put(encoded)
        results = [found for found in known if found is not None]
        return EncodeResponse(
            result=EncodeResult(
                vectors=to_block(np.stack([result.vector for result in results]), self._space),
                token_counts=[result.tokens for result in results],
                timing=timing,
                model_id=self._model_id,
            )
        )

    async def _compute(self, tokens: Tokens, deadline: Deadline | None) -> tuple[list[Array], Timing]:
        """Vectors of N texts, a batch's worth at a time, so that short items come in between."""
        vectors: list[Array] = [np.empty(0, np.float32)] * len(tokens)
        timing = Timing()
        # Texts of like lengths go together, as in the engine.
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        for start in range(0, len(order), self._queue.max_batch):
            part = order[start : start + self._queue.max_batch]
            done = await self._queue.submit(
                [tokens[index] for index in part], size=len(part), deadline=deadline
            )
            timing.queue_ms += done.queue_ms
            timing.compute_ms += done.compute_ms
            for index, vector in zip(part, done.value, strict=True):
                vectors[index] = vector
        return vectors, timing

    def _check(self, texts: Sequence[str]) -> None:
        if not 0 < len(texts) <= MAX_TEXTS:
            raise InvalidInput(f"texts has {len(texts)} entries; must have 1 to {MAX_TEXTS}")
        longest = MAX_CHARACTERS_PER_TOKEN * self._limit
        for index, text in enumerate(texts):
            if not text.strip():
                raise InvalidInput(f"texts[{index}] is empty; must have at least one word")
            if len(text) > longest:
                raise InvalidInput(
                    f"texts[{index}] has {len(text)} characters, which cannot be within the limit of "
                    f"{self._limit} tokens; cut it into chunks first"
                )
            if control := CONTROL.search(text):
                raise InvalidInput(
                    f"texts[{index}] has the control character U+{ord(control[0]):04X} at "
                    f"{control.start()}; of these only tab, line feed and carriage return are allowed"
                )

    async def _known(self, keys: Sequence[str]) -> list[Encoded | None]:
        known = [self._cache.peek(key) for key in keys]
        missing = [index for index, encoded in enumerate(known) if encoded is None]
        if missing:
            found = await self._cache.fetch([keys[index] for index in missing])
            for index, encoded in zip(missing, found, strict=True):
                known[index] = encoded
        return known

    async def _tokens(self, texts: Sequence[str], missing: Sequence[int]) -> Tokens:
        tokens = await asyncio.to_thread(self._engine.token_ids, [texts[index] for index in missing])
        for index, ids in zip(missing, tokens, strict=True):
            if len(ids) > self._limit:
                raise InvalidInput(
                    f"texts[{index}] has {len(ids)} tokens; must have at most {self._limit}, "
                    "the family's limit: cut it into chunks first"
                )
        return tokens
