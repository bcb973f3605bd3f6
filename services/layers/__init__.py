"""Linear layers that compute what `torch.nn.Linear` computes, faster: by the compiled kernel, or by oneDNN
where that cannot run."""

from collections.abc import Callable

from torch import Tensor, nn

from services.layers.compiled import exact, unusable
from services.layers.linear import CompiledLinear
from services.layers.packed import PackedLinear

CodesOf = Callable[[Tensor], int]
"""Says for a weight [N, K] how many codes of an activation it meets; see `services.layers.compiled`."""


def fast(layer: nn.Linear, codes_of: CodesOf = exact) -> nn.Module:
    """The fastest layer for this machine that can stand for one in float32 on the CPU.

    It is exact unless `codes_of` says otherwise, which it can only where the kernel runs.
    """
    if not unusable():
        return CompiledLinear.of(layer, codes_of(layer.weight))
    return PackedLinear.of(layer) if PackedLinear.usable() else layer


def replace(model: nn.Module, codes_of: CodesOf = exact) -> None:
    """Replaces all linear layers of a model that will only run."""
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            # What torch derives from it, its own modules use in their own ways.
            if type(layer) is nn.Linear:
                setattr(module, name, fast(layer, codes_of))
