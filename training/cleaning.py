"""What of a text is worth inverting: prose in, without links, reference lists, tables and id strings.

A decoder spends its capacity on what it is trained on, and no vector says which of a million URLs it was
made from. `blocks` takes a text apart, `tidy` mends a sentence, `fault` says why one is not worth keeping.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

HEADING, TABLE, CODE, REFERENCES, LIST_ITEM = "heading", "table", "code", "reference list", "list item"
LINK, ID_STRING, REFERENCE, MARKUP, NOT_PROSE = "link", "id string", "reference", "markup", "not prose"
SENTENCE_FAULTS = (LINK, ID_STRING, TABLE, REFERENCE, MARKUP, NOT_PROSE)

_APPARATUS = re.compile(
    r"(?i)(?:see also|references?|(?:end ?|foot)?notes(?: and references)?|external links?|further reading"
    r"|bibliography|citations?|(?:works|literature) cited|sources|publications|footnotes)\W*"
)
_WIKI_HEADING = re.compile(r"(={2,6})\s*(.+?)\s*\1")
_BULLET = re.compile(r"\s*(?:[-*•+‣–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
_TABLE_LINE = re.compile(r"\|.*\||\t.*\t|\S {3,}\S.* {3,}\S|^\s*[-+|=: ]{5,}$")
_SENTENCE_END = re.compile(r"[.!?:;…][\"'”’)\]]*$")
_WRAPPED, _ITEM = 100, 45  # characters: longer lines are paragraphs, shorter ones items of their own
_TITLE_WORDS = 10

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u00ad": ""})
_INVISIBLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2060\ufeff]")
_URL = r"(?:(?:https?|ftp)://|www\.)[^\s<>\"]+|\bmailto:\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_DOI = r"\b(?:doi|arxiv|pmid)\s*:\s*\S+|\b10\.\d{4,}/\S+"
_LINK = re.compile(f"(?i){_URL}|{_DOI}")
_AUTHOR_YEAR = (
    r"(?:see |cf\. |e\.g\.,? )?[A-Z][\w'-]+(?:(?:,| and| &|, and|, &) [A-Z][\w'-]+)*"
    r"(?:(?: et al\.?,?|,) (?:1[5-9]|20)\d\d[a-z]?)(?:, pp?\. ?[\d–-]+)?"
)
_TIDY = (
    (re.compile(r"``|''"), '"'),
    (re.compile(r"<!--.*?-->|</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>"), ""),
    (re.compile(r"!\[[^\]]*\]\([^)]*\)|\{\{[^{}]*\}\}"), ""),
    (re.compile(r"\[\[(?:[^\]|]*\|)?([^\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)\s]*(?: \"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\s?\[(?:\d{1,3}(?:\s?[,–-]\s?\d{1,3})*|[a-z]|citation needed|note \d+|\?)\]"), ""),
    (re.compile(rf"\s?\((?:{_AUTHOR_YEAR})(?:; {_AUTHOR_YEAR})*\)"), ""),
    (re.compile(rf"(?i)\s?[(<\[][^()<>\[\]]*(?:{_URL}|{_DOI})[)>\]]"), ""),
    (re.compile(r"\(\s*[;,:]\s*"), "("),
    (re.compile(r"\s?\(\s*\)|\s?\[\s*\]"), ""),
    (re.compile(r"\s+(?=[,;:.!?)](?:\s|$))"), ""),
    (re.compile(r"\s+"), " "),
)

_HEX = re.compile(r"(?i)\b(?=[0-9a-f-]*\d)(?=[0-9a-f-]*[a-f])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b")
_CODE_NAME = re.compile(r"\b[A-Z]{2,}[:_]\d{4,}|\b\d{9,}\b|\b(?:ISBN|ISSN|OCLC|LCCN)\b|\b\d{3}-\d-\d{2,}")
_TOKEN = re.compile(r"[A-Za-z0-9_+/=]{16,}")
_LONGEST_WORD = 34
_ENTRY = re.compile(r"^(?:\^|\[\d+\])|^[A-Z][\w'-]+, (?:[A-Z]\. ?)+(?:\(|&|,|and |[A-Z12])")
_IMPRINT = (
    re.compile(r"\bpp?\. ?\d"),
    re.compile(r"(?i)\bvol(?:ume|\.) ?\d"),
    re.compile(r"\b(?:[Nn]o\. ?\d|[Ee]ds?\.|\d(?:st|nd|rd|th) ed\.)"),
    re.compile(r"\b(?:Retrieved|Accessed|Archived)\b.*\b\d{4}\b"),
    re.compile(r"\(?\b(?:1[5-9]|20)\d\d[a-z]?\)?[.,:]"),
    re.compile(r"\b(?:University Press|Journal of|Proceedings of|Publish(?:ers|ing))\b"),
    re.compile(r"\bet al\b|(?:\b[A-Z]\. ?){2}"),
)
_MARKUP = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|</|/>|&(?:nbsp|amp|lt|gt|quot|#\d+);|\\[a-zA-Z]{2,}|\$[^$\s][^$]*[\\^_=][^$]*\$"
    r"|`{2,}|\(\);|=>|[!=]=|\{[^}]*[;:][^}]*\}|^[#>]|(?:^|\s)~?/\w+/[\w./-]+|[A-Z]:\\"
)


class Block(NamedTuple):
    """A paragraph, or the reason why a piece of text is none."""

    text: str
    fault: str | None = None


def blocks(text: str, markdown: bool = False) -> Iterator[Block]:
    """Paragraphs of a plain or Markdown text in order, and between them what is left out and why.

    Headings, tables, code, list items that are no sentences, and everything under a heading such as
    "References" or "External links" are left out.
    """
    in_apparatus = False
    for block in _markdown_blocks(text) if markdown else _plain_blocks(text):
        if block.fault == HEADING:
            in_apparatus = bool(_APPARATUS.fullmatch(block.text))
            yield block
        elif in_apparatus:
            yield Block(block.text, REFERENCES)
        else:
            yield block


def lines_to_judge(text: str) -> Iterator[str]:
    """Lines of a plain or Markdown text as they stand, list items too; no headings, tables or code."""
    for fenced, part in _without_fences(text):
        for block in re.split(r"\n\s*\n", "" if fenced else part):
            for line in lines_as_written(block):
                if (
                    not line.startswith("#")
                    and not _WIKI_HEADING.fullmatch(line)
                    and not _TABLE_LINE.search(line)
                ):
                    yield line


def lines_as_written(block: str) -> list[str]:
    """Lines of a block joined where they were only wrapped, apart where each is an item of its own."""
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    if len(lines) < 2:
        return lines
    widths = sorted(len(line) for line in lines)
    if widths[-1] > _WRAPPED or widths[len(widths) // 2] < _ITEM:
        return lines
    joined: list[str] = []
    for line in lines:
        if joined and not _BULLET.match(line):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return joined


def tidy(text: str) -> str:
    """A text without tags, link targets, footnote marks, author-year citations and the holes they leave.

    Typographic quotes become straight ones, invisible characters go, white space becomes single spaces.
    """
    text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    text = _INVISIBLE.sub("", text)
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    return text.strip()


def fault(sentence: str) -> str | None:
    """Why a tidied sentence damages inversion: the name of the fault, or None."""
    if _LINK.search(sentence):
        return LINK
    if _HEX.search(sentence) or _CODE_NAME.search(sentence) or _has_random_token(sentence):
        return ID_STRING
    if _TABLE_LINE.search(sentence) or _mostly_numbers(sentence):
        return TABLE
    if _ENTRY.search(sentence) or sum(bool(p.search(sentence)) for p in _IMPRINT) >= 3:
        return REFERENCE
    if _MARKUP.search(sentence):
        return MARKUP
    return None if _reads_as_prose(sentence) else NOT_PROSE


def _plain_blocks(text: str) -> Iterator[Block]:
    for fenced, part in _without_fences(text):
        if fenced:
            yield Block(part, CODE)
            continue
        for block in re.split(r"\n\s*\n", part):
            yield from _block_lines(block)


def _without_fences(text: str) -> Iterator[tuple[bool, str]]:
    for number, part in enumerate(re.split(r"^\s*(?:```|~~~).*$", text, flags=re.MULTILINE)):
        yield number % 2 == 1, part


def _block_lines(block: str) -> Iterator[Block]:
    table = sum(bool(_TABLE_LINE.search(line)) for line in block.splitlines())
    if table >= 2:
        yield Block(block, TABLE)
        return
    lines = lines_as_written(block)
    for number, line in enumerate(lines):
        heading = _WIKI_HEADING.fullmatch(line)
        bullet = _BULLET.match(line)
        if heading:
            yield Block(heading[2], HEADING)
        elif bullet:
            yield _item(line[bullet.end() :])
        elif _is_title(line) and (len(lines) == 1 or number < len(lines) - 1):
            yield Block(line.lstrip("# "), HEADING)
        else:
            yield Block(line)


def _is_title(line: str) -> bool:
    return not _SENTENCE_END.search(line) and len(line.split()) <= _TITLE_WORDS and not line[:1].islower()


def _item(text: str) -> Block:
    """A list item is kept where it is a full sentence: fragments read as noise beside their neighbours."""
    sentence = _SENTENCE_END.search(text) and len(text.split()) >= 5 and text[:1].isupper()
    return Block(text, None if sentence else LIST_ITEM)


def _markdown_blocks(text: str) -> Iterator[Block]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inside: list[str] = []
    for token in tokens:
        if token.nesting:
            name = token.type.rsplit("_", 1)[0]
            inside.append(name) if token.nesting > 0 else inside.pop()
        elif token.type in ("fence", "code_block", "html_block"):
            yield Block(token.content, CODE)
        elif token.type == "inline":
            words = _inline_text(token.children or [])
            if "heading" in inside:
                yield Block(words, HEADING)
            elif "table" in inside:
                yield Block(words, TABLE)
            elif "list_item" in inside:
                yield _item(words)
            elif words.strip():
                yield Block(words)


def _inline_text(children: list[Token]) -> str:
    """Words of an inline token: link labels without targets, no images, no tags."""
    parts = []
    for child in children:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts)


def _has_random_token(sentence: str) -> bool:
    """Keys, hashes and file names; a long word of letters alone may be an honest one."""
    if any(len(word) > _LONGEST_WORD for word in re.split(r"[\s—–/-]+", sentence)):
        return True
    tokens = (m.group() for m in _TOKEN.finditer(sentence))
    return any(sum(c.isdigit() for c in t) >= 2 and any(c.isalpha() for c in t) for t in tokens)


def _mostly_numbers(sentence: str) -> bool:
    words = sentence.split()
    numbers = sum(any(c.isdigit() for c in word) for word in words)
    return len(words) >= 4 and numbers > len(words) / 2


def _reads_as_prose(sentence: str) -> bool:
    solid = [c for c in sentence if not c.isspace()]
    letters = [c for c in solid if c.isalpha()]
    if not letters or len(letters) < 0.6 * len(solid):
        return False
    shouted = sum(c.isupper() for c in letters) > 0.6 * len(letters)
    return not (shouted and len(sentence.split()) >= 4)
