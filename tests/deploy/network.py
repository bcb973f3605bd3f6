"""Which connections NetworkPolicies allow, by the rules of Kubernetes."""

from typing import Any

from tests.deploy.rendering import Manifests, Resource, matches


def allowed(manifests: Manifests, source: str, target: str, port: int) -> bool:
    """Whether pods of Deployment `source` may open TCP connections to `port` of pods of `target`."""
    return _passes(manifests, source, "Egress", target, port) and _passes(
        manifests, target, "Ingress", source, port
    )


def allowed_from_outside(manifests: Manifests, namespace: str, target: str, port: int) -> bool:
    """Whether pods of another namespace may open TCP connections to `port` of pods of `target`."""
    rules = _rules(manifests, target, "Ingress")
    return rules is None or any(
        _covers_port(rule, "TCP", port) and _names_namespace(rule.get("from"), namespace) for rule in rules
    )


def may_resolve_names(manifests: Manifests, source: str) -> bool:
    """Whether pods may ask the cluster's DNS, by UDP and TCP."""
    rules = _rules(manifests, source, "Egress")
    return rules is None or all(
        any(_covers_port(rule, way, 53) and _names_namespace(rule.get("to"), "kube-system") for rule in rules)
        for way in ("UDP", "TCP")
    )


def may_leave(manifests: Manifests, source: str) -> set[int]:
    """TCP ports on which pods may connect to addresses outside the cluster."""
    rules = _rules(manifests, source, "Egress")
    assert rules is not None, f"nothing limits what {source} connects to"
    return {
        entry["port"]
        for rule in rules
        if not rule.get("to") or any("ipBlock" in peer for peer in rule["to"])
        for entry in rule["ports"]
    }


def _passes(manifests: Manifests, pod: str, way: str, other: str, port: int) -> bool:
    rules = _rules(manifests, pod, way)
    if rules is None:
        return True
    peers = "to" if way == "Egress" else "from"
    return any(
        _covers_port(rule, "TCP", port)
        and (not rule.get(peers) or any(_is_peer(manifests, peer, other) for peer in rule[peers]))
        for rule in rules
    )


def _rules(manifests: Manifests, pod: str, way: str) -> list[Resource] | None:
    """Rules of all policies that hold for a pod; None where there is no policy, so that all is allowed."""
    policies = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy").values()
        if way in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], manifests.labels(pod))
    ]
    return [rule for spec in policies for rule in spec.get(way.lower(), [])] if policies else None


def _covers_port(rule: Resource, protocol: str, port: int) -> bool:
    return any(
        entry["protocol"] == protocol and entry["port"] <= port <= entry.get("endPort", entry["port"])
        for entry in rule["ports"]
    )


def _is_peer(manifests: Manifests, peer: Resource, pod: str) -> bool:
    # A peer with a namespace is another namespace's; one with addresses is outside the cluster.
    return set(peer) == {"podSelector"} and matches(peer["podSelector"], manifests.labels(pod))


def _names_namespace(peers: list[Any] | None, namespace: str) -> bool:
    labels = {"kubernetes.io/metadata.name": namespace}
    return not peers or any(
        "namespaceSelector" in peer and matches(peer["namespaceSelector"], labels) for peer in peers
    )
