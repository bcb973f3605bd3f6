"""What one request may be. Everything outside is refused before any stage is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nextvec.characters import CONTROL
from nextvec.errors import InvalidInput
from nextvec.routes import Route, route_named
from nextvec.stream import MAX_REQUEST_ID
from nextvec.v1.gateway_pb2 import CompleteRequest

MAX_CHARACTERS = 32_768
"""Characters of the text so far. Five chunks of it are used; a few thousand words leave room to spare."""

MAX_OWN_CHUNKS = 256
"""Chunks of the text so far, as sent or as cut."""

MAX_RUNGS, MAX_STEPS = 8, 50
"""Rungs of a ladder, and correction steps of one; correction has converged long before 50."""

MAX_POLICY = 64
"""Characters of a policy's name; the snap stage says which names it knows."""


@dataclass(frozen=True)
class Work:
    """One valid request. Either `messages` or `paragraph` has the text, the other is empty."""

    request_id: str
    route: Route
    messages: tuple[str, ...]
    paragraph: str
    chunks: int
    snap_policy: str
    rungs: tuple[int, ...]
    bypass_cache: bool
    stream_hypotheses: bool = False


@dataclass(frozen=True)
class Limits:
    """The limits of one gateway; `ports` says where each route answers."""

    max_chunks: int
    ports: Mapping[str, int]

    def check(self, request: CompleteRequest, route: Route, *, stream_hypotheses: bool = False) -> Work:
        """The request as work for the route of the port it came to.

        Raises InvalidInput, or UnknownRoute; the message names the field, its value and the limit.
        """
        if len(request.request_id) > MAX_REQUEST_ID:
            length = len(request.request_id)
            raise InvalidInput(f"request_id has {length} characters; must have at most {MAX_REQUEST_ID}")
        self._check_route(request.route, route)
        _check_text(request.messages, request.paragraph)
        if request.max_chunks > self.max_chunks:
            raise InvalidInput(f"max_chunks is {request.max_chunks}; must be at most {self.max_chunks}")
        if len(request.snap_policy) > MAX_POLICY:
            length = len(request.snap_policy)
            raise InvalidInput(f"snap_policy has {length} characters; must have at most {MAX_POLICY}")
        _check_rungs(request.rungs)
        return Work(
            request_id=request.request_id,
            route=route,
            messages=tuple(request.messages),
            paragraph=request.paragraph,
            chunks=request.max_chunks or 1,
            snap_policy=request.snap_policy,
            rungs=tuple(request.rungs),
            bypass_cache=request.bypass_cache,
            stream_hypotheses=stream_hypotheses,
        )

    def _check_route(self, asked: str, route: Route) -> None:
        if asked and route_named(asked) != route:
            raise InvalidInput(
                f"route is {asked!r}, but port {self.ports[route.name]} answers {route.name!r}; leave route "
                f"empty or send the request to port {self.ports[asked]}"
            )


def _check_text(messages: Sequence[str], paragraph: str) -> None:
    if messages and paragraph:
        raise InvalidInput("messages and paragraph are both set; set one of them")
    if not messages and not paragraph:
        raise InvalidInput("messages and paragraph are both empty; set one of them to the text to continue")
    if len(messages) > MAX_OWN_CHUNKS:
        raise InvalidInput(f"messages has {len(messages)} entries; must have at most {MAX_OWN_CHUNKS}")
    characters = sum(map(len, messages)) + len(paragraph)
    if characters > MAX_CHARACTERS:
        field = "messages" if messages else "paragraph"
        raise InvalidInput(
            f"{field} has {characters:,} characters; must have at most {MAX_CHARACTERS:,}: send the end of "
            "the text, only the last five chunks are used"
        )
    for index, message in enumerate(messages):
        _check_readable(message, f"messages[{index}]")
    if paragraph:
        _check_readable(paragraph, "paragraph")


def _check_readable(text: str, field: str) -> None:
    if control := CONTROL.search(text):
        raise InvalidInput(
            f"{field} has the control character U+{ord(control[0]):04X} at {control.start()}; of these only "
            "tab, line feed and carriage return may be in text"
        )
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise InvalidInput(f"{field} is empty or blank; must have at least one visible character")


def _check_rungs(rungs: Sequence[int]) -> None:
    shown = list(rungs)
    if len(shown) > MAX_RUNGS:
        raise InvalidInput(f"rungs has {len(shown)} entries; must have at most {MAX_RUNGS}")
    if any(later <= earlier for earlier, later in pairwise(shown)):
        raise InvalidInput(f"rungs is {shown}; must rise from each rung to the next")
    if shown and shown[-1] > MAX_STEPS:
        raise InvalidInput(f"rungs is {shown}; a rung must have at most {MAX_STEPS} steps")
