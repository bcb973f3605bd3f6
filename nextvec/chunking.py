"""Text to chunks: one sentence each, never longer than the family's token limit."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import sentencex
from tokenizers import Tokenizer

from nextvec.characters import CONTROL
from nextvec.errors import StartupError

TokenCounter = Callable[[Sequence[str]], list[int]]

# Where a long sentence may be cut, best first: the cut falls behind group 1.
_BREAKS = (
    re.compile(r"([;:])\s"),
    re.compile(r"(,)\s"),
    re.compile(r"()\s(?:and|or|but|that|which|who|because|while|when|where|as|with)\s"),
    re.compile(r"()\s"),
)
_MIDDLE = (0.2, 0.8)  # a cut outside this share of the text leaves a stub worth nothing


def open_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that neither cuts nor pads; raises StartupError where the file is missing or corrupt."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise StartupError(f"{path} is not a tokenizer ({error}); restore it") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_counter(*tokenizer_files: Path) -> TokenCounter:
    """Counts tokens as the strictest of several tokenizers sees them.

    Each count includes the tokenizer's own start and end tokens, and 2 where it adds only
    the end token, because a decoder spends one position on its start token.
    """
    tokenizers = []
    for path in tokenizer_files:
        tokenizer = open_tokenizer(path)
        added = tokenizer.num_special_tokens_to_add(False)
        tokenizers.append((tokenizer, 2 - added))

    def count(texts: Sequence[str]) -> list[int]:
        columns = [
            [len(encoding.ids) + missing for encoding in tokenizer.encode_batch_fast(list(texts))]
            for tokenizer, missing in tokenizers
        ]
        return [max(row) for row in zip(*columns, strict=True)]

    return count


def sentences(paragraph: str, language: str = "en") -> list[str]:
    """Sentences of a paragraph in order, stripped, none empty."""
    return [s for s in (" ".join(part.split()) for part in sentencex.segment(language, paragraph)) if s]


def fit(texts: Iterable[str], count: TokenCounter, limit: int) -> list[str]:
    """Cuts every text over `limit` tokens, at punctuation where it can, and keeps the order.

    Control characters, which no stage takes, are left out, and so is a text of nothing else.
    """
    texts = [cleared for text in texts if (cleared := CONTROL.sub("", text))]
    counts = count(texts) if texts else []
    pieces: list[str] = []
    for text, tokens in zip(texts, counts, strict=True):
        pieces += [text] if tokens <= limit else fit(_halves(text), count, limit)
    return pieces


def chunk(paragraph: str, count: TokenCounter, limit: int) -> list[str]:
    """Paragraph to chunks of at most `limit` tokens: sentences first, then pieces of long ones."""
    return fit(sentences(paragraph), count, limit)


def _halves(text: str) -> list[str]:
    low, high = (int(len(text) * share) for share in _MIDDLE)
    for pattern in _BREAKS:
        cuts = [m.end(1) if m.group(1) else m.start() for m in pattern.finditer(text)]
        cuts = [c for c in cuts if low <= c <= high]
        if cuts:
            cut = min(cuts, key=lambda c: abs(c - len(text) // 2))
            return [text[:cut].strip(), text[cut:].strip()]
    cut = len(text) // 2  # a single unbroken word longer than the limit
    return [text[:cut], text[cut:]]
