import pytest

from gateway.limits import MAX_CHARACTERS, MAX_OWN_CHUNKS, Limits
from nextvec.errors import InvalidInput, UnknownRoute
from nextvec.routes import ROUTES, route_named
from nextvec.v1.gateway_pb2 import CompleteRequest

LIMITS = Limits(max_chunks=16, ports={route.name: route.port for route in ROUTES})


def check(**fields):
    if "messages" not in fields:
        fields.setdefault("paragraph", "It rained.")
    return LIMITS.check(CompleteRequest(**fields), route_named("amn"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"paragraph": ""}, "messages and paragraph are both empty; set one of them to the text to continue"),
        ({"paragraph": " \n\t "}, "paragraph is empty or blank; must have at least one visible character"),
        ({"paragraph": "\u200b\u2060"}, "paragraph is empty or blank; must have at least one visible"),
        ({"messages": ["It rained.", ""]}, "messages[1] is empty or blank; must have at least one visible"),
        ({"messages": ["It"], "paragraph": "It"}, "messages and paragraph are both set; set one of them"),
        (
            {"paragraph": "x" * 10_000_000},
            f"paragraph has 10,000,000 characters; must have at most {MAX_CHARACTERS:,}",
        ),
        ({"messages": ["It rained."] * 600}, f"messages has 600 entries; must have at most {MAX_OWN_CHUNKS}"),
        ({"messages": ["x" * 9000] * 4}, "messages has 36,000 characters; must have at most"),
        ({"paragraph": "It\x00rained"}, "paragraph has the control character U+0000 at 2; of these only tab"),
        ({"messages": ["ok", "\x1b[31mred"]}, "messages[1] has the control character U+001B at 0"),
        ({"paragraph": "a\x85b"}, "paragraph has the control character U+0085 at 1"),
        ({"max_chunks": 600}, "max_chunks is 600; must be at most 16"),
        ({"max_chunks": 2**32 - 1}, "max_chunks is 4294967295; must be at most 16"),
        ({"rungs": [3, 1]}, "rungs is [3, 1]; must rise from each rung to the next"),
        ({"rungs": [1, 1]}, "rungs is [1, 1]; must rise"),
        ({"rungs": range(9)}, "rungs has 9 entries; must have at most 8"),
        ({"rungs": [1, 1000]}, "rungs is [1, 1000]; a rung must have at most 50 steps"),
        ({"snap_policy": "x" * 65}, "snap_policy has 65 characters; must have at most 64"),
        ({"request_id": "x" * 129}, "request_id has 129 characters; must have at most 128"),
        (
            {"route": "gru"},
            "route is 'gru', but port 9001 answers 'amn'; leave route empty or send the request to port 9003",
        ),
    ],
)
def test_bad_input_is_refused_naming_field_value_and_limit(fields, message):
    with pytest.raises(InvalidInput) as caught:
        check(**fields)
    assert caught.value.message.startswith(message)


def test_an_unknown_route_lists_the_known_ones():
    with pytest.raises(UnknownRoute) as caught:
        check(route="os")
    assert caught.value.message.startswith("unknown route 'os'; have amn, transformer, gru")


@pytest.mark.parametrize("text", ["Rain", "Ünïcödé — 日本語 🙂", "tab\tline\r\nend", "42", "?!", "e\u0301"])
def test_any_visible_text_is_fine(text):
    assert check(paragraph=text).paragraph == text
    assert check(messages=[text]).messages == (text,)


def test_what_is_left_out_has_its_default():
    work = check(route="amn")
    assert work.chunks == 1
    assert work.rungs == ()
    assert work.route == route_named("amn")


def test_the_ladder_may_begin_with_the_first_hypothesis():
    assert check(rungs=[0, 1, 3, 5]).rungs == (0, 1, 3, 5)
