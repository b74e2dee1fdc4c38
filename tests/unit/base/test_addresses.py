"""Which addresses mean something else than a server."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.base.addresses import Special, parse_peer, special

SPECIAL = {
    "127.0.0.1": Special.LOOPBACK,
    "127.8.9.1": Special.LOOPBACK,
    "::1": Special.LOOPBACK,
    "169.254.169.254": Special.METADATA,
    "169.254.170.2": Special.METADATA,
    "169.254.170.23": Special.METADATA,
    "100.100.100.200": Special.METADATA,
    "168.63.129.16": Special.METADATA,
    "192.0.0.192": Special.METADATA,
    "fd00:ec2::254": Special.METADATA,
    "fd00:ec2::23": Special.METADATA,
    "fd20:ce::254": Special.METADATA,
    "169.254.1.1": Special.LINK_LOCAL,
    "fe80::1": Special.LINK_LOCAL,
    "0.0.0.0": Special.UNSPECIFIED,  # noqa: S104
    "0.1.2.3": Special.UNSPECIFIED,
    "::": Special.UNSPECIFIED,
    "224.0.0.1": Special.MULTICAST,
    "ff02::1": Special.MULTICAST,
    "240.0.0.1": Special.RESERVED,
    "255.255.255.255": Special.RESERVED,
    "::ffff:127.0.0.1": Special.LOOPBACK,
    "::ffff:169.254.169.254": Special.METADATA,
    "::ffff:0:169.254.169.254": Special.METADATA,
    "::127.0.0.1": Special.LOOPBACK,
    "64:ff9b::169.254.169.254": Special.METADATA,
    "64:ff9b:1::169.254.169.254": Special.METADATA,
    "2002:7f00:1::": Special.LOOPBACK,
    "2002:a9fe:a9fe::1": Special.METADATA,
    "fd12::5efe:169.254.169.254": Special.METADATA,
    "2001:db8::200:5efe:127.0.0.1": Special.LOOPBACK,
    # Teredo keeps the client's address with its bits turned over.
    "2001:0:4136:e378:8000:63bf:80ff:fffe": Special.LOOPBACK,
}
ORDINARY = [
    "10.0.0.7",
    "172.16.3.4",
    "192.168.1.20",
    "100.64.0.1",
    "93.184.215.14",
    "2606:4700::1",
    "fd12:3456::1",
    "::ffff:10.0.0.7",
    "64:ff9b::10.0.0.7",
    "2002:a00:7::1",
]


@pytest.mark.parametrize(("address", "meaning"), SPECIAL.items())
def test_an_address_of_the_machine_its_link_or_its_cloud_is_special(address: str, meaning: Special) -> None:
    assert special(ip_address(address)) is meaning


@pytest.mark.parametrize("address", ORDINARY)
def test_a_server_on_the_site_or_in_the_world_is_not(address: str) -> None:
    assert special(ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_no_ipv6_address_hides_a_special_ipv4_address(inner: IPv4Address) -> None:
    number, meaning = int(inner), special(inner)
    for prefix in ("::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2001:db8::5efe:0:0"):
        assert special(IPv6Address(int(IPv6Address(prefix)) + number)) is meaning
    assert special(IPv6Address((0x2002 << 112) + (number << 80) + 1)) is meaning


def test_the_zone_of_a_sockets_other_end_does_not_matter() -> None:
    assert parse_peer("fe80::1%eth0") == IPv6Address("fe80::1")
