"""The same command as `python -m nextvec.cli`."""

from nextvec.cli import app

app(prog_name="nextvec")
