"""The caller's text cut into chunks of at most the family's token limit."""

import asyncio
from dataclasses import dataclass

from gateway.limits import MAX_OWN_CHUNKS, Work
from nextvec.chunking import TokenCounter, chunk
from nextvec.errors import InvalidInput

_QUICK = 4096
"""Characters that are cut within a few milliseconds; more of them leave the event loop."""


@dataclass(frozen=True)
class Cutter:
    """Cuts with a family's tokenizers; `limit` is in tokens as `count` counts them."""

    count: TokenCounter
    limit: int

    async def own_chunks(self, work: Work) -> list[str]:
        """The caller's own chunks, in order, at least one. Raises InvalidInput where they are too many."""
        if sum(map(len, work.messages)) + len(work.paragraph) <= _QUICK:
            return self._cut(work)
        return await asyncio.to_thread(self._cut, work)

    def pieces(self, text: str) -> list[str]:
        """One text as chunks: itself where it is within the limit, else its sentences and their pieces."""
        whole = " ".join(text.split())
        return [whole] if self.count([whole])[0] <= self.limit else chunk(text, self.count, self.limit)

    def _cut(self, work: Work) -> list[str]:
        field = "paragraph" if work.paragraph else "messages"
        texts = work.messages or [work.paragraph]
        # Cutting costs several passes over the text; what cannot fit anyway is not worth them. Of most texts
        # it shows already that they can, for hardly a token is shorter than a character.
        if sum(map(len, texts)) > MAX_OWN_CHUNKS * self.limit:
            least = sum(self.count(texts)) // self.limit
            if least > MAX_OWN_CHUNKS:
                raise _too_many(field, f"at least {least}")
        if work.paragraph:
            chunks = chunk(work.paragraph, self.count, self.limit)
        else:
            chunks = [piece for message in work.messages for piece in self.pieces(message)]
        if len(chunks) > MAX_OWN_CHUNKS:
            raise _too_many(field, str(len(chunks)))
        return chunks


def _too_many(field: str, chunks: str) -> InvalidInput:
    return InvalidInput(
        f"{field} makes {chunks} chunks; must make at most {MAX_OWN_CHUNKS}: send the end of the text, only "
        "the last five chunks are used"
    )
