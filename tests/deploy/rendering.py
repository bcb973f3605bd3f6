"""Kustomize overlays as Kubernetes would get them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nextvec.routes import STAGES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml"))

PROCESSES = (*(stage.name for stage in STAGES), "gateway")
"""What the project's own Deployments are called."""

Resource = dict[str, Any]

_NAME = "app.kubernetes.io/name"


def kubectl_missing() -> str:
    """Why nothing can be rendered here; empty where it can."""
    return "" if shutil.which("kubectl") else "kubectl is not installed; `make kubectl` tries to install it"


def render(folder: Path) -> list[Resource]:
    """The resources of a folder with a kustomization.yaml. Raises AssertionError with what kubectl says."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{folder}: {done.stderr} (kubectl 1.27 or later is needed)"
    assert not done.stderr, f"{folder}: {done.stderr}"  # such as a field that is deprecated
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def render_with(component: str, overlay: str, folder: Path) -> list[Resource]:
    """An overlay and one component more; `folder` is an empty one to work in."""
    record = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "nextvec",
        "resources": [os.path.relpath(DEPLOY / "overlays" / overlay, folder)],
        "components": [os.path.relpath(DEPLOY / "components" / component, folder)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(record))
    return render(folder)


class Manifests:
    """Resources of one overlay, found by kind and name."""

    def __init__(self, name: str, resources: Sequence[Resource]) -> None:
        self.name = name
        self.resources = list(resources)

    def of(self, kind: str) -> dict[str, Resource]:
        """Resources of a kind by name."""
        return {r["metadata"]["name"]: r for r in self.resources if r["kind"] == kind}

    @cached_property
    def deployments(self) -> dict[str, Resource]:
        """Deployments by name."""
        return self.of("Deployment")

    def pod(self, deployment: str) -> Resource:
        """The pod's spec of a Deployment."""
        return self.deployments[deployment]["spec"]["template"]["spec"]

    def server(self, deployment: str) -> Resource:
        """The one container of a Deployment."""
        (container,) = self.pod(deployment)["containers"]
        return container

    def labels(self, deployment: str) -> Mapping[str, str]:
        """Labels of a Deployment's pods."""
        return self.deployments[deployment]["spec"]["template"]["metadata"]["labels"]

    def variables(self, deployment: str) -> dict[str, str]:
        """Plain variables of a Deployment's container; those that come out of Secrets are not among them."""
        container = self.server(deployment)
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        found |= {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
        return found

    def pods_matching(self, selector: Mapping[str, Any]) -> set[str]:
        """Deployments whose pods a label selector matches."""
        return {name for name in self.deployments if matches(selector, self.labels(name))}

    def pod_specs(self) -> Iterator[tuple[str, Resource]]:
        """Name and pod's spec of everything that makes pods."""
        for resource in self.resources:
            if resource["kind"] in ("Deployment", "Job"):
                yield resource["metadata"]["name"], resource["spec"]["template"]["spec"]

    def containers(self) -> Iterator[tuple[str, Resource]]:
        """Every container, with the name of what makes its pod; those of initialisation included."""
        for name, spec in self.pod_specs():
            for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
                yield name, container


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector, empty for all, matches."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return plain and all(labels.get(e["key"]) in e["values"] for e in expressions)
