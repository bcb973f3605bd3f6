"""A vector on its way to text: the hypotheses so far, and whether another one can still come."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """What a vector reads as after `step` corrections.

    `ids` are raw, with the start token; `cosine` is that of the text's own vector to the one decoded.
    """

    step: int
    ids: tuple[int, ...]
    text: str
    cosine: float


@dataclass(eq=False)
class Walk:
    """One vector [D], float32, and its hypotheses in order of steps.

    A walk may be taken up in the middle: then `hypotheses` holds the best one of the steps left out, where
    that is another one, and the last.
    """

    target: Tensor
    hypotheses: list[Hypothesis] = field(default_factory=list)
    closed: bool = False

    @property
    def steps(self) -> int:
        """Corrections done; -1 before the first hypothesis."""
        return self.hypotheses[-1].step if self.hypotheses else -1

    @property
    def last(self) -> Hypothesis:
        """The latest hypothesis."""
        return self.hypotheses[-1]

    @property
    def best(self) -> Hypothesis:
        """The hypothesis nearest to the vector; of equals the earliest."""
        return max(self.hypotheses, key=lambda hypothesis: hypothesis.cosine)

    def best_by(self, step: int) -> Hypothesis:
        """The best hypothesis of at most `step` corrections."""
        return max((h for h in self.hypotheses if h.step <= step), key=lambda hypothesis: hypothesis.cosine)

    def at(self, step: int) -> Hypothesis:
        """The text after `step` corrections, of a walk that was not taken up in the middle.

        Beyond the end of a closed walk that is the one which the repetition comes to.
        """
        if step < len(self.hypotheses):
            return self.hypotheses[step]
        if not self.closed:
            raise IndexError(f"the walk has {self.steps} corrections, not {step}")
        first = next(h.step for h in self.hypotheses if h.ids == self.last.ids)
        period = self.steps - first
        return self.hypotheses[first + (step - first) % period]

    def reaches(self, step: int) -> bool:
        """Whether nothing is left to do for `step` corrections."""
        return self.closed or self.steps >= step

    def add(self, hypothesis: Hypothesis) -> None:
        """Appends a hypothesis. One that had come before closes the walk.

        A correction depends on the hypothesis alone, so from there on the texts repeat themselves.
        """
        self.closed = any(earlier.ids == hypothesis.ids for earlier in self.hypotheses)
        self.hypotheses.append(hypothesis)
