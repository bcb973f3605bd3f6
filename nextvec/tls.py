"""TLS credentials from PEM files, for servers and for clients."""

from pathlib import Path

import grpc

from nextvec.errors import StartupError
from nextvec.settings import TlsSettings, variable


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Credentials to listen with; None for plain text. With `tls_client_ca`, clients must be certified."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    pair = (_read(settings.tls_key, "tls_key"), _read(settings.tls_certificate, "tls_certificate"))
    client_ca = _read(settings.tls_client_ca, "tls_client_ca") if settings.tls_client_ca else None
    return grpc.ssl_server_credentials(
        [pair], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def client_credentials(settings: TlsSettings) -> grpc.ChannelCredentials | None:
    """Credentials to connect with; None for plain text. Shows the certificate where there is one."""
    if settings.tls_ca is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read(settings.tls_ca, "tls_ca"),
        private_key=_read(settings.tls_key, "tls_key") if settings.tls_key else None,
        certificate_chain=_read(settings.tls_certificate, "tls_certificate")
        if settings.tls_certificate
        else None,
    )


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{variable(field)}={str(path)!r}: {error.strerror}; name a PEM file") from None
