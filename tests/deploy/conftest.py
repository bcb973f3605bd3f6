"""Rendered overlays, each of them once."""

import pytest

from tests.deploy.rendering import (
    COMPONENTS,
    DEPLOY,
    OVERLAYS,
    Manifests,
    kubectl_missing,
    render,
    render_with,
)

# Components that replace something; the others add to a base that lacks what they bring.
_ON_TOP = ("api-keys", "baked-models", "keda", "model-claim", "traces")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """`rendered(name)`: an overlay, or "cpu+COMPONENT"."""
    if missing := kubectl_missing():
        pytest.skip(missing)
    cache = {}

    def get(name: str) -> Manifests:
        if name not in cache:
            overlay, _, component = name.partition("+")
            if component:
                resources = render_with(component, overlay, tmp_path_factory.mktemp("overlay"))
            else:
                resources = render(DEPLOY / "overlays" / overlay)
            cache[name] = Manifests(name, resources)
        return cache[name]

    return get


@pytest.fixture(params=[*OVERLAYS, *(f"cpu+{name}" for name in COMPONENTS if name in _ON_TOP)])
def manifests(request, rendered):
    """Each overlay, and each component on top of one."""
    return rendered(request.param)
