"""Every manifest is valid for the oldest and the newest Kubernetes, with no field or API unknown."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.rendering import DEPLOY, render

OLDEST = "1.31"
"""Of what the manifests use, the last to become stable: the eviction policy of PodDisruptionBudgets."""

SCALED_OBJECT = json.loads(Path(__file__).with_name("scaled_object.json").read_text())


def validate(resource, version):
    if resource["kind"] == "ScaledObject":
        jsonschema.Draft202012Validator(SCALED_OBJECT).validate(resource)
        behavior = resource["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        target = {"kind": "Deployment", "name": "decoder"}
        spec = {"scaleTargetRef": target, "maxReplicas": 2, "behavior": behavior}
        resource = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": spec}
    # Raises for a kind or an API that the version does not have, as well as for a field.
    kubernetes_validate.validate(resource, version, strict=True)


@pytest.fixture(scope="module")
def found_valid():
    """What need not be looked at again: a version and a resource as text."""
    return set()


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_manifest_is_valid_and_holds_nothing_unknown(manifests, version, found_valid):
    wrong = []
    for resource in manifests.resources:
        # Overlays have most of their resources in common.
        if (text := json.dumps([version, resource], sort_keys=True)) in found_valid:
            continue
        try:
            validate(resource, version)
            found_valid.add(text)
        except (
            jsonschema.ValidationError,
            kubernetes_validate.ValidationError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            wrong.append(f"{resource['kind']}/{resource['metadata']['name']}: {error.message}")
    assert not wrong, "\n".join(wrong)


def test_the_job_that_is_applied_apart_is_valid(rendered):
    for job in render(DEPLOY / "fill-models"):
        validate(job, OLDEST)


@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "policy/v1beta1"},
        {"spec": {"maxUnavailable": 1, "selektor": {}}},
        {"spec": {"maxUnavailable": {}}},
    ],
    ids=["a removed API", "an unknown field", "a wrong type"],
)
def test_validation_finds_what_is_wrong(rendered, change):
    budget = rendered("cpu").of("PodDisruptionBudget")["decoder"]
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        validate({**budget, **change}, OLDEST)


@pytest.mark.parametrize(
    "change", [{"maxReplicaCounts": 2}, {"triggers": [{"type": "redis", "metadata": {}}]}]
)
def test_validation_finds_what_is_wrong_with_a_scaled_object(rendered, change):
    scaled = rendered("production").of("ScaledObject")["decoder"]
    with pytest.raises(jsonschema.ValidationError):
        validate({**scaled, "spec": {**scaled["spec"], **change}}, OLDEST)
