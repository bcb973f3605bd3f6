"""No log line holds a user's text unless it is asked for."""

import io
import json
import logging

import pytest

from nextvec.capacity.service_times import PROCESSES
from nextvec.errors import InvalidInput, StageUnavailable
from nextvec.logs import configure_logs, get_log
from tests.e2e.running import PARAGRAPH

SECRET = "what the user wrote"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_logs_requests_as_json_and_none_of_their_text(observed, process):
    lines = observed.lines(process)
    assert [line for line in lines if line["event"] == "request"], observed.logs[process].read_text()
    said = observed.logs[process].read_text()
    for text in ("Quillfeather", "zanzibarine", "ledger", PARAGRAPH[:40]):
        assert text not in said


def test_failed_requests_are_logged_by_their_error(observed):
    errors = {line.get("error") for line in observed.lines("gateway")}
    assert "InvalidInput" in errors


@pytest.fixture
def written():
    """`written(texts)` configures logs and gives a function that returns the lines so far."""
    before, level = logging.getLogger().handlers[:], logging.getLogger().level

    def start(texts):
        stream = io.StringIO()
        configure_logs("info", "json", stream, texts=texts)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield start
    logging.getLogger().handlers[:] = before
    logging.getLogger().setLevel(level)


def fail(error):
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise error from cause
    except type(error) as raised:
        get_log("toy").error("bug", exc_info=raised, input=SECRET)
        logging.getLogger("toy").error("bug", exc_info=raised)


@pytest.mark.parametrize("error", [ValueError(SECRET), InvalidInput(SECRET)])
def test_exceptions_show_types_and_places_but_no_messages(written, error):
    lines = written(False)
    fail(error)
    for line in lines():
        assert SECRET not in json.dumps(line)
        assert type(error).__name__ in line["exception"]
        assert "KeyError" in line["exception"]
        assert "test_logs.py" in line["exception"]


def test_messages_about_the_system_are_shown(written):
    lines = written(False)
    get_log("toy").error("x", exc_info=StageUnavailable("the decoder is down"))
    get_log("toy").error("x", exc_info=FileNotFoundError(2, "gone", "weights"))
    assert "the decoder is down" in lines()[0]["exception"]
    assert "weights" in lines()[1]["exception"]


def test_texts_are_logged_where_they_are_asked_for(written):
    lines = written(True)
    fail(ValueError(SECRET))
    assert lines()[0]["input"] == SECRET
    assert f"ValueError: {SECRET}" in lines()[0]["exception"]
