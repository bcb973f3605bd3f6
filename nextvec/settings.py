"""Settings of a process: one frozen object, built once in `__main__` from a mapping such as `os.environ`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from nextvec.errors import SettingsError
from nextvec.redis_address import RedisAddress

PREFIX = "NEXTVEC_"


class Settings(BaseModel):
    """Base of all settings: field `max_batch` is read from `NEXTVEC_MAX_BATCH`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str], **defaults: object) -> Self:
        """Builds the settings; `defaults` stand in for variables that are not set or are empty.

        Raises SettingsError with one line for every bad value, naming the variable and what would be right.
        """
        values = dict(defaults)
        for name in cls.model_fields:
            text = mapping.get(variable(name), "")
            if text:
                values[name] = text
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("\n".join(_lines(cls, error))) from None


class TlsSettings(Settings):
    """Paths of PEM files. Everything unset means plain text."""

    tls_certificate: Path | None = Field(None, description="certificate chain this process shows")
    tls_key: Path | None = Field(None, description="private key of the certificate")
    tls_client_ca: Path | None = Field(None, description="CA that clients must prove to be certified by")
    tls_ca: Path | None = Field(None, description="CA that this process, as a client, trusts; turns TLS on")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{variable('tls_certificate')} and {variable('tls_key')} go together: set both")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError(f"{variable('tls_client_ca')} needs {variable('tls_certificate')} to be set")
        return self


class ClientSettings(TlsSettings):
    """What a client of a gateway needs."""

    api_key: SecretStr | None = Field(None, description="API key; unset where the gateway asks for none")


class ServerSettings(TlsSettings):
    """What every server process needs."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Prometheus port, 0 for a free one, unset for none"
    )
    max_message_bytes: int = Field(32 * 2**20, ge=2**16, description="largest message, either way, in bytes")
    max_streams_per_connection: int = Field(
        1024, ge=1, description="calls open on one connection; more wait at the client"
    )
    max_connection_age_seconds: float = Field(
        300, gt=0, description="age at which clients are told to reconnect, so that they find new replicas"
    )
    drain_seconds: float = Field(10, ge=0, description="time that requests in flight have after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["auto", "json", "human"] = Field(
        "auto", description="auto is human on a terminal and JSON elsewhere"
    )
    log_text: bool = Field(False, description="whether logs hold the texts of requests and answers")
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector; unset for no traces")


class StageSettings(ServerSettings):
    """What every stage needs; each stage's own settings subclass this."""

    port: int = Field(ge=0, le=65535, description="port to listen on, 0 for a free one")
    family: str = Field("mini", min_length=1, description="model family: a folder in artifacts/families")
    artifacts: Path = Field(Path("artifacts"), description="folder with families and models")
    queue_limit: int = Field(256, ge=1, description="units of work that may wait; more are refused")
    max_batch: int = Field(32, ge=1, description="units of work computed together")
    max_wait_ms: float = Field(2, ge=0, description="milliseconds that work waits for company at most")
    redis_url: SecretStr | None = Field(None, description="cache; unset for the in-process one alone")
    redis_timeout_ms: float = Field(
        100, gt=0, le=10_000, description="milliseconds that a request waits for Redis at most"
    )

    @field_validator("redis_url")
    @classmethod
    def _known_form(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            RedisAddress.parse(url.get_secret_value())
        return url


def variable(field: str) -> str:
    """Name of the variable that sets `field`."""
    return PREFIX + field.upper()


def _lines(cls: type[Settings], error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = str(problem["loc"][0])
        field = cls.model_fields.get(name)
        meaning = f" ({field.description})" if field and field.description else ""
        if problem["type"] == "missing":
            lines.append(f"{variable(name)} is not set; it is required{meaning}")
        else:
            shown = "" if field and _is_secret(field) else f"={problem['input']!r}"
            reason = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{variable(name)}{shown}: {_lower(reason)}{meaning}")
    return lines


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
