"""Keys and values of the texts that are being written."""

from collections.abc import Sequence

import torch
from torch import Tensor

from services.families.t5 import T5Shape


def longest(limit: int) -> int:
    """Positions that a slot has for a text of at most `limit` tokens.

    Twice as many, so that the tokens that fill up a pass after the last guess never leave them.
    """
    return 2 * limit


class Slots:
    """Keys and values of the rows being written, in buffers that are allocated once.

    Row i of every buffer is slot i; the rows in use are the first `rows`. Keys and values are
    [layers, slots, heads, T, d], T as long as a text or what it reads may get.
    """

    def __init__(self, shape: T5Shape, slots: int, limit: int, memory: int):
        """For texts of `limit` tokens with the start token, that read at most `memory` positions."""
        head = shape.inner // shape.heads
        self.rows = 0
        self.longest = longest(limit)

        def keys(length: int) -> Tensor:
            """The last two axes lie in memory the other way round, as the compiled kernel reads them."""
            return torch.zeros(shape.layers, slots, shape.heads, head, length).transpose(-1, -2)

        def values(length: int) -> Tensor:
            return torch.zeros(shape.layers, slots, shape.heads, length, head)

        self.text_keys, self.text_values = keys(self.longest), values(self.longest)
        self.memory_keys, self.memory_values = keys(memory), values(memory)
        self.bias_of_memory = torch.zeros(slots, 1, 1, memory)
        self.memory_lengths = [0] * slots
        self.starts = [0]
        self._masked = [False] * slots
        self._fed = 0
        self._index: tuple[Tensor, Tensor] | None = None

    def join(self, remembered: list[tuple[Tensor, Tensor]], mask: Tensor | None) -> None:
        """Adds rows that read `remembered`, keys and values [B, heads, S, d] of every layer, under a mask."""
        count, _, length, _ = remembered[0][0].shape
        new = slice(self.rows, self.rows + count)
        if new.stop > len(self.memory_lengths):
            raise IndexError(f"{new.stop} rows do not fit into {len(self.memory_lengths)} slots")
        for layer, (keys, values) in enumerate(remembered):
            self.memory_keys[layer, new, :, :length] = keys
            self.memory_values[layer, new, :, :length] = values
        barred = torch.finfo(torch.float32).min
        self.bias_of_memory[new] = barred
        self.bias_of_memory[new, 0, 0, :length] = 0.0 if mask is None else (mask == 0) * barred
        self.memory_lengths[new] = [length] * count
        self._masked[new] = [mask is not None] * count
        self.rows += count

    def leave(self, slot: int) -> None:
        """Frees a slot; the last row in use moves there."""
        self.rows -= 1
        last = self.rows
        if slot != last:
            for buffer in (self.text_keys, self.text_values, self.memory_keys, self.memory_values):
                buffer[:, slot] = buffer[:, last]
            self.bias_of_memory[slot] = self.bias_of_memory[last]
            self.memory_lengths[slot] = self.memory_lengths[last]
            self._masked[slot] = self._masked[last]

    def begin(self, starts: Sequence[int], fed: int) -> None:
        """Says where the next pass feeds: `fed` tokens of each row, from position starts[row] on."""
        self.starts, self._fed = list(starts), fed
        self._length = max(starts) + fed
        self._longest = max(self.memory_lengths[: self.rows])
        self._index = None
        if min(starts) != max(starts):
            rows = torch.arange(self.rows)[:, None]
            self._index = rows, torch.tensor(self.starts)[:, None] + torch.arange(fed)

    def text_bias(self, table: Tensor) -> Tensor:
        """Rows of a position bias [heads, T, T] for the tokens of the pass: [1 or n, heads, fed, length]."""
        if self._index is None:
            start = self.starts[0]
            return table[None, :, start : start + self._fed, : self._length]
        return table[:, self._index[1], : self._length].transpose(0, 1)

    @property
    def memory_bias(self) -> Tensor | None:
        """[n, 1, 1, S] of the pass, or None where no row masks anything and all are of one length."""
        lengths = self.memory_lengths[: self.rows]
        if not any(self._masked[: self.rows]) and min(lengths) == self._longest:
            return None
        return self.bias_of_memory[: self.rows, :, :, : self._longest]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values [n, heads, length, d] of the texts, those of the pass put in."""
        buffers = self.text_keys[layer], self.text_values[layer]
        for buffer, new in zip(buffers, (keys, values), strict=True):
            if self._index is None:
                start = self.starts[0]
                buffer[: self.rows, :, start : start + self._fed] = new
            else:
                rows, positions = self._index
                buffer[rows, :, positions] = new.transpose(1, 2)
        keys, values = (buffer[: self.rows, :, : self._length] for buffer in buffers)
        return keys, values

    def memory(self, layer: int) -> tuple[Tensor, Tensor]:
        """The keys and values [n, heads, S, d] that the texts read."""
        rows, length = slice(self.rows), slice(self._longest)
        return self.memory_keys[layer, rows, :, length], self.memory_values[layer, rows, :, length]
