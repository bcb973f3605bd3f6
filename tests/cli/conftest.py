"""Running the command inside the test's process."""

import pytest
from typer.testing import CliRunner

from nextvec.cli import app


@pytest.fixture
def nextvec():
    """`nextvec("routes", "--json")` runs a command and returns code, stdout and stderr."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return run
