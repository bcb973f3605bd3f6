"""Which URLs of Redis are understood, and what the others are told."""

import pytest

from nextvec.errors import SettingsError
from nextvec.redis_address import RedisAddress
from nextvec.settings import StageSettings

UNDERSTOOD = {
    "redis://localhost": RedisAddress("server", (("localhost", 6379),)),
    "redis://localhost:7/3": RedisAddress("server", (("localhost", 7),), database=3),
    "rediss://me:a%40b@h/?ssl_ca_certs=/ca.pem&ssl_check_hostname=no": RedisAddress(
        "server",
        (("h", 6379),),
        username="me",
        password="a@b",
        tls=True,
        tls_options={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
    ),
    "redis://:secret@[::1]:7/0": RedisAddress("server", (("::1", 7),), password="secret"),
    "unix:///run/redis.sock?db=2&password=x": RedisAddress(
        "socket", path="/run/redis.sock", database=2, password="x"
    ),
    "redis+sentinel://a,b:7/mymaster/1?sentinel_password=s": RedisAddress(
        "sentinel",
        (("a", 26379), ("b", 7)),
        service="mymaster",
        database=1,
        sentinel_password="s",
    ),
    "rediss+cluster://me:x@a:7000,b:7001": RedisAddress(
        "cluster", (("a", 7000), ("b", 7001)), username="me", password="x", tls=True
    ),
}


@pytest.mark.parametrize("url", UNDERSTOOD)
def test_a_url_is_understood(url):
    assert RedisAddress.parse(url) == UNDERSTOOD[url]


def test_an_address_is_shown_without_credentials():
    shown = [str(address) for address in UNDERSTOOD.values()]
    assert shown == [
        "redis://localhost:6379/0",
        "redis://localhost:7/3",
        "rediss://h:6379/0",
        "redis://[::1]:7/0",
        "unix:///run/redis.sock",
        "redis+sentinel://a:26379,b:7/mymaster/1",
        "rediss+cluster://a:7000,b:7001",
    ]
    assert not any("secret" in repr(address) for address in UNDERSTOOD.values())


REFUSED = {
    "localhost:6379": "begins with redis://, rediss://, unix://, redis\\+sentinel://",
    "http://hunter2@localhost": "begins with redis://",
    "redis://": "host 1 is not of the form host:port",
    "redis://localhost:hunter2": "host 1 .* a port of 1 to 65535",
    "redis://localhost:70000": "host 1 .* a port of 1 to 65535",
    "redis://:hunter2/x@localhost": "in a password write",
    "redis://:hunter2?x@localhost": "unknown option .* in a password write",
    "redis://localhost/hunter2": "database .* is a number",
    "redis://a,b": "several hosts need redis\\+sentinel:// or redis\\+cluster://",
    "redis://a?hunter2=1": "unknown option .* have username",
    "redis://a?ssl_ca_certs=/ca.pem": "ssl_ options belong to URLs with TLS, such as rediss://",
    "redis://a?sentinel_password=hunter2": "belong to redis\\+sentinel:// URLs",
    "rediss://a?ssl_check_hostname=perhaps": "ssl_check_hostname is true or false",
    "unix://run/redis.sock": "a path from the root",
    "unix://": "a path from the root",
    "redis+sentinel://a:26379": "names the service",
    "redis+sentinel://a:26379/mymaster/hunter2": "database .* is a number",
    "redis+cluster://a,b:/": "host 2 is not of the form host:port",
    "redis+cluster://a,b/1": "database 0 alone",
}


@pytest.mark.parametrize("url", REFUSED)
def test_another_url_is_refused_by_the_settings_without_showing_it(url):
    with pytest.raises(SettingsError, match=rf"(?s)NEXTVEC_REDIS_URL: .*{REFUSED[url]}") as caught:
        StageSettings.from_mapping({"NEXTVEC_REDIS_URL": url}, port=1)
    assert "hunter2" not in caught.value.message
