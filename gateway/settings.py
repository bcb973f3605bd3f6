"""Settings of the gateway process."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from nextvec.addresses import Addresses
from nextvec.routes import stage_named
from nextvec.settings import ServerSettings


def _default(stage: str) -> str:
    return f"127.0.0.1:{stage_named(stage).port}"


def _reachable(setting: str) -> str:
    Addresses(setting)
    return setting


def _meaning(stage: str) -> str:
    return f"{stage}'s replicas: host:port, all addresses of a name, several with commas, or file:PATH"


Address = Annotated[str, AfterValidator(_reachable)]


class GatewaySettings(ServerSettings):
    """Where the stages are, how long each may take, and how much one request may ask."""

    encoder_address: Address = Field(_default("encoder"), description=_meaning("the encoder"))
    lvm_address: Address = Field(_default("lvm"), description=_meaning("the LVM stage"))
    snap_address: Address = Field(_default("snap"), description=_meaning("the snap stage"))
    decoder_address: Address = Field(_default("decoder"), description=_meaning("the decoder"))
    family: str = Field("mini", min_length=1, description="model family: a folder in artifacts/families")
    artifacts: Path = Field(Path("artifacts"), description="folder with families and models")
    drain_seconds: float = Field(
        50, ge=0, description="time that requests in flight have after SIGTERM; as long as the longest takes"
    )
    port_offset: int = Field(0, ge=0, le=50_000, description="added to the ports 9001 to 9006")
    budget_seconds: float = Field(3, gt=0, description="time of a request per chunk it generates, at most")
    encode_seconds: float = Field(2, gt=0, description="the encoder's share of a request's time, at most")
    lvm_seconds: float = Field(0.2, gt=0, description="the LVM's share, where the model is in memory")
    snap_seconds: float = Field(0.2, gt=0, description="the snap stage's share, at most")
    decode_seconds: float = Field(2, gt=0, description="the decoder's share for one chunk, at most")
    max_chunks: int = Field(16, ge=1, description="chunks that one request may generate")
    max_in_flight: int = Field(256, ge=1, description="requests worked on at once; more are refused")
    api_keys_file: Path | None = Field(
        None, description="JSON file of API keys, made with `nextvec keys`; unset lets everybody in"
    )
    breaker_window_seconds: float = Field(10, gt=0, description="time over which decoder calls are judged")
    breaker_share: float = Field(
        0.5, gt=0, le=1, description="share of refused, late or lost decoder calls that opens the breaker"
    )
    breaker_open_seconds: float = Field(
        2, gt=0, description="time for which the decoder is then left alone, and texts are quoted"
    )
