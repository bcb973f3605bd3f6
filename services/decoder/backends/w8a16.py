"""The `int8` engine with the decoder's activations in 16 bits: texts all but those of single precision.

For families whose weights have more than 8 bits; where they have 8, `native` is as fast and exact. The
encoder's activations have 8 bits, as in `int8`: it runs once a text over many tokens at a time, where twice
the rows cost twice the time. Of 249 texts of `mini` after five corrections, 98% are those of single
precision.
"""

from torch import Tensor

from nextvec.errors import StartupError
from nextvec.family import Family
from services.decoder.backends import Backend, native
from services.decoder.backends.int8 import WEIGHT_BYTES, one_code
from services.layers import unusable

__all__ = ["WEIGHT_BYTES", "load"]


def two_codes(weight: Tensor) -> int:
    """Activations in 16 bits for any weight."""
    return 2


def load(family: Family, slots: int) -> Backend:
    """Loads the family's parts.

    Raises StartupError where the machine is not fit, WeightsError where the weights are not usable.
    """
    if reason := unusable():
        raise StartupError(f"backend 'w8a16' cannot run: {reason}; use 'native'")
    return native.load(family, slots, "w8a16", (one_code, two_codes))
