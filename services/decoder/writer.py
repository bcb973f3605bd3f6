"""One pass of a decoder over the texts being written: by torch's modules, or by the compiled kernel.

The kernel does a pass in one call, in which torch needs hundreds of small operations; what both compute is
the same.
"""

from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from services.decoder.slots import Slots, longest
from services.families.t5 import T5Decoder, T5Shape
from services.layers import CodesOf, compiled, exact, fast, replace
from services.layers.compiled import Weights, address, address_of_array

Remembered = list[tuple[Tensor, Tensor]]
"""Keys and values [B, heads, S, d] of every layer."""

_NO_LAYER = (0, 0, 0, 0, 0, 0)


class Writer(Protocol):
    """A decoder with its token embeddings and its output layer."""

    shape: T5Shape

    def remember(self, memory: Tensor) -> Remembered:
        """What rows read that an encoder has read [B, S, width]."""

    def likeliest(self, tokens: Sequence[Sequence[int]], slots: Slots) -> list[list[int]]:
        """Feeds the rows in `slots`, n of them, w tokens each; returns the likeliest token after each.

        `slots.begin` has said where; the keys and values of the tokens are put there.
        """


class TorchWriter:
    """By torch's modules, on any machine."""

    def __init__(self, decoder: T5Decoder, words: nn.Embedding, head: nn.Module):
        self.shape = decoder.shape
        self._decoder, self._words, self._head = decoder, words, head
        self._bias = torch.empty(0, 0, 0)

    def replace_layers(self) -> None:
        """Makes the linear layers as fast as they get; they cannot be read back then."""
        replace(self._decoder)
        if isinstance(self._head, nn.Linear):
            self._head = fast(self._head)

    def by_kernel(self, limit: int, codes_of: CodesOf) -> "CompiledWriter":
        """The same by the kernel, for texts of at most `limit` tokens."""
        assert isinstance(self._head, nn.Linear)
        return CompiledWriter(self._decoder, self._words.weight, self._head, longest(limit), codes_of)

    def remember(self, memory: Tensor) -> Remembered:
        return self._decoder.remember(memory)

    def likeliest(self, tokens: Sequence[Sequence[int]], slots: Slots) -> list[list[int]]:
        if self._bias.shape[-1] != slots.longest:
            self._bias = self._decoder.position_bias(slots.longest)
        states = self._decoder(
            self._words(torch.tensor(tokens)), slots.text_bias(self._bias), slots.memory_bias, slots
        )
        # A tied T5 scales the states by width**-0.5 first; the largest logit is the same without. numpy finds
        # it in a tenth of torch's time.
        likeliest: list[list[int]] = self._head(states).numpy().argmax(-1).tolist()
        return likeliest


class CompiledWriter:
    """By the compiled kernel, for slots of one length."""

    def __init__(
        self, decoder: T5Decoder, words: Tensor, head: nn.Linear, positions: int, codes_of: CodesOf = exact
    ):
        """Copies what it needs but the token embeddings [V, width], float32."""
        self.shape = decoder.shape
        self._codes_of, self._vocabulary, self._positions = codes_of, len(words), positions
        self._kept: list[object] = []
        self._read = [fast(part.kv_cross, codes_of) for part in self._blocks(decoder)]
        numbers = [
            self.shape.width,
            self.shape.inner,
            self.shape.heads,
            self.shape.feed_forward,
            self._floats(words),
            self._floats(decoder.position_bias(positions)),
            self._floats(decoder.norm.weight),
            *self._layer(head),
            self.shape.layers,
        ]
        for part in self._blocks(decoder):
            numbers += self._block(part)
        self._stack = array("q", numbers)

    def remember(self, memory: Tensor) -> Remembered:
        heads = self.shape.heads
        parts = (layer(memory).unflatten(-1, (2, heads, -1)).movedim(2, 0) for layer in self._read)
        return [(keys.transpose(1, 2), values.transpose(1, 2)) for keys, values in parts]

    def likeliest(self, tokens: Sequence[Sequence[int]], slots: Slots) -> list[list[int]]:
        """Raises IndexError for what is beyond slots or vocabulary, which the kernel does not check."""
        rows, fed = len(tokens), len(tokens[0])
        flat, starts = array("q", chain.from_iterable(tokens)), array("q", slots.starts)
        lengths = array("q", slots.memory_lengths)
        if not rows == slots.rows == len(starts) or len(flat) != rows * fed:
            raise IndexError(f"{rows} rows are fed where {slots.rows} are being written, or not all alike")
        if not 0 <= min(flat) <= max(flat) < self._vocabulary:
            raise IndexError(f"a token is beyond the vocabulary of {self._vocabulary}")
        in_place = min(starts) >= 0 and max(starts) + fed <= self._positions
        if not in_place or slots.longest != self._positions:
            raise IndexError(f"a position is beyond the {self._positions} that a slot should have")
        likeliest = array("q", bytes(8 * rows * fed))
        numbers = array(
            "q",
            (
                rows,
                fed,
                address_of_array(flat),
                address_of_array(starts),
                address(slots.text_keys),
                address(slots.text_values),
                address(slots.memory_keys),
                address(slots.memory_values),
                address(slots.bias_of_memory),
                address_of_array(lengths),
                slots.text_keys.shape[1],
                slots.longest,
                slots.memory_keys.shape[3],
                address_of_array(likeliest),
                *compiled.means(),
            ),
        )
        compiled.kernel.run_pass(address_of_array(self._stack), address_of_array(numbers))
        return [likeliest[start : start + fed].tolist() for start in range(0, rows * fed, fed)]

    @staticmethod
    def _blocks(decoder: T5Decoder) -> list[Any]:
        """Any: a module's parts have no types."""
        return list(decoder.blocks)

    def _block(self, part: Any) -> list[int]:
        """The `Block` of stack.h."""
        return [
            self._floats(part.norm1.weight),
            *self._layer(part.qkv),
            *self._layer(part.out),
            self._floats(part.norm_cross.weight),
            *self._layer(part.query_cross),
            *self._layer(part.out_cross),
            self._floats(part.norm2.weight),
            *(_NO_LAYER if part.gate is None else self._layer(part.gate)),
            *self._layer(part.up),
            *self._layer(part.down),
        ]

    def _layer(self, layer: nn.Linear) -> tuple[int, ...]:
        weights = Weights(layer.weight, None, self._codes_of(layer.weight))
        self._kept.append(weights)
        return weights.numbers

    def _floats(self, tensor: Tensor) -> int:
        tensor = tensor.detach().float().contiguous()
        self._kept.append(tensor)
        return address(tensor)
