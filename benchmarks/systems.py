"""How to start what is measured as a whole. A caller that stands above the stages gives it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass


@dataclass(frozen=True)
class Scalable:
    """A running system whose decoders can be changed in number, each of one thread.

    `decoders` returns when so many serve and the gateway knows of them.
    """

    addresses: dict[str, str]  # by route
    decoders: Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Systems:
    """`whole` runs a system and gives the address of each route; `decoder` starts that stage alone and stops
    it, giving the seconds until it was ready; `scalable` runs a system with one decoder to begin with.
    """

    whole: Callable[[], AbstractAsyncContextManager[dict[str, str]]]
    decoder: Callable[[], Awaitable[float]]
    scalable: Callable[[], AbstractAsyncContextManager[Scalable]]
