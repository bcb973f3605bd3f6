"""Messages that nobody should send, drawn from a seed, so that each of them can be had again."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from nextvec.v1.vectors_pb2 import VectorBlock
from nextvec.vectors import DIMENSION

_COUNTS = (0, 1, 2, 5, 33, 300)
_INTEGERS = (0, 1, 2, 5, 16, 17, 255, 768, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, float("nan"), float("inf"), float("-inf"), 0.98)
_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a",
        "The river rose.",
        "amn",
        "medoid",
        "../../etc/passwd",
        "%s%n",
        "\u202e",
        "\U0001f300",
    ),
    *("e\u0301" * 40, "word " * 400, "x" * 5000, "\ufeff\r\n\t", "{}", "';--", "nan", "os"),
)
_SHAPES = (
    *((), (0,), (768,), (767,), (1, 768), (5, 768), (2, 5, 768), (5, 5, 768), (768, 1), (1, 1, 1, 768)),
    *((2**32 - 1, 768), (2**31, 2**31, 768), (0, 768), (64, 5, 768)),
)


@dataclass(frozen=True)
class Mutator:
    """Draws messages near valid ones, far from them, and no messages at all."""

    random: random.Random
    space: str

    def draw(self, valid: Message) -> bytes:
        """One message as it goes over the wire."""
        kind = self.random.random()
        if kind < 0.15:
            return self.random.randbytes(self.random.choice((0, 1, 3, 17, 200, 4000)))
        if kind < 0.55:
            return self._damaged(valid.SerializeToString())
        message = type(valid)()
        if kind < 0.85:
            message.CopyFrom(valid)
        self._fill(message, 0.3)
        return message.SerializeToString()

    def _damaged(self, data: bytes) -> bytes:
        """Valid bytes with some changed, left out, doubled or put elsewhere."""
        raw = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            if not raw:
                break
            # Most bytes are those of vectors; what says how to read them is in front.
            end = len(raw) if self.random.random() < 0.4 else min(len(raw), 60)
            at = self.random.randrange(end)
            change = self.random.randrange(5)
            if change == 0:
                raw[at] ^= 1 << self.random.randrange(8)
            elif change == 1:
                raw[at] = self.random.choice((0, 1, 127, 128, 255))
            elif change == 2:
                del raw[at : at + self.random.choice((1, 4, 100))]
            elif change == 3:
                raw[at:at] = raw[at : at + self.random.choice((1, 4, 100))]
            else:
                raw[at:at] = self.random.randbytes(self.random.choice((1, 4, 16)))
        return bytes(raw)

    def _fill(self, message: Message, share: float) -> None:
        """Sets a share of the fields to what their type allows and nobody means."""
        if isinstance(message, VectorBlock):
            self._fill_block(message)
            return
        for field in message.DESCRIPTOR.fields:
            if self.random.random() >= share:
                continue
            if field.is_repeated:
                self._fill_repeated(message, field)
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                self._fill(getattr(message, field.name), share)
            else:
                setattr(message, field.name, self._value(field))

    def _fill_repeated(self, message: Message, field: Any) -> None:
        message.ClearField(field.name)
        values = getattr(message, field.name)
        for _ in range(self.random.choice(_COUNTS)):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                self._fill(values.add(), 0.5)
            else:
                values.append(self._value(field))

    def _fill_block(self, block: VectorBlock) -> None:
        """A block of the wrong shape, length, type or space, or with values that are no numbers."""
        shape = self.random.choice(_SHAPES)
        count = 1
        for size in shape:
            count *= size
        count = count if count <= 64 * 5 * DIMENSION else DIMENSION
        values = [self.random.gauss(0, 1) for _ in range(min(count, DIMENSION))] or [0.0]
        if self.random.random() < 0.5:
            values[self.random.randrange(len(values))] = self.random.choice(_FLOATS)
        if self.random.random() < 0.1:
            values = [self.random.choice((0.0, 1e-30, 1e30))] * len(values)
        data = struct.pack(f"<{len(values)}f", *values) * max(1, count // len(values))
        block.data = data if self.random.random() < 0.8 else data[: self.random.randrange(len(data))]
        block.dtype = self.random.choice((0, 1, 1, 1, 2, 7, 2**31 - 1))
        block.ClearField("shape")
        block.shape.extend(shape)
        block.space = self.space if self.random.random() < 0.8 else self.random.choice(_TEXTS)

    def _value(self, field: Any) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.space if field.name == "space" else self.random.choice(_TEXTS)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self.random.randbytes(self.random.choice(_COUNTS))
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self.random.random() < 0.5
        if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
            return self.random.choice(_FLOATS)
        largest = (
            2**31 - 1 if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM) else 2**32 - 1
        )
        return min(self.random.choice(_INTEGERS), largest)


def messages(seed: int, valid: Message, space: str, count: int) -> Iterator[bytes]:
    """`count` messages near `valid`; the same seed gives the same ones."""
    mutator = Mutator(random.Random(seed), space)
    for _ in range(count):
        yield mutator.draw(valid)
