"""A draft of a text that greedy decoding is about to write: guesses that one decoder pass can verify.

A correction mostly rewrites the hypothesis it corrects, or goes back to an earlier one, so these are its
drafts. A pass over several tokens costs less than a pass for each, for it reads the weights once; wrong
guesses are thrown away, so that the text is the one that greedy decoding would have written.
"""

import math
from collections.abc import Sequence

REACH = 8
"""Tokens to either side of the expected place where a draft is taken up again."""

_RIGHT_AT_FIRST, _WEIGHT_AT_FIRST = 0.5, 3.0
"""Share of guesses taken to be right before any has been verified, and of how many that is worth."""

_SUREST = 0.99  # no verdicts make a guess certain

_MEMORY = 0.85
"""What the verdict on a guess still counts after the next one."""


class Draft:
    """Follows the text being written through a draft, over words changed, put in and left out."""

    def __init__(self, tokens: Sequence[int] = ()):
        self._tokens = list(tokens)
        self._next = 0
        self._last: int | None = None

    def guesses(self, count: int) -> list[int]:
        """The next tokens as the draft has them, at most `count`."""
        return self._tokens[self._next : self._next + count]

    def observe(self, token: int) -> None:
        """Takes note of the token that was written next."""
        here = self._next
        if here < len(self._tokens) and self._tokens[here] == token:
            self._next += 1
        else:
            self._next = self._place(token, here)
        self._last = token

    def _place(self, token: int, here: int) -> int:
        """Where the draft goes on after a token that it does not have at `here`.

        That is behind the same token nearby, rather one that follows the same token as it did in the text;
        where there is none, the token is taken to stand for the draft's own.
        """
        near = range(max(0, here - REACH), min(len(self._tokens), here + REACH + 1))
        places = [i for i in near if self._tokens[i] == token]
        if not places:
            return min(here + 1, len(self._tokens))
        return 1 + min(places, key=lambda i: (i == 0 or self._tokens[i - 1] != self._last, abs(i - here)))


class Drafts:
    """Several drafts of one text: the one that has been right for longest makes the guesses."""

    def __init__(self, *texts: Sequence[int]):
        """The texts in order of trust; where drafts have been right equally long, the first one guesses."""
        self._drafts = [Draft(text) for text in texts or [()]]
        self._right = [0] * len(self._drafts)
        self._hits = _RIGHT_AT_FIRST * _WEIGHT_AT_FIRST
        self._verdicts = _WEIGHT_AT_FIRST

    def likely(self, chance: float, most: int) -> int:
        """How many guesses on all of them are right with at least this chance, by the verdicts so far.

        At most `most`, and no more than there are.
        """
        if chance >= 1:
            return 0
        right = min(self._hits / self._verdicts, _SUREST)
        return min(int(math.log(chance) / math.log(right)), len(self.guesses(most)))

    def guesses(self, count: int) -> list[int]:
        """The next tokens as the best draft has them, at most `count`."""
        best = max(range(len(self._drafts)), key=self._trust)
        return self._drafts[best].guesses(count)

    def observe(self, token: int) -> None:
        """Takes note of the token that was written next."""
        if guess := self.guesses(1):
            self._hits = _MEMORY * self._hits + (guess == [token])
            self._verdicts = _MEMORY * self._verdicts + 1
        for place, draft in enumerate(self._drafts):
            self._right[place] = self._right[place] + 1 if draft.guesses(1) == [token] else 0
            draft.observe(token)

    def _trust(self, place: int) -> tuple[bool, int, int]:
        return bool(self._drafts[place].guesses(1)), self._right[place], -place
