"""Walks vectors through hypotheses: writes, embeds what was written, compares, corrects.

All calls come from one thread; nothing here knows requests, checks or caches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from nextvec.family import Family
from services.decoder.backends import BACKENDS, Backend, Task
from services.decoder.generation import Passes
from services.decoder.walk import Hypothesis, Walk
from services.families.embedder import Embedder


@dataclass(eq=False)
class _Work:
    walk: Walk
    until: int


class Engine:
    """Runs many walks at once on one backend."""

    def __init__(self, backend: Backend, embedder: Embedder, slots: int):
        self.slots = slots
        self._backend = backend
        self._embedder = embedder
        # Hypotheses over the limit are cut before they are embedded, as the corrector saw them in training.
        self._cutting = Tokenizer.from_str(embedder.tokenizer.to_str())
        self._cutting.enable_truncation(backend.limit)
        self._work: dict[Task, _Work] = {}

    @classmethod
    def load(cls, family: Family, backend: str = "native", slots: int = 32) -> "Engine":
        """Loads a family's parts. Raises FamilyError or WeightsError where they are not usable."""
        # Hypotheses are embedded exactly by all backends: with `mini`'s encoder in 8 bits, texts after five
        # corrections have a cosine of 0.89 to the exact ones instead of 0.993.
        return cls(BACKENDS.load(backend).load(family, slots), Embedder.load(family).made_fast(), slots)

    @property
    def digest(self) -> str:
        """Changes with anything that may change a text."""
        return self._backend.digest

    @property
    def passes(self) -> Passes:
        """What decoder passes of corrections have written since the start."""
        return self._backend.passes

    @property
    def free(self) -> int:
        """Walks that may be started now."""
        return self.slots - len(self._work)

    @property
    def busy(self) -> bool:
        """Whether any walk is under way."""
        return bool(self._work)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts → vectors [N, D], texts over the token limit being cut."""
        encodings = self._cutting.encode_batch_fast(list(texts))
        return self._embedder.embed([encoding.ids for encoding in encodings])

    def start(self, walks: Sequence[tuple[Walk, int]]) -> None:
        """Takes on walks, each until so many corrections are done; at most `free` of them."""
        bare = [walk.last for walk, _ in walks if walk.hypotheses and walk.last.vector is None]
        vectors = iter(self.embed([hypothesis.text for hypothesis in bare]) if bare else ())
        tasks = {}
        for walk, until in walks:
            task = Task(walk.target)
            if walk.hypotheses:
                vector = walk.last.vector
                task = _correction(walk, next(vectors) if vector is None else vector)
            tasks[task] = _Work(walk, until)
        self._begin(tasks)

    def stop(self, walk: Walk) -> None:
        """Abandons a walk where it stands."""
        for task, work in list(self._work.items()):
            if work.walk is walk:
                del self._work[task]
                self._backend.stop(task)

    def clear(self) -> None:
        """Abandons all walks."""
        for task in self._work:
            self._backend.stop(task)
        self._work.clear()

    def advance(self) -> list[tuple[Walk, Hypothesis, bool]]:
        """Does the least unit of work.

        Returns the hypotheses that it brought, each with whether the walk has got where it should.
        """
        written = self._backend.advance()
        if not written:
            return []
        works = [self._work.pop(task) for task, _ in written]
        texts = [self._backend.tokenizer.decode(ids) for _, ids in written]
        vectors = self.embed(texts)
        targets = torch.stack([work.walk.target for work in works])
        cosines = torch.cosine_similarity(vectors, targets).tolist()
        news, further = [], {}
        for work, (_, ids), text, vector, cosine in zip(works, written, texts, vectors, cosines, strict=True):
            walk = work.walk
            hypothesis = Hypothesis(walk.steps + 1, tuple(ids), text, cosine, vector)
            walk.add(hypothesis)
            ended = walk.reaches(work.until)
            news.append((walk, hypothesis, ended))
            if not ended:
                further[_correction(walk, vector)] = work
        self._begin(further)
        return news

    def run(self, vectors: Tensor, steps: int) -> list[Walk]:
        """Walks vectors [N, D] to their end in one go, `slots` at a time; for files and measurements."""
        walks = [Walk(vector) for vector in vectors]
        waiting = list(walks)
        while waiting or self.busy:
            joining, waiting = waiting[: self.free], waiting[self.free :]
            self.start([(walk, steps) for walk in joining])
            self.advance()
        return walks

    def _begin(self, tasks: dict[Task, _Work]) -> None:
        if tasks:
            self._work |= tasks
            self._backend.start(list(tasks))


def _correction(walk: Walk, vector: Tensor) -> Task:
    """The next correction of a walk whose last text has the vector [D]."""
    earlier = tuple(hypothesis.ids for hypothesis in reversed(walk.hypotheses[:-1]))
    return Task(walk.target, walk.last.ids, vector, earlier)
