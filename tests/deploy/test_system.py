"""The images' recipe carried out: each process with its own packages, its own models and its own settings.

Containers are not needed for that: the wheel is built of what the build file copies, the packages are those
of the stage's extra, the script of the init container copies the models, and the settings are the overlay's.
Ports, addresses and the gateway's patience are the only things that differ.
"""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextvec.client import Client
from nextvec.family import Family
from nextvec.ports import free_block
from nextvec.routes import ROUTES, STAGES
from nextvec.settings import variable
from tests.deploy.dockerfile import PATH, Dockerfile
from tests.deploy.installed import Installed, build_wheel
from tests.deploy.rendering import DEPLOY, PROCESSES, ROOT

PATIENCE = {variable(f"{part}_seconds"): "60" for part in ("budget", "encode", "lvm", "snap", "decode")}
"""Of the gateway with stages: this is about what is answered, on machines that may be busy."""

START_SECONDS = 600
"""For all five together, on a machine that is busy."""


class Container:
    """One process, as its pod would run it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.site = folder / "site"
        self.models = folder / "models"
        self.tmp = folder / "tmp"
        self.log = folder / "log"
        self.packages: set[str] = set()
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None

    def python(self, *arguments: str) -> list[str]:
        """A command line that sees this container's packages alone."""
        return [sys.executable, "-S", *arguments]

    def start(self, module: str) -> None:
        """Starts the process."""
        with self.log.open("w") as log:
            command = self.python("-m", module)
            self.process = subprocess.Popen(
                command, cwd=self.tmp, env=self.environment, stdout=log, stderr=log
            )

    def health_check(self) -> subprocess.CompletedProcess:
        """What the image's health check does."""
        command = self.python("-m", "nextvec.probe", self.name)
        return subprocess.run(
            command, cwd=self.tmp, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def files(self) -> dict[str, int]:
        """What is in the file system that a container may only read, with the times of its changes."""
        roots = (self.site, self.models)
        return {str(path): path.lstat().st_mtime_ns for root in roots for path in root.rglob("*")}


@pytest.fixture(scope="module")
def source_models(tmp_path_factory):
    """What the image of models holds: the repository's, the public encoder included."""
    folder = tmp_path_factory.mktemp("source") / "models"
    mini = Family.open("mini")
    for part in ("families/mini", "lvm"):
        shutil.copytree(
            ROOT / "artifacts" / part,
            folder / part,
            symlinks=True,
            copy_function=os.symlink,
            dirs_exist_ok=True,
        )
    encoder = folder / "families" / "mini" / "encoder" / "model.safetensors"
    if not encoder.exists():
        encoder.symlink_to(mini.encoder_weights())
    return folder


@pytest.fixture(scope="module")
def containers(rendered, source_models, tmp_path_factory):
    """All five processes of the overlay `cpu`, running."""
    manifests = rendered("cpu")
    (stage,) = (stage for stage in Dockerfile(PATH.read_text()).stages if stage.name == "wheel")
    copied = [path for text in stage.all("COPY") for path in text.split()[:-1]]
    wheel = build_wheel(copied, tmp_path_factory.mktemp("wheel"))
    installed = Installed()
    first = free_block(len(PROCESSES) + len(STAGES) + len(ROUTES))
    metrics = dict(zip(PROCESSES, range(first, first + len(PROCESSES)), strict=True))
    routes = first + len(PROCESSES)
    ports = {stage.name: routes + len(ROUTES) + index for index, stage in enumerate(STAGES)}
    addresses = {variable(f"{name}_address"): f"127.0.0.1:{port}" for name, port in ports.items()}
    running = {}
    try:
        for name in PROCESSES:
            running[name] = container = Container(name, tmp_path_factory.mktemp(name))
            container.tmp.mkdir()
            container.models.mkdir()
            container.packages = installed.install(wheel, {name, "otel"}, container.site)
            (start,) = manifests.pod(name)["initContainers"]
            stage_name, _, _ = start["args"]
            script = [str(DEPLOY / "copy-models.sh"), stage_name, str(source_models), str(container.models)]
            subprocess.run(script, check=True, timeout=60)
            own = (
                {variable("port"): str(ports[name])}
                if name in ports
                else {variable("port_offset"): str(routes - ROUTES[0].port), **addresses, **PATIENCE}
            )
            container.environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(container.site),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(container.tmp),
                "TMPDIR": str(container.tmp),
                "HF_HUB_OFFLINE": "1",
                **manifests.variables(name),
                variable("artifacts"): str(container.models),
                variable("host"): "127.0.0.1",
                variable("metrics_port"): str(metrics[name]),
                **own,
            }
            container.start(manifests.server(name)["command"][-1])
        await_health(running)
        yield running
    finally:
        for container in running.values():
            if container.process is not None:
                container.process.terminate()
        for container in running.values():
            if container.process is not None:
                container.process.wait(timeout=90)


def await_health(running):
    """Returns once every image's own health check finds its process healthy."""
    until = time.monotonic() + START_SECONDS
    for name, container in running.items():
        while not listens(container):
            assert container.process.poll() is None, f"{name} ended: {container.log.read_text()}"
            assert time.monotonic() < until, f"{name} does not listen: {container.log.read_text()}"
            time.sleep(0.2)
        check = container.health_check()
        assert check.returncode == 0, f"{name}: {check.stderr}{container.log.read_text()}"


def listens(container):
    """Whether the container's port takes connections: a cheaper question than the health check's."""
    host, port = address(container).split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def address(container):
    """Where the container's gRPC server listens; the gateway's last port."""
    own = container.environment
    port = own.get(variable("port")) or int(own[variable("port_offset")]) + ROUTES[-1].port
    return f"127.0.0.1:{port}"


def test_torch_is_installed_where_it_computes_and_nowhere_else(containers):
    with_torch = {name for name, container in containers.items() if (container.site / "torch").exists()}
    assert with_torch == {"encoder", "lvm", "decoder"}
    assert not containers["gateway"].packages & {"torch", "faiss-cpu", "transformers", "pyarrow"}


@pytest.mark.skipif(
    not shutil.which("cc") or platform.machine() != "x86_64", reason="the kernel cannot be compiled here"
)
def test_the_kernel_was_compiled_into_the_wheel(containers):
    (stage,) = (stage for stage in Dockerfile(PATH.read_text()).stages if stage.name == "wheel")
    assert any("install" in text and "gcc" in text for text in stage.all("RUN"))
    for container in containers.values():
        assert list((container.site / "services" / "layers").glob("_kernel*.so"))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_probes_of_the_manifest_find_the_server_healthy(containers, rendered, name):
    stub = health_pb2_grpc.HealthStub
    with grpc.insecure_channel(address(containers[name])) as channel:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            service = rendered("cpu").server(name)[probe]["grpc"]["service"]
            reply = stub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_the_system_of_the_images_answers_and_exports_what_it_is_scaled_by(containers):
    before = {name: container.files() for name, container in containers.items()}
    with Client(address(containers["gateway"])) as client:
        completion = client.complete("The tide was out. Two boats lay on the sand.", chunks=1)
    assert completion.text
    assert {name: container.files() for name, container in containers.items()} == before
    port = containers["decoder"].environment[variable("metrics_port")]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        assert 'nextvec_queue_seconds_sum{queue="decoder"}' in page.read().decode()


def test_a_stage_gets_the_models_it_reads_and_no_others(containers):
    def names(name):
        root = containers[name].models
        return {str(p.relative_to(root)) for p in root.rglob("*") if p.suffix in (".safetensors", ".faiss")}

    weights = {
        name: {n for n in names(name) if n.endswith(("model.safetensors", ".faiss"))} for name in PROCESSES
    }
    mini = "families/mini"
    assert weights["gateway"] == set()
    assert weights["encoder"] == {f"{mini}/encoder/model.safetensors"}
    assert weights["snap"] == {f"{mini}/bank/index.faiss"}
    assert weights["decoder"] == {
        f"{mini}/{p}/model.safetensors" for p in ("encoder", "inverter", "corrector")
    }
    assert {Path(n).parts[:2] for n in weights["lvm"]} == {("lvm", "models")}


def test_models_are_copied_over_what_is_there(containers, source_models):
    """A container that starts again on the same node finds the volume full."""
    for name in PROCESSES:
        script = [str(DEPLOY / "copy-models.sh"), name, str(source_models), str(containers[name].models)]
        subprocess.run(script, check=True, timeout=60)


def test_an_unknown_stage_is_named_when_models_are_copied(source_models, tmp_path):
    script = [str(DEPLOY / "copy-models.sh"), "enkoder", str(source_models), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "unknown stage 'enkoder'; have encoder, lvm, snap, decoder, gateway" in done.stderr
