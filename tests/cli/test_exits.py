"""Every error ends a command with one line and its exit code."""

import pytest
import typer
from typer.testing import CliRunner

from nextvec.cli.exits import EXIT_CODES, CommandGroup, exit_code
from nextvec.errors import STATUS, NextvecError, PortInUse, UnknownRoute, WrongSpace


def failing(error):
    """An app whose only command raises `error`."""
    app = typer.Typer(cls=CommandGroup)

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None:
        """Makes the app a group."""

    return CliRunner().invoke(app, ["fail"])


def test_every_error_has_an_exit_code_and_none_is_success():
    def family(cls):
        yield cls
        for child in cls.__subclasses__():
            yield from family(child)

    for cls in family(NextvecError):
        if cls is not NextvecError:
            assert exit_code(cls("why")) > 0
    assert set(STATUS) <= set(EXIT_CODES)


@pytest.mark.parametrize(
    ("error", "code"), [(WrongSpace("a"), 4), (UnknownRoute("b"), 5), (PortInUse("c"), 2)]
)
def test_a_subclass_has_the_code_of_its_nearest_ancestor(error, code):
    assert failing(error).exit_code == code


def test_the_message_is_one_line_on_stderr_and_its_brackets_stay():
    result = failing(UnknownRoute("unknown route '[red]'; have amn"))
    assert result.stderr == "error: unknown route '[red]'; have amn\n"
    assert result.stdout == ""


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    missing = tmp_path / "missing.npy"
    result = failing(FileNotFoundError(2, "No such file or directory", str(missing)))
    assert result.exit_code == 3
    assert result.stderr.replace("\n", "") == f"error: {missing}: No such file or directory"


def test_a_bug_keeps_its_traceback():
    assert isinstance(failing(ZeroDivisionError("bug")).exception, ZeroDivisionError)
