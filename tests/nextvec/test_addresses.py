"""A setting of addresses, and what it stands for."""

import pytest

from nextvec.addresses import Addresses, Endpoint, read_list, write_list


async def found(setting):
    return [endpoint.address for endpoint in await Addresses(setting).endpoints()]


@pytest.mark.parametrize(
    ("setting", "addresses"),
    [
        ("127.0.0.1:1", ["127.0.0.1:1"]),
        ("127.0.0.1:1,127.0.0.2:2", ["127.0.0.1:1", "127.0.0.2:2"]),
        ("127.0.0.1:1, 127.0.0.1:1", ["127.0.0.1:1"]),
        ("ipv4:///127.0.0.1:1,127.0.0.1:2", ["127.0.0.1:1", "127.0.0.1:2"]),
        ("[::1]:1", ["[::1]:1"]),
        ("unix:/run/decoder", ["unix:/run/decoder"]),
    ],
)
async def test_numbers_and_sockets_stand_for_themselves(setting, addresses):
    assert await found(setting) == addresses


@pytest.mark.parametrize("setting", ["localhost:7", "dns:///localhost:7"])
async def test_a_name_stands_for_its_addresses_and_is_kept_for_the_certificate(setting):
    endpoints = await Addresses(setting).endpoints()
    assert Endpoint("127.0.0.1:7", "localhost") in endpoints


async def test_names_that_are_not_known_are_left_out_while_another_is():
    assert await found("nothing.invalid:1,127.0.0.1:2") == ["127.0.0.1:2"]
    with pytest.raises(OSError, match=r"."):
        await found("nothing.invalid:1")


async def test_a_file_is_read_again_each_time(tmp_path):
    path = tmp_path / "decoder"
    write_list(path, ["127.0.0.1:1", "127.0.0.1:2"])
    addresses = Addresses(f"file:{path}")
    assert [endpoint.address for endpoint in await addresses.endpoints()] == ["127.0.0.1:1", "127.0.0.1:2"]
    write_list(path, [])
    assert await addresses.endpoints() == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["decoder"]


@pytest.mark.parametrize(
    "setting",
    [
        *("", "decoder", "decoder:", ":50054", "dns://8.8.8.8/decoder:1", "a:1,b"),
        *("a:0", "a:00000", "a:65536", "a:99999", "a:-1", "a:²", "[::1]:0", "ipv4:///127.0.0.1:70000"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_right(setting):
    with pytest.raises(ValueError, match="must be host:port, several with commas between, or file:PATH"):
        Addresses(setting)


@pytest.mark.parametrize("setting", ["127.0.0.1:1", "127.0.0.1:65535"])
async def test_the_first_and_the_last_port_are_ports(setting):
    assert await found(setting) == [setting]


def test_a_bad_line_of_a_file_is_named(tmp_path):
    (tmp_path / "decoder").write_text("127.0.0.1:1\nnonsense\n")
    with pytest.raises(ValueError, match="'nonsense' is no address"):
        read_list(tmp_path / "decoder")
