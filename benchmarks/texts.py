"""Sentences to measure with: those of the sample articles."""

from pathlib import Path

from nextvec.chunking import chunk
from nextvec.errors import StartupError
from nextvec.family import Family


def paragraphs(artifacts: Path, count: int) -> list[str]:
    """The first body paragraph of each of `count` articles; raises StartupError where there are fewer."""
    texts = []
    for file in sorted((artifacts / "samples" / "articles").glob("*.txt")):
        texts += [part for part in file.read_text(encoding="utf-8").split("\n\n") if len(part) > 200][:1]
    if len(texts) < count:
        raise StartupError(f"{artifacts}/samples has {len(texts)} articles; measuring needs {count}")
    return texts[:count]


def sentences(artifacts: Path, family: Family, count: int) -> list[str]:
    """Chunks, one of each article as far as they go, no two alike."""
    articles = [chunk(text, family.count_tokens, family.token_limit) for text in paragraphs(artifacts, 50)]
    longest = max(map(len, articles))
    texts = [chunks[place] for place in range(longest) for chunks in articles if place < len(chunks)]
    return list(dict.fromkeys(texts))[:count]
