"""What the manifests say is what the code says: ports, probes, settings, names; and they fit each other."""

import base64
import re
import tomllib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.settings import GatewaySettings
from nextvec.metrics import Metrics
from nextvec.routes import GATEWAY_SERVICE, ROUTES, STAGES
from nextvec.settings import PREFIX, variable
from services.decoder.__main__ import STAGE as DECODER
from services.decoder.__main__ import DecoderSettings
from services.encoder.__main__ import EncoderSettings
from services.lvm.__main__ import LvmSettings
from services.snap.__main__ import SnapSettings
from tests.deploy.rendering import DEPLOY, PROCESSES, ROOT, Manifests, matches, render

SETTINGS = {
    "encoder": EncoderSettings,
    "lvm": LvmSettings,
    "snap": SnapSettings,
    "decoder": DecoderSettings,
    "gateway": GatewaySettings,
}
STAGE_PORTS = {stage.name: stage.port for stage in STAGES}
SERVICES = {**{stage.name: stage.service for stage in STAGES}, "gateway": GATEWAY_SERVICE}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

NOT_OURS = {"OMP_NUM_THREADS"}
"""Variables of libraries."""

MARGIN_SECONDS = 5
"""Between the end of the drain and the kill, for what is closed last."""


def settings_of(manifests: Manifests, name: str):
    """The settings that the container's process builds."""
    defaults = {"port": STAGE_PORTS[name]} if name in STAGE_PORTS else {}
    return SETTINGS[name].from_mapping(manifests.variables(name), **defaults)


def cores(quantity: str) -> float:
    return float(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def mebibytes(quantity: str) -> float:
    units = {"Mi": 1, "Gi": 1024}
    return float(quantity[:-2]) * units[quantity[-2:]]


def every(manifests: Manifests, *kinds: str):
    return [resource for resource in manifests.resources if resource["kind"] in kinds]


def test_there_is_one_deployment_of_each_process(manifests):
    assert set(manifests.deployments) - {"redis"} == set(PROCESSES)


def test_names_are_given_once(manifests):
    names = [(resource["kind"], resource["metadata"]["name"]) for resource in manifests.resources]
    assert len(names) == len(set(names))


def test_everything_is_in_the_one_namespace(manifests):
    (namespace,) = manifests.of("Namespace")
    for resource in manifests.resources:
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == namespace, resource["metadata"]["name"]


@pytest.mark.parametrize("name", PROCESSES)
def test_ports_are_those_of_the_code(manifests, name):
    routes = {route.port for route in ROUTES}
    expected = routes if name == "gateway" else {STAGE_PORTS[name]}
    container = {port["containerPort"] for port in manifests.server(name)["ports"]}
    assert container == expected | {settings_of(manifests, name).metrics_port}
    named = {port["name"]: port["containerPort"] for port in manifests.server(name)["ports"]}
    service = manifests.of("Service")[name]["spec"]
    assert {port["port"] for port in service["ports"]} == expected
    assert all(named[port["targetPort"]] == port["port"] for port in service["ports"])
    annotations = manifests.deployments[name]["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == settings_of(manifests, name).metrics_port


@pytest.mark.parametrize("name", PROCESSES)
def test_probes_ask_for_the_service_that_the_server_registers(manifests, name):
    port = ROUTES[-1].port if name == "gateway" else STAGE_PORTS[name]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert manifests.server(name)[probe]["grpc"] == {"port": port, "service": SERVICES[name]}


@pytest.mark.parametrize("name", PROCESSES)
def test_every_variable_is_a_setting_and_together_they_are_valid(manifests, name):
    secret = {entry["name"] for entry in manifests.server(name).get("env", [])}
    names = {*manifests.variables(name), *secret} - NOT_OURS
    fields = {variable(field) for field in SETTINGS[name].model_fields}
    assert names <= fields, f"no settings of {name}: {sorted(names - fields)}"
    assert all(entry.startswith(PREFIX) for entry in names)
    settings_of(manifests, name)


def test_only_what_has_a_cache_knows_of_redis(manifests):
    knowing = set()
    for name in PROCESSES:
        for entry in manifests.server(name).get("env", []):
            if entry["name"] == variable("redis_url"):
                # Redis is never needed, so its Secret is not either.
                assert entry["valueFrom"]["secretKeyRef"]["optional"]
                assert entry["valueFrom"]["secretKeyRef"]["key"] == "url"
                knowing.add(name)
    assert knowing == {"encoder", "decoder"}


def test_the_secret_of_the_redis_component_names_its_service(rendered):
    manifests = rendered("cpu")
    (name,) = manifests.of("Secret")
    url = base64.b64decode(manifests.of("Secret")[name]["data"]["url"]).decode()
    assert url == f"redis://redis:{manifests.of('Service')['redis']['spec']['ports'][0]['port']}/0"
    for reader in ("encoder", "decoder"):
        (entry,) = manifests.server(reader)["env"]
        assert entry["valueFrom"]["secretKeyRef"]["name"] == name


def test_the_gateway_finds_every_stage_by_its_headless_service(manifests):
    settings = settings_of(manifests, "gateway")
    for stage in STAGES:
        assert getattr(settings, f"{stage.name}_address") == f"dns:///{stage.name}:{stage.port}"
        service = manifests.of("Service")[stage.name]["spec"]
        assert service["clusterIP"] == "None"
        assert service["publishNotReadyAddresses"] is False


def test_the_gateways_own_address_is_one(manifests):
    assert "clusterIP" not in manifests.of("Service")["gateway"]["spec"]


def test_selectors_match_the_pods_of_their_deployment_alone(manifests):
    for name, deployment in manifests.deployments.items():
        assert manifests.pods_matching(deployment["spec"]["selector"]) == {name}
        for constraint in manifests.pod(name).get("topologySpreadConstraints", []):
            assert manifests.pods_matching(constraint["labelSelector"]) == {name}
    for resource in every(manifests, "Service", "PodDisruptionBudget"):
        selector = resource["spec"]["selector"]
        selector = selector if resource["kind"] == "PodDisruptionBudget" else {"matchLabels": selector}
        assert manifests.pods_matching(selector) == {resource["metadata"]["name"]}


def test_every_policy_holds_for_some_pod_and_names_pods_that_are_there(manifests):
    for name, policy in manifests.of("NetworkPolicy").items():
        spec = policy["spec"]
        assert manifests.pods_matching(spec["podSelector"]), name
        for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
            for peer in (*rule.get("from", []), *rule.get("to", [])):
                if set(peer) == {"podSelector"}:
                    assert manifests.pods_matching(peer["podSelector"]), name


def test_what_is_referred_to_is_there(manifests):
    for name, spec in manifests.pod_specs():
        if "serviceAccountName" in spec:
            assert spec["serviceAccountName"] in manifests.of("ServiceAccount")
        volumes = {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in manifests.of("PersistentVolumeClaim")
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, name
            for source in container.get("envFrom", []):
                assert source["configMapRef"]["name"] in manifests.of("ConfigMap")


def test_volumes_are_mounted_somewhere(manifests):
    for name, spec in manifests.pod_specs():
        containers = (*(spec.get("initContainers") or ()), *spec["containers"])
        mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name


@pytest.mark.parametrize("name", PROCESSES)
def test_models_are_read_where_they_are_mounted_and_never_written(manifests, name):
    if manifests.name.endswith("baked-models"):
        assert not manifests.pod(name)["initContainers"]
        return
    artifacts = str(settings_of(manifests, name).artifacts)
    mounts = {mount["name"]: mount for mount in manifests.server(name)["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": artifacts, "readOnly": True}
    if not manifests.name.endswith("model-claim"):
        (start,) = manifests.pod(name)["initContainers"]
        assert start["args"][0] == name
        assert start["args"][2] == artifacts
        assert start["volumeMounts"] == [{"name": "models", "mountPath": artifacts}]


def test_the_job_fills_the_volume_that_the_stages_read(rendered):
    """It is applied apart: what a Job runs cannot be changed, and an upgrade must not undo promotions."""
    assert not rendered("cpu+model-claim").of("Job")
    (job,) = render(DEPLOY / "fill-models")
    assert job["metadata"]["namespace"] == "nextvec"
    spec = job["spec"]["template"]["spec"]
    assert spec["volumes"] == [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    assert spec["containers"][0]["command"][-1] == spec["containers"][0]["volumeMounts"][0]["mountPath"]


@pytest.mark.parametrize("name", PROCESSES)
def test_the_grace_period_is_longer_than_the_pause_and_the_drain(manifests, name):
    action, seconds = manifests.server(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert action == "sleep"
    drain = settings_of(manifests, name).drain_seconds
    grace = manifests.pod(name)["terminationGracePeriodSeconds"]
    assert grace >= int(seconds) + drain + MARGIN_SECONDS


@pytest.mark.parametrize("name", PROCESSES)
def test_a_rollout_takes_no_pod_away_before_another_is_ready_but_where_each_has_a_gpu(manifests, name):
    spec = manifests.deployments[name]["spec"]
    on_gpu = "nvidia.com/gpu" in manifests.server(name)["resources"]["limits"]
    rolling = {"maxSurge": 0, "maxUnavailable": 1} if on_gpu else {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["strategy"]["rollingUpdate"] == rolling
    assert spec.get("replicas", 2) > 1 or not on_gpu
    assert manifests.of("PodDisruptionBudget")[name]["spec"]["maxUnavailable"] == 1


def test_every_pod_is_confined(manifests):
    """What the restricted level of pod security asks for, and a root file system that is read alone."""
    enforced = manifests.of("Namespace")["nextvec"]["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, spec in manifests.pod_specs():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not any(key in spec for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert all("hostPath" not in volume for volume in spec["volumes"])
    for name, container in manifests.containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
    for account in every(manifests, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", PROCESSES)
def test_tmp_can_be_written_to(manifests, name):
    volumes = {volume["name"]: volume for volume in manifests.pod(name)["volumes"]}
    (mount,) = (m for m in manifests.server(name)["volumeMounts"] if m["mountPath"] == "/tmp")
    assert "emptyDir" in volumes[mount["name"]]
    assert not mount.get("readOnly")


def test_services_make_no_variables(manifests):
    """A Service called lvm would make LVM_PORT in every pod."""
    for name, spec in manifests.pod_specs():
        assert spec["enableServiceLinks"] is False, name


def test_every_container_asks_for_resources_and_is_limited(manifests):
    for name, container in manifests.containers():
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert cores(requests["cpu"]) <= cores(limits["cpu"]), name
        assert mebibytes(requests["memory"]) <= mebibytes(limits["memory"]), name


@pytest.mark.parametrize("name", PROCESSES)
def test_threads_are_no_more_than_cores(manifests, name):
    limit = cores(manifests.server(name)["resources"]["limits"]["cpu"])
    threads = getattr(settings_of(manifests, name), "threads", None)
    threads = threads or int(manifests.variables(name).get("OMP_NUM_THREADS", 0))
    # Without a count, torch and FAISS start a thread for each core of the node.
    assert name == "gateway" or 1 <= threads <= limit


def test_redis_gives_up_entries_before_its_pod_is_killed(rendered):
    container = rendered("cpu").server("redis")
    arguments = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    most = int(arguments["--maxmemory"].removesuffix("mb"))
    assert most * 1.25 <= mebibytes(container["resources"]["limits"]["memory"])
    assert arguments["--maxmemory-policy"].startswith("allkeys-")


def test_images_are_the_projects_own_of_its_version_and_never_the_latest(manifests):
    for name, container in manifests.containers():
        repository, _, tag = container["image"].rpartition(":")
        assert repository, f"{container['image']} names no version"
        assert tag
        assert "latest" not in tag
        if name != "redis":
            assert tag.removesuffix("-gpu") == VERSION
            assert repository.split("/")[-2] == "nextvec"
            own = "models" if container["name"] == "models" else name
            assert repository.split("/")[-1] == own


@pytest.mark.parametrize("name", PROCESSES)
def test_the_process_is_the_code(manifests, name):
    python, option, module = manifests.server(name)["command"]
    assert (python, option) == ("python", "-m")
    assert Path(ROOT, *module.split("."), "__main__.py").is_file()
    assert module.split(".")[-1] == name


def test_decoders_are_scaled_by_exactly_one_autoscaler_and_nothing_else_sets_their_count(manifests):
    scalers = every(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    assert [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers] == ["decoder"]
    (scaler,) = scalers
    target = manifests.of(scaler["spec"]["scaleTargetRef"]["kind"])["decoder"]
    assert target["apiVersion"] == scaler["spec"]["scaleTargetRef"]["apiVersion"]
    assert "replicas" not in target["spec"]
    # A share of what is asked for.
    assert "cpu" in manifests.server("decoder")["resources"]["requests"]


def test_the_queue_that_keda_watches_is_one_that_decoders_export(rendered):
    trigger = rendered("production").of("ScaledObject")["decoder"]["spec"]["triggers"][0]
    metric, labels = re.search(r"(nextvec_\w+)\{(.*?)\}", trigger["metadata"]["query"]).groups()
    labels = dict(re.findall(r'(\w+)="(.*?)"', labels))
    # The scraper's own label.
    assert labels.pop("namespace") == "nextvec"
    registry = CollectorRegistry()
    Metrics(registry).queue(DECODER.name).queue_seconds.observe(0.5)
    assert registry.get_sample_value(metric, labels) == 0.5, generate_latest(registry).decode()


def test_gpus_are_given_to_what_computes_on_them(rendered):
    manifests = rendered("gpu")
    given = {
        name
        for name, container in manifests.containers()
        if "nvidia.com/gpu" in container["resources"]["limits"]
    }
    assert given
    for name in PROCESSES:
        device = getattr(settings_of(manifests, name), "device", "cpu")
        assert device.startswith("cuda") == (name in given), name
        assert manifests.server(name)["image"].endswith("-gpu") == (name in given)


def test_production_has_no_single_point_and_spreads(rendered):
    manifests = rendered("production")
    scaled = manifests.of("ScaledObject")["decoder"]["spec"]["minReplicaCount"]
    for name in PROCESSES:
        assert manifests.deployments[name]["spec"].get("replicas", scaled) >= 2
        keys = {c["topologyKey"] for c in manifests.pod(name)["topologySpreadConstraints"]}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_a_changed_setting_rolls_the_pods(rendered):
    """The ConfigMap's name follows its content, so that two overlays with other settings have other names."""
    name = {
        overlay: rendered(overlay).server("lvm")["envFrom"][0]["configMapRef"]["name"]
        for overlay in ("cpu", "gpu")
    }
    assert name["cpu"] != name["gpu"]


def test_labels_say_what_belongs_together(manifests):
    for name in PROCESSES:
        selector = {"matchLabels": {"app.kubernetes.io/part-of": "nextvec", "app.kubernetes.io/name": name}}
        assert matches(selector, manifests.labels(name))


def test_the_file_of_api_keys_is_where_its_secret_is_mounted(rendered):
    manifests = rendered("cpu+api-keys")
    mounts = {m["mountPath"]: m for m in manifests.server("gateway")["volumeMounts"]}
    mount = mounts[str(settings_of(manifests, "gateway").api_keys_file.parent)]
    # A file mounted by itself, with subPath, is never renewed.
    assert set(mount) == {"name", "mountPath", "readOnly"}
    volumes = {volume["name"]: volume for volume in manifests.pod("gateway")["volumes"]}
    assert volumes[mount["name"]]["secret"] == {"secretName": "api-keys"}
