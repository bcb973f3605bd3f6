"""Greedy texts of many rows at once: rows join and leave between passes, drafts are verified on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor

from services.decoder.draft import Drafts
from services.decoder.inversion import EOS, PAD, Inversion
from services.decoder.slots import Slots

Key = TypeVar("Key")

FREE_TOKENS = 6
"""Tokens by which a decoder pass may grow before it has cost twice what a pass over one token costs. Measured
on CPUs, at the size of `mini` and of T5-base: 4 to 10, by the layers."""


@dataclass
class Passes:
    """What verification saved: tokens written, and rows that decoder passes ran over."""

    tokens: int = 0
    rows: int = 0


@dataclass(eq=False)
class _Row(Generic[Key]):
    key: Key
    drafts: Drafts
    ids: list[int] = field(default_factory=lambda: [PAD])


class Generation(Generic[Key]):
    """Writes texts with one model, `slots` at a time, of at most `limit` tokens with the start token."""

    def __init__(self, model: Inversion, slots: int, limit: int, memory: int):
        """`memory` is the most positions that an encoder input may have."""
        self.passes = Passes()
        self._writer = model.writer
        self._limit = limit
        self._slots = Slots(model.writer.shape, slots, limit, memory)
        self._rows: list[_Row[Key]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def join(
        self, keys: Sequence[Key], states: Tensor, mask: Tensor | None, drafts: Sequence[Drafts]
    ) -> None:
        """Starts a text for each of B keys from encoder states [B, S, width] and mask [B, S]."""
        self._slots.join(self._writer.remember(states), mask)
        self._rows += [_Row(key, draft) for key, draft in zip(keys, drafts, strict=True)]

    def leave(self, key: Key) -> None:
        """Drops the text of a key, if it is being written."""
        for slot, row in enumerate(self._rows):
            if row.key == key:
                self._drop(slot)
                return

    def advance(self) -> list[tuple[Key, list[int]]]:
        """Runs one decoder pass and returns the texts that ended in it, as raw ids with the start token."""
        if not self._rows:
            return []
        most = self._worth_guessing()
        guesses = [row.drafts.guesses(min(most, self._room(row))) for row in self._rows]
        fed = 1 + max(map(len, guesses))
        tokens = [
            [row.ids[-1], *guessed, *[PAD] * (fed - 1 - len(guessed))]
            for row, guessed in zip(self._rows, guesses, strict=True)
        ]
        self._slots.begin([len(row.ids) - 1 for row in self._rows], fed)
        written = self._writer.likeliest(tokens, self._slots)
        for row, guessed, likeliest in zip(self._rows, guesses, written, strict=True):
            self._accept(row, guessed, likeliest)
        ended = [slot for slot, row in enumerate(self._rows) if self._has_ended(row)]
        texts = [(self._rows[slot].key, self._rows[slot].ids) for slot in ended]
        for slot in reversed(ended):
            self._drop(slot)
        return texts

    def _worth_guessing(self) -> int:
        """Tokens to guess for each row, as a right guess saves the row's share of a pass and every one costs.

        All rows are fed as many tokens, hence the mean of what is good for each.
        """
        rows = len(self._rows)
        chance = rows / (rows + FREE_TOKENS)
        return sum(row.drafts.likely(chance, self._room(row)) for row in self._rows) // rows

    def _room(self, row: _Row[Key]) -> int:
        """Guesses after which the text would be as long as it may get."""
        return self._limit - 1 - len(row.ids)

    def _accept(self, row: _Row[Key], guessed: list[int], likeliest: list[int]) -> None:
        """Takes the token after the last one, and each one after a guess that was right."""
        self.passes.rows += 1
        for token, guess in zip(likeliest, [*guessed, None], strict=False):
            row.ids.append(token)
            row.drafts.observe(token)
            self.passes.tokens += 1
            if token != guess or self._has_ended(row):
                return

    def _has_ended(self, row: _Row[Key]) -> bool:
        return row.ids[-1] == EOS or len(row.ids) >= self._limit

    def _drop(self, slot: int) -> None:
        self._slots.leave(slot)
        last = self._rows.pop()
        if slot < len(self._rows):
            self._rows[slot] = last
