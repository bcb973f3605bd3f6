"""Logs: JSON lines on stderr, or coloured text on a terminal. Results go to stdout, never logs.

No line holds text of the user's unless that is asked for. Two things could carry it: the fields named in
TEXT_FIELDS, which are left out, and the messages of exceptions, of which only the type and the places in the
code are shown.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from nextvec.errors import InvalidInput, NextvecError, NotFound

TEXT_FIELDS = frozenset({"input", "output", "input_error"})
"""Fields that hold, or may quote, what the user sent or got."""

_QUOTE_NOTHING = (NextvecError, OSError, MemoryError, ImportError)
"""Exceptions whose messages are about the system, except those of them that are about the input."""


def configure_logs(
    level: str = "info", style: str = "auto", stream: TextIO | None = None, *, texts: bool = False
) -> None:
    """Sends structlog's and the standard library's records of at least `level` to `stream` (stderr).

    `style` is "json", "human", or "auto" for human on a terminal. With `texts` the lines hold the texts of
    requests and answers, and the messages of exceptions.
    """
    stream = stream or sys.stderr
    human = style == "human" or (style == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [*([] if texts else [_without_texts]), _exceptions(texts)]
    last.append(_console(stream) if human else structlog.processors.JSONRenderer())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_log(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `get_log(__name__).info("event", key=value)`."""
    return structlog.stdlib.get_logger(name)


def _console(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=stream.isatty())


def _without_texts(logger: Any, name: str, event: EventDict) -> EventDict:
    for field in TEXT_FIELDS & event.keys():
        del event[field]
    return event


def _exceptions(texts: bool) -> Processor:
    """Turns `exc_info` into text here, for the renderers' own way shows messages and local variables."""

    def render(exc_info: Any) -> str:
        error = exc_info[1]
        if texts:
            return "".join(traceback.format_exception(error)).rstrip()
        return "\nafter\n".join("".join(_places(e)) + _headline(e) for e in _chain(error))

    return structlog.processors.ExceptionRenderer(render)


def _places(error: BaseException) -> list[str]:
    return traceback.format_tb(error.__traceback__)


def _headline(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, _QUOTE_NOTHING) and not isinstance(error, InvalidInput | NotFound):
        return f"{name}: {error}"
    return f"{name} (its message may quote the user; NEXTVEC_LOG_TEXT=true shows it)"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, those in its group, and whatever it was raised after."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
