"""Sends bad messages to every RPC of every process of a running system, and says what became of them.

`python -m tests.security.fuzz 100000` starts a system and sends that many; it prints the figures as JSON.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from nextvec.channel import open_channel
from nextvec.routes import GATEWAY_SERVICE, ROUTES, STAGES
from nextvec.v1 import decoder_pb2, encoder_pb2, gateway_pb2, lvm_pb2, snap_pb2
from nextvec.v1.vectors_pb2 import ErrorCode
from nextvec.vectors import to_block
from tests.e2e.running import PARAGRAPH, Running
from tests.security.mutation import messages

_PER_STREAM = 50
_SECONDS_PER_CALL = 120
_FORBIDDEN = {"INTERNAL", "UNKNOWN"}


@dataclass(frozen=True)
class Target:
    """One RPC of one process: a valid request, and the response's type, for its items' errors."""

    process: str
    address: str
    path: str
    valid: Message
    response: type[Message]
    stream: bool = True
    per_stream: int = _PER_STREAM


@dataclass
class Report:
    """What became of the messages. `statuses` counts RPCs and items by gRPC status and RPC."""

    sent: int = 0
    seconds: float = 0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    megabytes: dict[str, list[float]] = field(default_factory=dict)

    def count(self, target: Target, status: str, detail: str) -> None:
        """Counts one outcome; what must not be is kept with its words."""
        self.statuses.setdefault(target.path, Counter())[status] += 1
        if status in _FORBIDDEN:
            self.bad.append(f"{target.path}: {status}: {detail}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sent": self.sent,
            "seconds": round(self.seconds, 1),
            "forbidden": len(self.bad),
            "examples": self.bad[:20],
            "statuses": {path: dict(counts) for path, counts in sorted(self.statuses.items())},
            "megabytes": self.megabytes,
        }


def targets(system: Running, space: str) -> list[Target]:
    """Every RPC of every process; the gateway's on each of its ports."""
    rng = np.random.default_rng(5)
    block = to_block(rng.normal(size=768), space)
    five = to_block(rng.normal(size=(5, 768)), space)
    text = gateway_pb2.CompleteRequest(paragraph=PARAGRAPH, max_chunks=1, rungs=[0])
    stage = {
        "encoder": [("Encode", encoder_pb2.EncodeRequest(texts=["Rain fell."]), encoder_pb2.EncodeResponse)],
        "lvm": [
            ("Predict", lvm_pb2.PredictRequest(route="amn", context=five), lvm_pb2.PredictResponse),
            ("ListModels", lvm_pb2.ListModelsRequest(), None),
        ],
        "snap": [
            ("Project", snap_pb2.ProjectRequest(vector=block, context=five, k=4), snap_pb2.ProjectResponse),
            ("Search", snap_pb2.SearchRequest(query=block, k=4), snap_pb2.SearchResponse),
        ],
        "decoder": [
            (
                "Decode",
                decoder_pb2.DecodeRequest(
                    vector=block,
                    rungs=[0],
                    candidates=["Rain fell."],
                    candidate_vectors=to_block(rng.normal(size=(1, 768)), space),
                ),
                decoder_pb2.DecodeResponse,
            )
        ],
    }
    gateway = [
        ("Complete", text, None),
        ("Generate", gateway_pb2.GenerateRequest(request=text), gateway_pb2.GenerateResponse),
        ("ListRoutes", gateway_pb2.ListRoutesRequest(), None),
    ]
    found = []
    for name, service, rpcs in (
        *((s.name, s.service, stage[s.name]) for s in STAGES),
        *((route.name, GATEWAY_SERVICE, gateway) for route in ROUTES),
    ):
        process = name if name in stage else "gateway"
        address = system.address(name)
        for method, valid, response in rpcs:
            found.append(
                Target(process, address, f"/{service}/{method}", valid, response, stream=response is not None)
            )
        found += _standard(process, address)
    return found


def _standard(process: str, address: str) -> list[Target]:
    health = health_pb2.HealthCheckRequest(service="")
    listing = reflection_pb2.ServerReflectionRequest(list_services="", host="x")
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    return [
        Target(process, address, "/grpc.health.v1.Health/Check", health, None, stream=False),
        # It ends at the first bad message, and a client that still writes then calls that INTERNAL by itself.
        Target(process, address, path, listing, reflection_pb2.ServerReflectionResponse, per_stream=1),
    ]


async def fuzz(system: Running, space: str, count: int, *, seed: int = 1, at_once: int = 8) -> Report:
    """Sends `count` messages in equal parts to all targets."""
    report = Report()
    found = targets(system, space)
    share = -(-count // len(found))
    room = asyncio.Semaphore(at_once)
    started = time.monotonic()

    async def attack(index: int, target: Target) -> None:
        drawn = messages(seed * 1000 + index, target.valid, space, share)
        async with open_channel(target.address) as channel:
            while batch := list(islice(drawn, target.per_stream if target.stream else 1)):
                async with room:
                    report.sent += len(batch)
                    await (_stream if target.stream else _unary)(channel, target, batch, report)

    await asyncio.gather(*(attack(index, target) for index, target in enumerate(found)))
    report.seconds = time.monotonic() - started
    return report


async def _unary(channel: grpc.aio.Channel, target: Target, batch: Sequence[bytes], report: Report) -> None:
    call = channel.unary_unary(target.path)(batch[0], timeout=_SECONDS_PER_CALL)
    try:
        await call
        report.count(target, "OK", "")
    except grpc.RpcError as error:
        report.count(target, error.code().name, error.details() or "")


async def _stream(channel: grpc.aio.Channel, target: Target, batch: Sequence[bytes], report: Report) -> None:
    async def sending():
        for data in batch:
            yield data

    call = channel.stream_stream(target.path)(sending(), timeout=_SECONDS_PER_CALL)
    try:
        async for data in call:
            response: Any = target.response.FromString(data)
            if "error" in response.DESCRIPTOR.fields_by_name and response.HasField("error"):
                code = ErrorCode.Name(response.error.code).removeprefix("ERROR_CODE_")
                report.count(target, code, response.error.message)
            elif target.path.startswith("/nextvec"):
                report.count(target, "OK", "")
    except grpc.RpcError as error:
        report.count(target, f"{error.code().name}", error.details() or "")


def resident(system: Running) -> dict[str, float]:
    """Resident memory of every process, in MB."""
    return {
        name: round(psutil.Process(pid).memory_info().rss / 2**20, 1)
        for name, pid in system.where["pids"].items()
    }


def space_of(system: Running) -> str:
    """The space that the system works in, which also shows that it works."""
    with system.client("direct") as client:
        return client.complete(PARAGRAPH).response.space


def bugs(system: Running) -> list[str]:
    """Lines of the processes' logs that tell of a bug."""
    return [
        line[:400]
        for path in sorted(Path(system.logs).glob("*.log"))
        for line in path.read_text().splitlines()
        if '"event": "bug"' in line or "Traceback" in line
    ]


def main(count: int) -> int:
    """Starts a system, sends `count` messages and prints the figures; 1 where there was a fault."""
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder), "--timeout", "600") as system:
        space = space_of(system)
        warm = asyncio.run(fuzz(system, space, count // 10, seed=99))
        figures = [resident(system)]
        reports = []
        for part in range(4):
            reports.append(asyncio.run(fuzz(system, space, count // 4, seed=part)))
            figures.append(resident(system))
        whole = Report(sent=sum(r.sent for r in reports), seconds=sum(r.seconds for r in reports))
        for report in (*reports, warm):
            whole.bad += report.bad
            for path, counts in report.statuses.items():
                whole.statuses.setdefault(path, Counter()).update(counts)
        whole.megabytes = {name: [f[name] for f in figures] for name in figures[0]}
        found = bugs(system)
        answered = bool(space_of(system))
        print(json.dumps({**whole.as_dict(), "bugs_logged": found[:20], "answers_after": answered}, indent=2))
        return int(bool(whole.bad or found or not answered))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
