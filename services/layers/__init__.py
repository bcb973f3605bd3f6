"""Linear layers that compute what `torch.nn.Linear` computes, faster: `packed` for many tokens at a time,
`int8` for few."""

from collections.abc import Callable

from torch import nn

from services.layers.int8 import ExactInt8Linear, unusable
from services.layers.packed import PackedLinear

Make = Callable[[nn.Linear], nn.Module]
"""Makes what stands for a linear layer in float32, on the CPU."""


def replace(model: nn.Module, make: Make) -> None:
    """Replaces all linear layers of a model that will only run."""
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            # What torch derives from it, its own modules use in their own ways.
            if type(layer) is nn.Linear:
                setattr(module, name, make(layer))


def for_many(layer: nn.Linear) -> nn.Module:
    """The exact layer that is fastest for many tokens at a time."""
    return PackedLinear.of(layer) if PackedLinear.usable() else layer


def for_few(layer: nn.Linear) -> nn.Module:
    """The exact layer that is fastest for few tokens at a time, where the bytes of weights count most."""
    if not unusable() and ExactInt8Linear.holds(layer.weight):
        return ExactInt8Linear.of(layer)
    return for_many(layer)
