import pytest

from gateway.settings import GatewaySettings
from nextvec.errors import SettingsError
from nextvec.routes import STAGES


def test_the_defaults_are_the_stages_own_ports_and_the_published_budgets():
    settings = GatewaySettings.from_mapping({})
    for stage in STAGES:
        assert getattr(settings, f"{stage.name}_address") == f"127.0.0.1:{stage.port}"
    assert settings.budget_seconds == 3
    assert (settings.encode_seconds, settings.lvm_seconds, settings.decode_seconds) == (2, 0.2, 2)


def test_all_bad_values_are_named_at_once():
    bad = {"NEXTVEC_ENCODER_ADDRESS": "encoder", "NEXTVEC_BUDGET_SECONDS": "0", "NEXTVEC_MAX_CHUNKS": "many"}
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.from_mapping(bad)
    lines = caught.value.message.splitlines()
    assert len(lines) == 3
    assert all(any(line.startswith(f"{name}='{value}'") for line in lines) for name, value in bad.items())
