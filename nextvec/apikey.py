"""API keys as clients hold and send them: `nv_<id>_<secret>`, in the metadata of every call.

The id is public: logs and metrics name it. The secret is 32 random bytes in hexadecimal.
"""

import re

from pydantic import SecretStr

from nextvec.errors import Unauthenticated

METADATA_KEY = "authorization"

_SCHEME = "Bearer "
_TOKEN = re.compile(r"nv_([a-z0-9][a-z0-9-]{0,31})_([0-9a-f]{64})")

HOW = "send the metadata `authorization: Bearer nv_<id>_<secret>`, or set NEXTVEC_API_KEY"
"""The remedy for a call without a usable key."""


def credentials(key: SecretStr | str | None) -> tuple[tuple[str, str], ...]:
    """The metadata that shows `key`; none without one.

    Raises Unauthenticated where it does not look like a key. The message does not quote it.
    """
    if key is None:
        return ()
    token = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not _TOKEN.fullmatch(token):
        raise Unauthenticated(
            "the API key has not the form nv_<id>_<secret> that `nextvec keys create` prints"
        )
    return ((METADATA_KEY, f"{_SCHEME}{token}"),)


def shown_key(value: str | bytes) -> tuple[str, str]:
    """Id and secret out of the metadata's value; raises Unauthenticated where it has not that form."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    found = _TOKEN.fullmatch(text[len(_SCHEME) :]) if text.startswith(_SCHEME) else None
    if not found:
        raise Unauthenticated(f"the API key cannot be read; {HOW}")
    return found[1], found[2]


def token(key_id: str, secret: str) -> str:
    """The key in one piece, as the client gets it."""
    return f"nv_{key_id}_{secret}"


def require_id(key_id: str) -> str:
    """Returns an id; raises ValueError where it is none."""
    if not _TOKEN.fullmatch(token(key_id, "0" * 64)):
        raise ValueError(
            f"id is {key_id!r}; must be 1 to 32 lower-case letters, digits and hyphens, no hyphen in front"
        )
    return key_id
