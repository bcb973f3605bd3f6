"""A real Redis of one's own, on a free port."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import redis

from nextvec.errors import StartupError
from nextvec.ports import free_block

_START_SECONDS = 10


def redis_binary() -> str:
    """The system's redis-server, else the one that came with the development packages.

    Raises StartupError where there is none.
    """
    own = Path(sys.executable).parent / "redis-server"
    found = shutil.which("redis-server") or (str(own) if own.exists() else None)
    if found is None:
        raise StartupError(
            "no redis-server: install it with the system's package manager, or run `make redis`"
        )
    return found


class RedisProcess:
    """Redis on a free port of the loopback address, in memory alone; a context manager runs it."""

    def __init__(self, folder: Path, *directives: str, sentinel: bool = False) -> None:
        """`directives` are lines of its configuration, after those that all have in common."""
        self.port = free_block(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._directives = directives
        self._mode = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers; raises StartupError where it does not."""
        common = (f"port {self.port}", "bind 127.0.0.1", f'dir "{self._folder}"', 'save ""', "appendonly no")
        configuration = self._folder / "redis.conf"
        configuration.write_text("\n".join((*common, *self._directives, "")), encoding="utf-8")
        self._process = subprocess.Popen(
            [redis_binary(), configuration, *self._mode],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _START_SECONDS
        while not self.answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise StartupError(f"redis-server on port {self.port} does not start")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it is there."""
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def keys(self) -> int:
        """Number of keys it holds."""
        with redis.Redis(port=self.port) as client:
            return int(client.dbsize())

    def stop(self) -> None:
        """Ends it at once; without effect when it does not run."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
