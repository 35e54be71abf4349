"""Which hosts a person meant, and which networks are scanned."""

import pytest

from firmware_adapters.discovery.ranges import MOST, addresses, network, target
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.7", ("10.0.0.7", None)),
        ("10.0.0.7:8080", ("10.0.0.7", 8080)),
        ("miner-7.site.lan", ("miner-7.site.lan", None)),
        ("miner-7:80", ("miner-7", 80)),
        ("[fd00::7]:80", ("fd00::7", 80)),
        ("[fd00::7]", ("fd00::7", None)),
        ("fd00::7", ("fd00::7", None)),
    ],
)
def test_a_target(text: str, found: tuple[str, int | None]) -> None:
    assert target(text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no host"),
        ("10.0.0.256", "is no host"),
        ("10.0.0", "is no host"),
        ("http://10.0.0.7", "is no host"),
        ("a b", "is no host"),
        ("10.0.0.7:", "the port must be"),
        ("10.0.0.7:0", "the port must be"),
        ("10.0.0.7:70000", "the port must be"),
        ("10.0.0.7:8o", "the port must be"),
    ],
)
def test_what_is_no_target_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        target(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.1.0/24",
        "172.16.0.0/28",
        "192.168.1.7",
        "127.80.0.0/29",
        "100.64.3.0/24",
        "fd00::/120",
        "169.254.1.0/24",
    ],
)
def test_a_sites_own_networks_are_scanned(text: str) -> None:
    assert network(text, force=False).num_addresses <= MOST


def test_a_public_network_needs_force() -> None:
    with pytest.raises(ConfigError, match=r"8\.8\.8\.0/24 is not a private network; --force"):
        network("8.8.8.0/24", force=False)
    assert network("8.8.8.0/24", force=True).num_addresses == 256


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/64"])
def test_more_than_one_scan_can_ask_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="one scan asks 65536 at most"):
        network(text, force=True)


@pytest.mark.parametrize("text", ["", "10.0.1.0/33", "10.0.1.0/a", "site", "10.0.1/24"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected an address range as 10\.0\.1\.0/24"):
        network(text, force=False)


def test_the_network_and_its_broadcast_are_not_hosts() -> None:
    assert list(addresses(network("10.0.1.8/30", force=False))) == ["10.0.1.9", "10.0.1.10"]
    assert list(addresses(network("10.0.1.8/32", force=False))) == ["10.0.1.8"]
