"""One request while it is worked on: what its answer will say, and who is told on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.breaker import BreakerOpen
from gateway.limits import Work
from gateway.stage_client import Call
from nextvec.errors import DeadlineExceeded, FailedPrecondition, NextvecError, StageUnavailable, WrongSpace
from nextvec.v1.gateway_pb2 import Chunk, CompleteResponse, HypothesisFormed, StageFinished, StageTiming

Event = StageFinished | HypothesisFormed | Chunk

Emit = Callable[[Event], None]
"""Takes an event at once; must neither block nor fail."""


@dataclass
class Run:
    """State of one request. `response` is filled in as stages finish; `index` is the chunk being made.

    `without` names the stages that the answer goes without, `quoted` says why chunks are quotations.
    """

    work: Work
    call: Call
    emit: Emit
    response: CompleteResponse = field(default_factory=CompleteResponse)
    index: int = 0
    without: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    _timings: list[StageTiming] = field(default_factory=list)

    def finished(self, timing: StageTiming, model_id: str) -> None:
        """A stage has answered."""
        self._timings.append(timing)
        self.response.timings.append(timing)
        if model_id:
            self.response.model_ids[timing.stage] = model_id
        self.emit(StageFinished(chunk=self.index, timing=timing))

    def made(self, chunk: Chunk) -> None:
        """The chunk at `index` is done."""
        chunk.index = self.index
        chunk.timings.extend(self._timings)
        self._timings.clear()
        self.response.chunks.append(chunk)
        self.emit(chunk)

    def degraded(self, stage: str, what: str) -> None:
        """The chunk at `index` goes without `stage`; `what` says why and what happens instead."""
        self.without.append(stage)
        self.response.degraded.append(f"chunk {self.index}: {what}")


def survivable(error: NextvecError) -> bool:
    """Whether a failed stage leaves a lesser answer that is worth giving.

    A stage that is down, late or has nothing to work with does. Wrong input and wrong spaces do not, nor do
    full queues: there, trying again later gives the better answer.
    """
    lesser = isinstance(error, StageUnavailable | DeadlineExceeded | FailedPrecondition)
    return lesser and not isinstance(error, WrongSpace)


def reason_of(error: NextvecError) -> str:
    """Why a text is quoted, as the metric says it, where the decoder ended with a survivable error."""
    reasons = {BreakerOpen: "breaker", StageUnavailable: "unavailable", DeadlineExceeded: "late"}
    return next((reason for cls, reason in reasons.items() if isinstance(error, cls)), "precondition")
