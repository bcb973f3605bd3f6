"""The command's start: `nextvec`, or `python -m nextvec.cli`."""

from nextvec.cli import app
from nextvec.logs import configure_logs


def main() -> None:
    """Runs the command. Results are on stdout; what is logged on the way goes to stderr, from warnings on."""
    configure_logs("warning")
    app(prog_name="nextvec")


if __name__ == "__main__":
    main()
