"""`nextvec complete`, against a gateway without stages."""

import json

import pytest

from nextvec.errors import DeadlineExceeded, QueueFull


@pytest.fixture
def complete(nextvec, toy_gateway):
    """Runs `nextvec complete` against the toy gateway."""

    def run(*arguments, stdin=None):
        return nextvec("complete", "--address", toy_gateway.address, *arguments, stdin=stdin)

    return run


def test_text_goes_to_stdout_and_the_rest_to_stderr(complete, toy_gateway):
    result = complete("One. Two.", "--chunks", "2", "--policy", "medoid", "--rungs", "1,3")
    assert result.exit_code == 0
    assert result.stdout == "chunk 0 [of text]\nchunk 1 [of text]\n"
    assert "context seq" in result.stderr
    assert "degraded: chunk 0: no bank" in result.stderr
    request = toy_gateway.requests[0]
    assert (request.paragraph, request.max_chunks, request.snap_policy) == ("One. Two.", 2, "medoid")
    assert list(request.rungs) == [1, 3]
    assert request.route == ""


def test_text_comes_from_a_file_or_from_stdin(complete, toy_gateway, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("From a file.")
    complete("--file", file)
    complete(stdin="From stdin.")
    complete("-", stdin="Also from stdin.")
    texts = [request.paragraph for request in toy_gateway.requests]
    assert texts == ["From a file.", "From stdin.", "Also from stdin."]


def test_json_is_the_whole_response(complete):
    response = json.loads(complete("One.", "--json").stdout)
    assert response["chunks"][0]["text"] == "chunk 0 [of text]"
    assert response["chunks"][0]["cache_hit"] is False
    assert response["context"]["source"] == "CONTEXT_SOURCE_SEQ"


def test_stream_prints_hypotheses_as_they_form_and_the_chunks(complete):
    result = complete("One.", "--chunks", "3", "--stream")
    assert result.stdout.splitlines() == [f"chunk {index} [of text]" for index in range(3)]
    assert "step 0  cosine 0.50  first chunk 2 [of text]" in result.stderr


def test_stream_as_json_is_one_event_a_line(complete):
    events = [json.loads(line) for line in complete("One.", "--stream", "--json").stdout.splitlines()]
    assert [next(key for key in event if key != "request_id") for event in events] == [
        "hypothesis",
        "chunk",
        "complete",
    ]


@pytest.mark.parametrize("stream", [[], ["--stream"]])
@pytest.mark.parametrize(
    ("error", "code"), [(QueueFull("the queue is full"), 7), (DeadlineExceeded("late"), 8)]
)
def test_a_failure_is_one_line_and_its_code(complete, toy_gateway, error, code, stream):
    toy_gateway.failure = error
    result = complete("One.", *stream)
    assert result.exit_code == code
    assert result.stderr == f"error: {error.message}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (["x", "--file", __file__], None, 3, "give one of them"),
        ([], b"\xff\xfe", 3, "not UTF-8: byte 0xff at 0"),
        (["x", "--rungs", "one"], None, 3, "--rungs is 'one'"),
        (["x", "--chunks", "0"], None, 2, "chunks"),
        (["--file", "/nowhere/at/all"], None, 2, "does not exist"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    complete, toy_gateway, arguments, stdin, code, message
):
    result = complete(*arguments, stdin=stdin)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert not toy_gateway.requests


def test_a_route_finds_its_port_and_an_unknown_one_is_refused(nextvec):
    unknown = nextvec("complete", "x", "--route", "os")
    assert unknown.exit_code == 5
    assert "have amn, transformer" in unknown.stderr


def test_without_a_gateway_the_remedy_is_named(nextvec):
    result = nextvec("complete", "x", "--address", "127.0.0.1:1")
    assert result.exit_code == 6
    assert "nextvec up" in result.stderr
