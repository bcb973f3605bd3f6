"""Who may talk to whom: the policies evaluated for every pair of pods, not read one by one."""

import pytest

from nextvec.routes import ROUTES, STAGES
from tests.deploy.network import allowed, allowed_from_outside, may_leave, may_resolve_names
from tests.deploy.rendering import Manifests

REDIS = 6379
METRICS = 9464
STAGE_PORTS = {stage.name: stage.port for stage in STAGES}
CACHED = ("encoder", "decoder")


def test_exactly_the_gateway_reaches_stages_and_encoders_and_decoders_reach_redis(manifests):
    ports = [*STAGE_PORTS.values(), *(route.port for route in ROUTES), REDIS, METRICS, 80, 443]
    found = {
        (source, target, port)
        for source in manifests.deployments
        for target in manifests.deployments
        for port in ports
        if allowed(manifests, source, target, port)
    }
    expected = {("gateway", stage, port) for stage, port in STAGE_PORTS.items()}
    if "redis" in manifests.deployments:
        expected |= {(source, "redis", REDIS) for source in CACHED}
    assert found == expected


def test_the_gateway_alone_is_reached_from_other_namespaces_and_on_its_six_ports(manifests):
    for name in manifests.deployments:
        for port in (*STAGE_PORTS.values(), *(route.port for route in ROUTES), 9000, 9007, REDIS):
            is_route = name == "gateway" and port in {route.port for route in ROUTES}
            assert allowed_from_outside(manifests, "some-other", name, port) == is_route, (name, port)


def test_metrics_are_read_by_the_monitoring_namespace_alone(manifests):
    for name in (*STAGE_PORTS, "gateway"):
        assert allowed_from_outside(manifests, "monitoring", name, METRICS)
        assert not allowed_from_outside(manifests, "some-other", name, METRICS)


def test_every_pod_may_resolve_names(manifests):
    assert all(may_resolve_names(manifests, name) for name in manifests.deployments)


def test_nothing_leaves_the_cluster_but_calls_to_a_redis_outside(manifests):
    for name in manifests.deployments:
        outside = {6379, 6380, 26379} if name in CACHED and "redis" not in manifests.deployments else set()
        assert may_leave(manifests, name) == outside, name


def test_a_pod_that_no_other_policy_names_may_do_nothing(manifests):
    spec = manifests.of("NetworkPolicy")["deny"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("name", ["gateway", "decoder", "redis-clients"])
def test_every_policy_is_needed(rendered, name):
    """Without one of them other connections are allowed, so the evaluation above sees it."""
    whole = rendered("cpu")
    rest = [r for r in whole.resources if (r["kind"], r["metadata"]["name"]) != ("NetworkPolicy", name)]
    without = Manifests("without", rest)
    pairs = [
        (source, target, port)
        for source in whole.deployments
        for target in whole.deployments
        for port in (*STAGE_PORTS.values(), REDIS)
    ]
    assert [allowed(whole, *pair) for pair in pairs] != [allowed(without, *pair) for pair in pairs]
