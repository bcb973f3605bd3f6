"""What `nextvec doctor` looks at. Each check finds something and, where it is wrong, says what to do."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from nextvec import weights
from nextvec.errors import NextvecError, PortInUse, StartupError
from nextvec.family import Family
from nextvec.ports import require_free
from nextvec.redis_address import RedisAddress
from nextvec.routes import ROUTES, STAGES
from nextvec.settings import variable

_PYTHON = (3, 11)

_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` says what to do; empty where all is well."""

    part: str
    check: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.remedy


def check_all(
    parts: list[str], family_name: str, artifacts: Path, redis_url: str | None
) -> Iterator[Finding]:
    """Every finding about the parts, as it is made."""
    yield _python()
    for part in ("core", *parts):
        yield _packages(part)
    try:
        family = Family.open(family_name, artifacts / "families")
    except NextvecError as error:
        yield Finding("core", "family", error.message, "give --family or --artifacts another value")
        return
    yield Finding("core", "family", f"{family.name}, {family.dimensions} dimensions, {family.folder}")
    if "encoder" in parts or "decoder" in parts:
        yield _encoder_weights(family)
    if "decoder" in parts:
        yield _decoder_part(family, "inverter")
        yield _decoder_part(family, "corrector")
    if {"encoder", "decoder", "lvm"} & set(parts):
        yield _kernel()
    if "lvm" in parts:
        yield from _models(family, artifacts / "lvm" / "models")
    if "snap" in parts:
        yield _bank(family)
    for part in parts:
        yield _ports(part)
    if "decoder" in parts or "encoder" in parts:
        yield _redis(redis_url)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    needed = ".".join(map(str, _PYTHON))
    return Finding("core", "python", found, "" if sys.version_info >= _PYTHON else f"install Python {needed}")


def _packages(part: str) -> Finding:
    """Whether what the part's extra names is installed, in versions that fit."""
    from packaging.requirements import Requirement

    extra = "" if part == "core" else part
    found, wrong = [], []
    for line in requires("nextvec") or []:
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        # What is wanted with no extra as well belongs to the core.
        if not wanted or (
            extra and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        ):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        found.append(f"{requirement.name} {installed}")
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, must be {requirement.specifier}")
    if wrong:
        target = f"'.[{extra}]'" if extra else "."
        return Finding(part, "packages", "; ".join(wrong), f"pip install -c requirements.lock -e {target}")
    return Finding(part, "packages", ", ".join(found) or "none of its own")


def _encoder_weights(family: Family) -> Finding:
    try:
        path = family.encoder_weights()
    except NextvecError as error:
        return Finding("encoder", "weights", error.message, "do what the message says")
    found, needed = weights.sha256(path), family.encoder.sha256
    if needed and found != needed:
        return Finding(
            "encoder",
            "weights",
            f"{path} has SHA-256 {found}, must have {needed}",
            "restore the official file",
        )
    return Finding("encoder", "weights", f"{path}, SHA-256 {found[:12]}")


def _decoder_part(family: Family, part: str) -> Finding:
    folder = family.part(part)
    remedy = f"restore {folder} from the repository, or train it again"
    files = [folder / name for name in ("config.json", "model.safetensors")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        return Finding("decoder", part, f"missing: {', '.join(missing)}", remedy)
    card_file = folder / "card.json"
    if not card_file.is_file():
        return Finding("decoder", part, f"{folder}, with no record of its training")
    try:
        own = family.space
        card = json.loads(card_file.read_text(encoding="utf-8"))
        digest, space = card["sha256"], card["space"]
    except NextvecError as error:
        return Finding("decoder", part, error.message, "do what the message says")
    except (ValueError, KeyError, TypeError) as error:
        return Finding("decoder", part, f"{card_file} is not a card: {error!r}", remedy)
    if weights.sha256(files[1]) != digest:
        return Finding("decoder", part, f"{files[1]} does not have the SHA-256 of its card", remedy)
    if space != own:
        return Finding("decoder", part, f"is for space {space}, the family's is {own}", remedy)
    return Finding("decoder", part, f"{card.get('parameters', 0):,} parameters, space {space}")


def _kernel() -> Finding:
    """Missing, it makes models slower and nothing wrong, so that there is nothing that has to be done."""
    try:
        from services.layers import compiled
    except ImportError:
        return Finding("core", "kernel", "is part of stages that compute with torch")
    reason = compiled.unusable()
    return Finding("core", "kernel", f"models run slower without: {reason}" if reason else "runs on this CPU")


def _models(family: Family, models: Path) -> Iterator[Finding]:
    from services.lvm.registry import WEIGHTS, ModelCard, production

    remedy = f"restore {models} from the repository, or train a model and promote it"
    for route in ROUTES:
        if not route.has_lvm:
            continue
        try:
            folder = production(models, route.name)
            card = ModelCard.read(folder)
            space = family.space
        except NextvecError as error:
            yield Finding("lvm", route.name, error.message, remedy)
            continue
        path = folder / WEIGHTS
        if not path.is_file() or weights.sha256(path) != card.sha256:
            yield Finding("lvm", route.name, f"{path} does not have the SHA-256 of its card", remedy)
        elif card.space != space:
            yield Finding("lvm", route.name, f"is for space {card.space}, the family's is {space}", remedy)
        else:
            chunks = sum(source.chunks for source in card.trained_on)
            data = f"{chunks:,} chunks of {len(card.trained_on)} sources"
            what = f"{card.name}, {card.parameters:,} parameters, trained on {data}"
            yield Finding("lvm", route.name, what)


def _bank(family: Family) -> Finding:
    own = os.environ.get(variable("bank"))
    remedy = "nextvec bank build artifacts/samples/articles, or a folder of yours"
    if own:
        remedy = f"nextvec bank build DOCUMENTS --out {own}, or correct {variable('bank')}"
    try:
        from services.snap.bank import Bank

        bank = Bank.open(Path(own) if own else family.part("bank"), family.space)
    except NextvecError as error:
        return Finding("snap", "bank", error.message, remedy)
    except ImportError as error:
        return Finding("snap", "bank", f"cannot be opened: {error}", "install the extra 'snap'")
    return Finding("snap", "bank", f"{len(bank):,} chunks of {bank.record.documents:,} documents")


def _ports(part: str) -> Finding:
    """Whether the part's usual ports are free; a part that runs there already is as well."""
    ports = [stage.port for stage in STAGES if stage.name == part] or [route.port for route in ROUTES]
    shown = str(ports[0]) if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"
    taken = []
    for port in ports:
        try:
            require_free("127.0.0.1", port)
        except PortInUse:
            taken.append(port)
        except NextvecError as error:
            return Finding(part, "ports", error.message, "choose other ports: nextvec up --help")
    if not taken:
        return Finding(part, "ports", f"{shown} free")
    if all(_is_serving(port) for port in taken):
        return Finding(part, "ports", f"{shown}: a server of this kind runs there")
    names = ", ".join(map(str, taken))
    return Finding(
        part,
        "ports",
        f"in use by another program: {names}",
        "stop it, or choose other ports: nextvec up --help",
    )


def _is_serving(port: int) -> bool:
    """Whether a gRPC server with the standard health service listens."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            stub.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except grpc.RpcError:
            return False
    return True


def _redis(url: str | None) -> Finding:
    url = url or os.environ.get(variable("redis_url"))
    if not url:
        return Finding(
            "decoder", "redis", f"{variable('redis_url')} is not set: each process has its own cache"
        )
    remedy = f"start it, or correct {variable('redis_url')}"
    try:
        address = RedisAddress.parse(url)
    except ValueError as error:
        return Finding("decoder", "redis", f"{variable('redis_url')}: {error}", remedy)
    try:
        asyncio.run(_ping(address))
    except StartupError:
        return Finding("decoder", "redis", "the client is not installed", "install the extra 'decoder'")
    except Exception as error:  # redis-py's own, and those of the network under it
        return Finding("decoder", "redis", f"{address} does not answer: {error!r}", remedy)
    return Finding("decoder", "redis", f"{address} answers")


async def _ping(address: RedisAddress) -> None:
    from nextvec.redis_client import RedisClient

    client = RedisClient(address, _PROBE_SECONDS)
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await client.ping()
    finally:
        await client.close()
