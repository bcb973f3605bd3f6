"""A pass by the compiled kernel is a pass by torch's modules."""

import pytest
import torch
from torch import nn

from services.decoder.slots import Slots
from services.decoder.writer import CompiledWriter, TorchWriter
from services.families.t5 import T5Decoder, T5Shape
from services.layers import exact, unusable

pytestmark = pytest.mark.skipif(bool(unusable()), reason=unusable())

LIMIT, SLOTS, MEMORY = 12, 5, 9
SHAPES = {
    "plain": T5Shape(50, 24, 32, 40, heads=4, layers=2, buckets=8, gated=False),
    "gated": T5Shape(70, 40, 24, 56, heads=2, layers=3, buckets=32, gated=True),
    "as wide as T5-base": T5Shape(300, 768, 768, 256, heads=12, layers=1, buckets=32, gated=False),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def both(request):
    torch.manual_seed(0)
    shape = request.param
    decoder = T5Decoder(shape).requires_grad_(False).eval()
    for parameter in decoder.parameters():
        if parameter.dim() == 1:
            parameter += 0.3 * torch.randn_like(parameter)
    words = nn.Embedding(shape.vocabulary, shape.width).requires_grad_(False)
    head = nn.Linear(shape.width, shape.vocabulary, bias=False).requires_grad_(False)
    plain = TorchWriter(decoder, words, head)
    return plain, plain.by_kernel(LIMIT, exact)


def rows(slots, writer, states, mask):
    with torch.inference_mode():
        slots.join(writer.remember(states), mask)


def write(writer, tokens, starts, states, mask):
    """What follows every token fed, pass by pass, and the keys and values that are left."""
    slots = Slots(writer.shape, SLOTS, LIMIT, MEMORY)
    rows(slots, writer, states, mask)
    found = []
    with torch.inference_mode():
        for fed, start in zip(tokens, starts, strict=True):
            slots.begin(start, len(fed[0]))
            found.append(writer.likeliest(fed, slots))
    return found, (slots.text_keys, slots.text_values)


@pytest.mark.parametrize("masked", [False, True])
def test_passes_of_any_width_write_the_same(both, masked):
    plain, compiled = both
    torch.manual_seed(1)
    states = torch.randn(3, 7, plain.shape.width)
    mask = None
    if masked:
        mask = torch.ones(3, 7, dtype=torch.long)
        mask[1, 4:] = 0
        mask[2, 2] = 0
    shapes = [(3, 1), (3, 4), (3, 6)]
    tokens = [torch.randint(plain.shape.vocabulary, shape).tolist() for shape in shapes]
    starts = [[0, 0, 0], [1, 1, 1], [5, 3, 2]]
    wanted, kept = write(plain, tokens, starts, states, mask)
    found, kept_too = write(compiled, tokens, starts, states, mask)
    assert found == wanted
    torch.testing.assert_close(kept_too, kept, rtol=1e-3, atol=1e-4)


def test_rows_that_came_later_and_read_less_write_the_same(both):
    plain, compiled = both
    found = {}
    for writer in (plain, compiled):
        torch.manual_seed(2)
        slots = Slots(writer.shape, SLOTS, LIMIT, MEMORY)
        rows(slots, writer, torch.randn(2, MEMORY, writer.shape.width), None)
        rows(slots, writer, torch.randn(2, 3, writer.shape.width), torch.tensor([[1, 1, 1], [1, 0, 1]]))
        slots.leave(0)
        slots.begin([0, 0, 0], 2)
        with torch.inference_mode():
            found[writer] = writer.likeliest([[1, 2], [3, 4], [5, 6]], slots)
    assert found[plain] == found[compiled]


def test_rows_that_move_while_they_are_written_go_on_as_they_were(both):
    plain, compiled = both
    found = {}
    for writer in (plain, compiled):
        torch.manual_seed(3)
        slots = Slots(writer.shape, SLOTS, LIMIT, MEMORY)
        rows(slots, writer, torch.randn(3, 5, writer.shape.width), None)
        with torch.inference_mode():
            slots.begin([0, 0, 0], 3)
            writer.likeliest([[1, 2, 3], [4, 5, 6], [7, 8, 9]], slots)
            slots.leave(0)
            slots.begin([3, 2], 2)
            found[writer] = writer.likeliest([[10, 11], [12, 13]], slots)
    assert found[plain] == found[compiled]


def test_more_rows_than_slots_or_than_are_being_written_are_refused(both):
    _, compiled = both
    slots = Slots(compiled.shape, 2, LIMIT, MEMORY)
    rows(slots, compiled, torch.randn(2, 3, compiled.shape.width), None)
    with pytest.raises(IndexError, match="slots"):
        rows(slots, compiled, torch.randn(1, 3, compiled.shape.width), None)
    slots.begin([0, 0], 1)
    for tokens in ([[0]], [[0], [0], [0]], [[0, 1], [0]]):
        with pytest.raises(IndexError, match="rows"):
            compiled.likeliest(tokens, slots)


def test_a_token_that_is_none_is_refused(both):
    _, compiled = both
    slots = Slots(compiled.shape, SLOTS, LIMIT, MEMORY)
    rows(slots, compiled, torch.randn(1, 3, compiled.shape.width), None)
    slots.begin([0], 1)
    with pytest.raises(IndexError, match="vocabulary"):
        compiled.likeliest([[compiled.shape.vocabulary]], slots)
    slots.begin([2 * LIMIT], 1)
    with pytest.raises(IndexError, match="position"):
        compiled.likeliest([[0]], slots)


def test_slots_of_another_length_are_refused(both):
    plain, compiled = both
    assert isinstance(compiled, CompiledWriter)
    slots = Slots(plain.shape, SLOTS, LIMIT + 1, MEMORY)
    rows(slots, compiled, torch.randn(1, 3, plain.shape.width), None)
    slots.begin([0], 1)
    with pytest.raises(IndexError, match="position"):
        compiled.likeliest([[0]], slots)
