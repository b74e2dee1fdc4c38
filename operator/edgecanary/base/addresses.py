"""IP addresses that mean something else than a server on the site or in the world."""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from edgecanary.base.hosts import IpAddress


class Special(StrEnum):
    """What a special address means, in words for a person."""

    METADATA = "the metadata service of a cloud, which gives out a machine's credentials"
    LOOPBACK = "the machine itself (loopback)"
    LINK_LOCAL = "the machine's own link (link-local)"
    UNSPECIFIED = "the machine itself (unspecified)"
    MULTICAST = "a group of machines (multicast)"
    RESERVED = "reserved"


_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.169.254/32",
        "169.254.170.2/32",
        "169.254.170.23/32",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "fe80::a9fe:a9fe/128",
    )
)
"""Where clouds keep a machine's credentials and settings."""

_LAST_BITS = tuple(
    network
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
    if isinstance(network := ip_network(text), IPv6Network)
)
"""IPv6 addresses whose last 32 bits are an IPv4 address: compatible, mapped, translated, NAT64."""

_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def special(address: IpAddress) -> Special | None:
    """What the address means, also by an IPv4 address inside it; None for an ordinary one."""
    own = _own_meaning(address)
    if own is not None or isinstance(address, IPv4Address):
        return own
    return next((meaning for inner in _inside(address) if (meaning := _own_meaning(inner)) is not None), None)


def parse_peer(text: str) -> IpAddress:
    """The address of a socket's other end, whose zone does not matter. Raises ValueError."""
    return ip_address(text.partition("%")[0])


def _own_meaning(address: IpAddress) -> Special | None:
    if any(address.version == network.version and address in network for network in _METADATA):
        return Special.METADATA
    if address.is_loopback:
        return Special.LOOPBACK
    if address.is_link_local:
        return Special.LINK_LOCAL
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return Special.UNSPECIFIED
    if address.is_multicast:
        return Special.MULTICAST
    if isinstance(address, IPv4Address) and address.is_reserved:
        return Special.RESERVED
    return None


def _inside(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a gateway or a tunnel would make of it."""
    if any(address in network for network in _LAST_BITS):
        yield IPv4Address(address.packed[-4:])
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if int.from_bytes(address.packed[8:12]) in _ISATAP:
        yield IPv4Address(address.packed[-4:])
