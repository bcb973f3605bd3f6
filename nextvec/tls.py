"""TLS credentials from PEM files, for servers and for clients. Servers follow files that are replaced."""

import ssl
from pathlib import Path
from typing import Any

import grpc

from nextvec.errors import StartupError
from nextvec.logs import get_log
from nextvec.settings import TlsSettings, variable

log = get_log(__name__)

_SERVER_FIELDS = ("tls_certificate", "tls_key", "tls_client_ca")
_CLIENT_FIELDS = ("tls_certificate", "tls_key", "tls_ca")

_Signature = tuple[tuple[int, int, int] | None, ...]


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Credentials to listen with; None for plain text. With `tls_client_ca`, clients must be certified.

    Each new connection is served with the files as they are then; connections that are open stay open.
    Files that do not fit together are not taken: the ones before hold on, and the log says why. Raises
    StartupError where they do not fit now.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = _ServerFiles(settings)
    # None says that nothing has changed, which the types do not know.
    renewed: Any = files.renewed
    return grpc.dynamic_ssl_server_credentials(
        files.read(), renewed, require_client_authentication=settings.tls_client_ca is not None
    )


def client_credentials(settings: TlsSettings) -> grpc.ChannelCredentials | None:
    """Credentials to connect with; None for plain text. Shows the certificate where there is one.

    They are the files of now: a channel keeps them, and one opened later has newer ones. Raises StartupError
    where one is missing or they do not fit together, such as a pair of which one half is replaced.
    """
    if settings.tls_ca is None:
        return None
    while True:
        before = client_files(settings)
        _require_fit(settings, _CLIENT_FIELDS)
        certificate, key, authority = (_read(settings, field) for field in _CLIENT_FIELDS)
        # What was replaced while it was read may not be what was checked.
        if client_files(settings) == before:
            return grpc.ssl_channel_credentials(
                root_certificates=authority, private_key=key, certificate_chain=certificate
            )


def client_files(settings: TlsSettings) -> _Signature:
    """Tells one content of a client's files from the next: where it differs, a new channel is due."""
    return _signature(settings, _CLIENT_FIELDS)


class _ServerFiles:
    """A server's files, read again once they have changed."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._seen: _Signature = ()
        self._problem = ""

    def read(self) -> grpc.ServerCertificateConfiguration:
        """The files as they are; raises StartupError where one is missing or they do not fit together."""
        seen = _signature(self._settings, _SERVER_FIELDS)
        _require_fit(self._settings, _SERVER_FIELDS)
        certificate, key, authority = (_read(self._settings, field) for field in _SERVER_FIELDS)
        assert key is not None
        assert certificate is not None
        # Only now: files that cannot be read are tried again, for what is in the way may pass.
        self._seen = seen
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The files where they have changed, else None. gRPC asks before each handshake, on its own thread.

        Must not raise: that would fail the handshake.
        """
        before = _signature(self._settings, _SERVER_FIELDS)
        if before == self._seen:
            return None
        try:
            renewed = self.read()
        except StartupError as error:
            if error.message != self._problem:
                log.error("certificates not reloaded", problem=error.message)
            self._problem = error.message
            return None
        self._problem = ""
        if _signature(self._settings, _SERVER_FIELDS) != before:
            # Replaced while being read, perhaps one of a pair: the next connection looks again.
            self._seen = ()
            return None
        log.info("certificates reloaded", certificate=str(self._settings.tls_certificate))
        return renewed


def _require_fit(settings: TlsSettings, fields: tuple[str, ...]) -> None:
    """Certificate, key and authorities, in this order; what is unset is left out.

    gRPC would take a key of another certificate and fail every handshake.
    """
    certificate, key, authority = (getattr(settings, field) for field in fields)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate:
            context.load_cert_chain(certificate, key)
        if authority:
            context.load_verify_locations(authority)
    except FileNotFoundError:
        for field in fields:
            _read(settings, field)
    except (OSError, ValueError) as error:
        names = ", ".join(variable(field) for field in fields)
        raise StartupError(
            f"{names}: {error}; must be a matching certificate and key in PEM, and authorities in PEM"
        ) from None


def _read(settings: TlsSettings, field: str) -> bytes | None:
    path: Path | None = getattr(settings, field)
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{variable(field)}={str(path)!r}: {error.strerror}; name a PEM file") from None


def _signature(settings: TlsSettings, fields: tuple[str, ...]) -> _Signature:
    return tuple(_signature_of(getattr(settings, field)) for field in fields)


def _signature_of(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
