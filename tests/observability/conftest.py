"""A whole real system that exports metrics and traces, after requests that succeed and that fail."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from nextvec.channel import open_blocking_channel
from nextvec.cli.layout import Layout, artifacts_folder, processes
from nextvec.client import Client
from nextvec.errors import NextvecError
from nextvec.ports import free_block
from nextvec.settings import variable
from nextvec.v1.gateway_pb2 import CompleteRequest
from nextvec.v1.gateway_pb2_grpc import GatewayServiceStub
from tests.e2e.running import PARAGRAPH

START_SECONDS = 240
SECRET = "The zanzibarine cartographer Quillfeather hid her ledger under the seventh stair."
BAD = "Quillfeather \x07 ledger"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it gets."""

    def __init__(self):
        self.received = []
        self.server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.endpoint = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Export(self, request, context):
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self):
        """(service, span) of everything so far."""
        return [
            (next(a.value.string_value for a in r.resource.attributes if a.key == "service.name"), span)
            for request in self.received
            for r in request.resource_spans
            for scope in r.scope_spans
            for span in scope.spans
        ]


class Observed:
    """The processes, their metrics and logs, and the collector."""

    def __init__(self, folder, collector, stack):
        self.collector = collector
        self.layout = Layout.at(None, None)
        told = {f"NEXTVEC_{name}_SECONDS": "60" for name in ("BUDGET", "ENCODE", "LVM", "SNAP", "DECODE")}
        told |= {"NEXTVEC_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        told |= {"NEXTVEC_LOG_LEVEL": "debug", "NEXTVEC_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.logs, self.metrics_ports = {}, {}
        specs = processes(self.layout, {**os.environ, **told}, family="mini", artifacts=artifacts_folder())
        until = time.monotonic() + START_SECONDS
        # The gateway comes last, as with `nextvec up`: its first requests must find every stage.
        for in_front in (False, True):
            running = [(spec, self._start(spec, folder, stack)) for spec in specs if spec.last == in_front]
            for spec, process in running:
                self._wait(spec, process, until)

    def _start(self, spec, folder, stack):
        port = self.metrics_ports[spec.name] = free_block(1)
        self.logs[spec.name] = folder / f"{spec.name}.log"
        log = stack.enter_context(self.logs[spec.name].open("w"))
        process = subprocess.Popen(
            [sys.executable, "-m", "nextvec.child", spec.module],
            env={**spec.environment, variable("metrics_port"): str(port)},
            stdout=log,
            stderr=log,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    def _wait(self, spec, process, until):
        with grpc.insecure_channel(f"127.0.0.1:{spec.ports[-1]}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < until and process.poll() is None:
                try:
                    if health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1:
                        return
                except grpc.RpcError:
                    time.sleep(0.2)
        raise RuntimeError(f"{spec.name} did not come up: {self.logs[spec.name].read_text()[-2000:]}")

    def client(self, route="amn"):
        return Client(self.layout.address(route), timeout=60)

    def complete(self, text, request_id, route="amn"):
        """Asks under a request id, which the client library does not let one choose."""
        with open_blocking_channel(self.layout.address(route)) as channel:
            request = CompleteRequest(paragraph=text, request_id=request_id)
            return GatewayServiceStub(channel).Complete(request, timeout=60)

    def scrape(self, name):
        """Metric families of a process by the name that a query uses."""
        url = f"http://127.0.0.1:{self.metrics_ports[name]}/metrics"
        with urllib.request.urlopen(url, timeout=30) as page:
            text = page.read().decode()
        families = text_string_to_metric_families(text)
        return {f.name + ("_total" if f.type == "counter" else ""): f for f in families}

    def lines(self, name):
        """The log lines of a process, as JSON."""
        return [json.loads(line) for line in self.logs[name].read_text().splitlines() if line[:1] == "{"]


@pytest.fixture(scope="session")
def observed(tmp_path_factory):
    """After a new and a repeated request, one through `direct`, one of Generate, and two that fail."""
    with ExitStack() as stack:
        collector = Collector()
        stack.callback(collector.server.stop, None)
        system = Observed(tmp_path_factory.mktemp("observed"), collector, stack)
        system.complete(PARAGRAPH, "new-1")
        system.complete(PARAGRAPH, "again-1")
        system.complete(SECRET, "direct-1", route="direct")
        with system.client() as client:
            assert list(client.generate(SECRET))
            for text, options in ((BAD, {}), (SECRET, {"snap_policy": "Quillfeather"})):
                with pytest.raises(NextvecError):
                    client.complete(text, **options)
        yield system
