"""The real system as a user starts it: `nextvec up` in a process of its own."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from nextvec.client import Client

START_SECONDS = 180
PATIENCE_SECONDS = "60"
"""For stages, and to drain: these tests are about what is answered, on machines that may be busy."""

PARAGRAPH = (
    "The river had been rising since Sunday, and by Tuesday it stood at the foot of the garden wall. "
    "My father carried the chairs upstairs and rolled the carpets into long heavy tubes. "
    "The neighbours came with a boat and asked whether we needed bread. "
    "In the night the rain stopped, and we heard nothing but the water moving in the street. "
    "The next morning the first stones of the wall were dry again."
)
"""Five sentences, as many as an LVM reads."""


class Running:
    """A system that runs; leaving it as a context manager stops it."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        """Starts it on free ports and waits until it is up; raises RuntimeError with its words if not."""
        self.logs = folder / "logs"
        self._stderr = folder / "stderr.txt"
        budgets = ("BUDGET", "ENCODE", "LVM", "SNAP", "DECODE", "DRAIN")
        told = {f"NEXTVEC_{name}_SECONDS": PATIENCE_SECONDS for name in budgets}
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--free-ports", "--json", "--log-dir", str(self.logs), *arguments],
                env={**os.environ, **told, **environment},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.kill()
            raise RuntimeError(f"`nextvec up` did not come up; it said:\n{self.said()}")
        self.where = json.loads(line)

    def said(self) -> str:
        """What it printed on stderr so far."""
        return self._stderr.read_text()

    def address(self, name: str) -> str:
        """Where a route or a stage listens."""
        port = self.where["routes"].get(name) or self.where["stages"][name][0]
        return f"{self.where['host']}:{port}"

    def client(self, route: str = "amn") -> Client:
        """A client of one route's port."""
        return Client(self.address(route), timeout=60)

    def pid(self, name: str) -> int:
        """Process id of a stage or the gateway."""
        return self.where["pids"][name]

    def terminate(self) -> None:
        """Asks it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60) -> int:
        """Waits for its end and returns the exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Ends it at once; its processes end with it."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.stdout.close()


COMMAND = (sys.executable, "-m", "nextvec.cli")


def nextvec(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Runs a command to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def eventually(happens, seconds: float = 20) -> bool:
    """Whether `happens()` becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if happens():
            return True
        time.sleep(0.1)
    return False
