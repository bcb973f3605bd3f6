import pytest

from nextvec.errors import SettingsError
from nextvec.settings import StageSettings


def test_values_come_from_the_mapping_and_defaults_stand_in():
    settings = StageSettings.from_mapping({"NEXTVEC_MAX_BATCH": "8", "OTHER": "x"}, port=50051)
    assert (settings.max_batch, settings.port, settings.family) == (8, 50051, "mini")


def test_the_mapping_beats_the_defaults_and_an_empty_value_counts_as_unset():
    mapping = {"NEXTVEC_PORT": "1", "NEXTVEC_MAX_BATCH": ""}
    settings = StageSettings.from_mapping(mapping, port=50051, max_batch=4)
    assert (settings.port, settings.max_batch) == (1, 4)


def test_all_bad_values_are_reported_at_once_by_name():
    mapping = {"NEXTVEC_PORT": "tcp://10.0.0.1:80", "NEXTVEC_MAX_BATCH": "0", "NEXTVEC_LOG_LEVEL": "loud"}
    with pytest.raises(SettingsError) as caught:
        StageSettings.from_mapping(mapping)
    lines = caught.value.message.splitlines()
    assert len(lines) == 3
    assert "NEXTVEC_PORT='tcp://10.0.0.1:80': input should be a valid integer" in caught.value.message
    assert "NEXTVEC_MAX_BATCH='0': input should be greater than or equal to 1" in caught.value.message
    assert "NEXTVEC_LOG_LEVEL='loud': input should be 'debug', 'info'" in caught.value.message


def test_a_missing_value_is_reported_by_name():
    with pytest.raises(SettingsError, match="NEXTVEC_PORT is not set; it is required"):
        StageSettings.from_mapping({})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"NEXTVEC_TLS_KEY": "k"}, "NEXTVEC_TLS_CERTIFICATE and NEXTVEC_TLS_KEY go together"),
        ({"NEXTVEC_TLS_CLIENT_CA": "c"}, "NEXTVEC_TLS_CLIENT_CA needs NEXTVEC_TLS_CERTIFICATE"),
    ],
)
def test_half_of_a_tls_configuration_is_refused(mapping, message):
    with pytest.raises(SettingsError, match=message):
        StageSettings.from_mapping(mapping, port=1)


def test_settings_are_frozen():
    settings = StageSettings.from_mapping({}, port=1)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 2


def test_a_url_with_a_password_is_not_shown():
    settings = StageSettings.from_mapping({"NEXTVEC_REDIS_URL": "redis://:secret@host"}, port=1)
    assert "secret" not in repr(settings)
    assert settings.redis_url.get_secret_value() == "redis://:secret@host"
