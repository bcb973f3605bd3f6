"""How a command fails: one line on stderr, and an exit code from the one table.

0    done
1    ran and found something wrong: a problem, a route that fails, a process that died; or a bug
2    wrong usage or settings, or a process cannot start
3    the input is wrong
4    the system is not in the state the command needs, such as vectors of another space
5    a name is not known
6    nobody answers, or a stage is down
7    a queue is full
8    the time is over
9    the caller did not identify itself
10   the caller is known and may not do this
130  interrupted
"""

from typing import Any

from rich.console import Console
from rich.text import Text
from typer import Exit
from typer.core import TyperGroup

from nextvec.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidInput,
    NextvecError,
    NotFound,
    PermissionDenied,
    QueueFull,
    StageUnavailable,
    StartupError,
    Unauthenticated,
)

FOUND_WRONG = 1
"""The command ran, and what it looked at is not as it should be."""

EXIT_CODES: dict[type[NextvecError], int] = {
    InternalError: FOUND_WRONG,
    StartupError: StartupError.exit_code,
    InvalidInput: 3,
    FailedPrecondition: 4,
    NotFound: 5,
    StageUnavailable: 6,
    QueueFull: 7,
    DeadlineExceeded: 8,
    Unauthenticated: 9,
    PermissionDenied: 10,
    Cancelled: 130,
}
"""A subclass has the code of its nearest ancestor here."""


def exit_code(error: NextvecError) -> int:
    """The exit code of an error, by the nearest of its classes in the table."""
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


def say(message: str, kind: str = "error", style: str = "bold red") -> None:
    """Prints one line on stderr, `kind` in front; text of the user's is never taken for markup."""
    line = Text.assemble((f"{kind}: ", style), message)
    Console(stderr=True).print(line, soft_wrap=True)


class CommandGroup(TyperGroup):
    """Turns the errors of every command into a line and an exit code; a bug keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NextvecError as error:
            say(error.message)
            raise Exit(exit_code(error)) from None
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            say(f"{error.filename}: {error.strerror}")
            raise Exit(EXIT_CODES[InvalidInput]) from None
