"""Greedy texts of many rows at once: rows join and leave between passes, drafts are verified on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from services.decoder.draft import Drafts
from services.decoder.inversion import EOS, PAD, Inversion

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


class SlotCache:
    """Keys and values of the rows being written, in buffers that are allocated once.

    Row i of every buffer is slot i; the rows in use are the first `rows`. Text buffers are twice as long as
    a text may get, so that the tokens that fill up a pass after the last guess never leave them.
    """

    def __init__(self, model: Inversion, slots: int, limit: int, memory: int):
        shape = model.decoder.shape
        head = shape.inner // shape.heads
        self.rows = 0
        self._text = torch.zeros(shape.layers, 2, slots, shape.heads, 2 * limit, head)
        self._memory = torch.zeros(shape.layers, 2, slots, shape.heads, memory, head)
        self._memory_bias = torch.zeros(slots, 1, 1, memory)
        self._memory_lengths = [0] * slots
        self._masked = [False] * slots
        self._starts = [0]
        self._fed = 0
        self._index: tuple[Tensor, Tensor] | None = None

    def join(self, remembered: list[tuple[Tensor, Tensor]], mask: Tensor | None) -> None:
        """Adds rows that read `remembered`, keys and values [B, heads, S, d] of every layer, under a mask."""
        count, _, length, _ = remembered[0][0].shape
        new = slice(self.rows, self.rows + count)
        for layer, (keys, values) in enumerate(remembered):
            self._memory[layer, 0, new, :, :length] = keys
            self._memory[layer, 1, new, :, :length] = values
        barred = torch.finfo(torch.float32).min
        self._memory_bias[new] = barred
        self._memory_bias[new, 0, 0, :length] = 0.0 if mask is None else (mask == 0) * barred
        self._memory_lengths[new] = [length] * count
        self._masked[new] = [mask is not None] * count
        self.rows += count

    def leave(self, slot: int) -> None:
        """Frees a slot; the last row in use moves there."""
        self.rows -= 1
        last = self.rows
        if slot != last:
            for buffer in (self._text, self._memory):
                buffer[:, :, slot] = buffer[:, :, last]
            self._memory_bias[slot] = self._memory_bias[last]
            self._memory_lengths[slot] = self._memory_lengths[last]
            self._masked[slot] = self._masked[last]

    def begin(self, starts: Sequence[int], fed: int) -> None:
        """Says where the next pass feeds: `fed` tokens of each row, from position starts[row] on."""
        self._starts, self._fed = list(starts), fed
        self._length = max(starts) + fed
        self._longest = max(self._memory_lengths[: self.rows])
        self._index = None
        if min(starts) != max(starts):
            rows = torch.arange(self.rows)[:, None]
            self._index = rows, torch.tensor(self._starts)[:, None] + torch.arange(fed)

    def text_bias(self, table: Tensor) -> Tensor:
        """Rows of a position bias [heads, T, T] for the tokens of the pass: [1 or n, heads, fed, length]."""
        if self._index is None:
            start = self._starts[0]
            return table[None, :, start : start + self._fed, : self._length]
        return table[:, self._index[1], : self._length].transpose(0, 1)

    @property
    def memory_bias(self) -> Tensor | None:
        """[n, 1, 1, S] of the pass, or None where no row masks anything and all are of one length."""
        lengths = self._memory_lengths[: self.rows]
        if not any(self._masked[: self.rows]) and min(lengths) == self._longest:
            return None
        return self._memory_bias[: self.rows, :, :, : self._longest]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        for buffer, new in zip(self._text[layer], (keys, values), strict=True):
            if self._index is None:
                start = self._starts[0]
                buffer[: self.rows, :, start : start + self._fed] = new
            else:
                rows, positions = self._index
                buffer[rows, :, positions] = new.transpose(1, 2)
        keys, values = self._text[layer, :, : self.rows, :, : self._length]
        return keys, values

    def memory(self, layer: int) -> tuple[Tensor, Tensor]:
        keys, values = self._memory[layer, :, : self.rows, :, : self._longest]
        return keys, values


class Generation(Generic[Key]):
    """Writes texts with one model, `slots` at a time, of at most `limit` tokens with the start token."""

    def __init__(self, model: Inversion, slots: int, limit: int, memory: int):
        """`memory` is the most positions that an encoder input may have."""
        self.passes = Passes()
        self._model = model
        self._limit = limit
        self._cache = SlotCache(model, slots, limit, memory)
        self._bias = model.decoder.position_bias(2 * limit)
        self._rows: list[_Row[Key]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def join(
        self, keys: Sequence[Key], states: Tensor, mask: Tensor | None, drafts: Sequence[Drafts]
    ) -> None:
        """Starts a text for each of B keys from encoder states [B, S, width] and mask [B, S]."""
        self._cache.join(self._model.decoder.remember(states), mask)
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
        tokens = torch.tensor(
            [
                [row.ids[-1], *guessed, *[PAD] * (fed - 1 - len(guessed))]
                for row, guessed in zip(self._rows, guesses, strict=True)
            ]
        )
        self._cache.begin([len(row.ids) - 1 for row in self._rows], fed)
        states = self._model.decoder(
            self._model.encoder.words(tokens),
            self._cache.text_bias(self._bias),
            self._cache.memory_bias,
            self._cache,
        )
        written = self._model.next_tokens(states)
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
        self._cache.leave(slot)
        last = self._rows.pop()
        if slot < len(self._rows):
            self._rows[slot] = last
