"""The project's own engine with weights and activations in 8 bits, by the compiled kernel.

The fastest, and not near enough to single precision to stand for it: of 249 texts of `mini` after five
corrections a quarter are the same.
"""

from torch import Tensor

from nextvec.errors import StartupError
from nextvec.family import Family
from services.decoder.backends import Backend, native
from services.layers import unusable

WEIGHT_BYTES = 1
"""Of every weight that a decoder pass reads."""


def one_code(weight: Tensor) -> int:
    """Activations in 8 bits for any weight."""
    return 1


def load(family: Family, slots: int) -> Backend:
    """Loads the family's parts.

    Raises StartupError where the machine is not fit, WeightsError where the weights are not usable.
    """
    if reason := unusable():
        raise StartupError(f"backend 'int8' cannot run: {reason}; use 'native'")
    return native.load(family, slots, "int8", (one_code, one_code))
