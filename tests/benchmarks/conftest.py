"""Running the command inside the test's process."""

from tests.cli.conftest import nextvec

__all__ = ["nextvec"]
