"""What is kept of a text, what is left out, and why."""

import pytest

from training import cleaning
from training.cleaning import blocks, fault, lines_to_judge, tidy


def kept(text, markdown=False):
    return [block.text for block in blocks(text, markdown) if not block.fault]


def faults(text, markdown=False):
    return [block.fault for block in blocks(text, markdown) if block.fault]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("The lock[3] was opened[12, 13] in May.[citation needed]", "The lock was opened in May."),
        ("A [canal](https://example.org/canal) is a waterway.", "A canal is a waterway."),
        ("A [[Waterway|canal]] joins [[Ulm]] to the sea.", "A canal joins Ulm to the sea."),
        ("It was dug by hand (Miller & Cole, 1987, p. 4).", "It was dug by hand."),
        ("Ice is lighter (see https://example.org/ice) than water.", "Ice is lighter than water."),
        ("Ruth (; born in Bern) wrote () plays.", "Ruth (born in Bern) wrote plays."),
        ("He said “no” – it’s\u00a0late.", 'He said "no" – it\'s late.'),
        ("A <b>bold</b> claim {{cite}} stands <!-- note --> here.", "A bold claim stands here."),
        ("if a < b and c > d then stop", "if a < b and c > d then stop"),
        ("The ``model'' town\u200b was  built.", 'The "model" town was built.'),
        ("He left (in April 1911) for Rome.", "He left (in April 1911) for Rome."),
    ],
)
def test_a_sentence_is_mended(written, wanted):
    assert tidy(written) == wanted
    assert tidy(wanted) == wanted


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("Read more at www.example.org before you start.", cleaning.LINK),
        ("Write to the clerk at clerk@example.org for a form.", cleaning.LINK),
        ("The record is doi:10.1000/182 in the register.", cleaning.LINK),
        ("The commit 9fceb02d0ae598e95dc970b74767f19372d61af8 broke it.", cleaning.ID_STRING),
        ("The process GO:0008150 is the root of the tree.", cleaning.ID_STRING),
        ("Its key is AKx93jQmL2vRt8Zp0Yw1 and must not be shared.", cleaning.ID_STRING),
        ("The book has ISBN 978-3-16-148410-0 on its back.", cleaning.ID_STRING),
        ("| Town | 1901 | 1911 | 1921 |", cleaning.TABLE),
        ("Results 12 14 19 22 and 31 points", cleaning.TABLE),
        ("Miller, J. R. (1987). The lock keeper. Oxford: River Press.", cleaning.REFERENCE),
        ("Vol. 3, no. 4, pp. 12-19. Retrieved 4 May 2011.", cleaning.REFERENCE),
        ("Call open(path, {mode: 'r'}); to read it.", cleaning.MARKUP),
        ("The formula is $x_1 = \\frac{a}{b}$ in this case.", cleaning.MARKUP),
        ("Look into /etc/hosts/local for the name.", cleaning.MARKUP),
        ("HARBOUR CLOSED UNTIL FURTHER NOTICE", cleaning.NOT_PROSE),
        ("+ - = / * ( ) %", cleaning.NOT_PROSE),
    ],
)
def test_a_sentence_that_damages_inversion_is_named(sentence, name):
    assert fault(sentence) == name


@pytest.mark.parametrize(
    "sentence",
    [
        "The bridge was opened in 1874 and widened in 1931.",
        "He paid $3.50 for 12 apples, 4 pears and a loaf.",
        "Dr. J. R. Miller of the U.S. Navy retired early.",
        "Her mother-in-law's well-kept garden won again.",
        '"Why?" she asked.',
        "NATO and the EU signed it.",
        "Yes.",
        "Volume rises when the gas is heated, and pressure falls.",
    ],
)
def test_prose_is_kept(sentence):
    assert fault(tidy(sentence)) is None


PLAIN = """The Old Lock

The lock was dug by hand in one summer. It has been
in use ever since, and boats still
pass it every day of the year, even in the frost.

== Keepers ==

Three keepers have lived here:
- Anna Weir, who planted the garden by the wall.
- ropes, hooks
- The last of them left when the gates were driven by motors.

Boat      Length      Draught
barge     24          1.2
skiff     6           0.4

References

Weir, A. The keeper's book, 1932.
Register of locks and weirs.

== Today ==

Visitors may watch from the bridge.
"""


def test_plain_text_loses_headings_tables_fragments_and_references():
    assert kept(PLAIN) == [
        "The lock was dug by hand in one summer. It has been in use ever since, and boats still "
        "pass it every day of the year, even in the frost.",
        "Three keepers have lived here:",
        "Anna Weir, who planted the garden by the wall.",
        "The last of them left when the gates were driven by motors.",
        "Visitors may watch from the bridge.",
    ]
    assert set(faults(PLAIN)) == {
        cleaning.HEADING,
        cleaning.TABLE,
        cleaning.LIST_ITEM,
        cleaning.REFERENCES,
    }


MARKDOWN = """# The Old Lock

The lock was [dug](https://example.org) *by hand*
in one summer.

![A boat](boat.png)

| Boat | Length |
|------|--------|
| skiff | 6 |

```python
open_gate()
```

* One gate leaks, and nobody knows why.
* rope

## External links

- [The register of locks](https://example.org/register) is kept by the county.

## Today

Visitors may call `ring` at the gate.
"""


def test_markdown_loses_images_tables_code_and_links():
    assert kept(MARKDOWN, markdown=True) == [
        "The lock was dug by hand in one summer.",
        "One gate leaks, and nobody knows why.",
        "Visitors may call ring at the gate.",
    ]
    assert {cleaning.TABLE, cleaning.CODE, cleaning.LIST_ITEM, cleaning.REFERENCES} <= set(
        faults(MARKDOWN, markdown=True)
    )


def test_long_lines_are_paragraphs_of_their_own():
    first = "The first paragraph stands on one long line, as an extractor writes it, " * 2 + "and ends here."
    second = "The second one follows right behind it without an empty line, and is as long as the first is."
    assert kept(f"History of the mill\n{first}\n{second}") == [first, second]


def test_the_judge_of_coherence_sees_list_items_and_triples():
    text = "# Tools\n\n- saw\n- knife\n\nSaw subClassOf Cutter\nKnife subClassOf Cutter\n\n```\ncode\n```\n"
    assert list(lines_to_judge(text)) == [
        "- saw",
        "- knife",
        "Saw subClassOf Cutter",
        "Knife subClassOf Cutter",
    ]
