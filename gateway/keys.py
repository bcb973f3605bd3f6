"""The gateway's API keys: a JSON file with one entry per key, read again when it changes.

    {"keys": [{"id": "newsroom", "sha256": "9f86...", "requests_per_second": 5, "routes": ["amn"]}]}

Only digests are stored. Secrets are 256 random bits, which nobody finds by trying, so one SHA-256 is enough;
slow password hashes guard what people choose, and would cost tens of milliseconds on every request.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from nextvec.apikey import HOW, require_id, shown_key
from nextvec.errors import NextvecError, NotFound, PermissionDenied, StartupError, Unauthenticated
from nextvec.logs import get_log
from nextvec.routes import route_named

log = get_log(__name__)

CHECK_SECONDS = 1.0
"""How often the file is looked at, at most: a revoked key works no longer than that."""


def _route(name: str) -> str:
    try:
        return route_named(name).name
    except NextvecError as error:
        raise ValueError(error.message) from None


class ApiKey(BaseModel):
    """One key, without its secret. A limit that is unset is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(require_id)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the secret, hexadecimal")
    requests_per_second: float | None = Field(None, gt=0, description="completions, on average")
    chunks_per_minute: int | None = Field(None, ge=1, description="generated chunks, on average")
    expires: AwareDatetime | None = Field(None, description="from when on it is refused")
    routes: tuple[Annotated[str, AfterValidator(_route)], ...] | None = Field(
        None, min_length=1, description="routes it may use; unset for all"
    )

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now >= self.expires


holder: ContextVar[ApiKey | None] = ContextVar("nextvec_gateway_key", default=None)
"""The key that the RPC being served came with, as it was then; None where none is asked for."""


class KeyFile(BaseModel):
    """All keys of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [key.id for key in self.keys]
        if twice := {key_id for key_id in ids if ids.count(key_id) > 1}:
            raise ValueError(f"ids {sorted(twice)} are there more than once; each key needs its own")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's keys. Raises StartupError naming the file, the entry and the fault, never a value."""
        try:
            return cls.model_validate(json.loads(path.read_bytes()))
        except OSError as error:
            raise StartupError(f"{path}: {error.strerror}; make it with `nextvec keys create`") from None
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "the file"
            raise StartupError(f"{path}: {place}: {problem['msg']}") from None
        except ValueError as error:
            raise StartupError(f"{path} is not JSON: {error}") from None
        except RecursionError:
            raise StartupError(
                f"{path} is nested too deeply; must be an object with one list of keys"
            ) from None

    def write(self, path: Path) -> None:
        """Replaces the file in one step, so that no reader sees half of it.

        Who may read it stays as it was, as far as this process may say so; a new file is its owner's alone.
        """
        content = json.dumps(self.model_dump(mode="json", exclude_none=True), indent=2) + "\n"
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(content)
                _copy_access(path, file.fileno())
            os.replace(draft, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            raise

    def with_key(self, key: ApiKey) -> "KeyFile":
        """The file with one key more; raises ValidationError where its id is taken."""
        return KeyFile(keys=(*self.keys, key))

    def without(self, key_id: str) -> "KeyFile":
        """The file without a key; raises NotFound where it has none of this id."""
        left = tuple(key for key in self.keys if key.id != key_id)
        if len(left) == len(self.keys):
            have = ", ".join(key.id for key in self.keys) or "none"
            raise NotFound(f"unknown key {key_id!r}; have {have}")
        return KeyFile(keys=left)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held from reading a file of keys until it is written: one change at a time, between processes as well.

    The file itself is replaced, so its folder is the lock. Raises StartupError where that cannot be read.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StartupError(f"{path.parent}: {error.strerror}; make the folder of the keys first") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def new_secret() -> tuple[str, str]:
    """A fresh secret and its digest."""
    secret = secrets.token_hex(32)
    return secret, digest(secret)


def digest(secret: str) -> str:
    """What the file keeps of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keyring:
    """The keys that hold now."""

    def __init__(self, path: Path) -> None:
        """Raises StartupError where the file cannot be read, for a gateway must not start half open."""
        self._path = path
        self._seen = _signature(path)
        self._problem = ""
        self._keys = _by_id(KeyFile.read(path).keys)
        self._checked = time.monotonic()

    def authenticate(self, authorization: str | bytes | None, route: str) -> ApiKey:
        """The key that a call to `route` shows in its metadata.

        Raises Unauthenticated where there is none, or a wrong or expired one, and PermissionDenied where it
        is not for this route. No message says more to somebody who does not know the secret.
        """
        self._follow()
        if authorization is None:
            raise Unauthenticated(f"this gateway needs an API key; {HOW}")
        key_id, secret = shown_key(authorization)
        key = self._keys.get(key_id)
        # An unknown id is compared as well, so that the time does not tell which ids there are.
        expected = key.sha256 if key else digest("")
        if not hmac.compare_digest(digest(secret), expected) or key is None:
            raise Unauthenticated("the API key is not known here; ask the operator for one")
        _require_use(key, route)
        return key

    def confirm(self, shown: ApiKey, route: str) -> ApiKey:
        """The key that a call was let in with, as it is now: a stream may outlive its key.

        Raises Unauthenticated where it was revoked or has expired, and PermissionDenied where it is no longer
        for this route. A new key under the same id is another one.
        """
        self._follow()
        key = self._keys.get(shown.id)
        if key is None or key.sha256 != shown.sha256:
            raise Unauthenticated(f"API key {shown.id!r} was revoked; ask the operator for another")
        _require_use(key, route)
        return key

    def _follow(self) -> None:
        """Takes over the file where it has changed; one that cannot be read leaves the keys as they are."""
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        signature = _signature(self._path)
        if signature == self._seen:
            return
        try:
            self._keys = _by_id(KeyFile.read(self._path).keys)
        except StartupError as error:
            # It counts as seen once it was read: what is in the way may pass without the file changing.
            if error.message != self._problem:
                log.error("api keys not reloaded", problem=error.message, keys=len(self._keys))
            self._problem = error.message
            return
        self._seen, self._problem = signature, ""
        log.info("api keys reloaded", keys=len(self._keys))


def _require_use(key: ApiKey, route: str) -> None:
    if key.expires and key.expired(datetime.now(UTC)):
        raise Unauthenticated(
            f"API key {key.id!r} expired at {key.expires.isoformat()}; ask the operator for another"
        )
    if key.routes is not None and route not in key.routes:
        raise PermissionDenied(f"API key {key.id!r} is not for route {route!r}; have {', '.join(key.routes)}")


def _copy_access(path: Path, handle: int) -> None:
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    # Apart, for who may not give a file away may still hand it to a group of their own; and the owner last,
    # who alone may change the rest.
    with suppress(PermissionError):
        os.fchown(handle, -1, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode))
    with suppress(PermissionError):
        os.fchown(handle, old.st_uid, -1)


def _by_id(keys: Iterable[ApiKey]) -> dict[str, ApiKey]:
    return {key.id: key for key in keys}


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Tells one content of a file from the next; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
