"""Hosts as people write them, in one spelling, and rules that name hosts.

Programs disagree on what odd addresses mean, so what can be read in two ways is refused instead of guessed at:
user names, IP addresses that are no four decimal numbers, letters beyond ASCII, backslashes.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_NUMBER = re.compile(r"([0-9]+|0[xX][0-9a-fA-F]*)")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_MOST = 253
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Place:
    """Where a connection goes: a name in lower case or an IP address in its usual spelling, and the port."""

    host: str
    port: int
    address: IpAddress | None = None
    """Set when the host is an IP address."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_this_machine(self) -> bool:
        """Whether the name means the machine itself, whatever a resolver says (RFC 6761)."""
        return self.host == "localhost" or self.host.endswith(".localhost")


def place_of_url(url: str) -> Place:
    """Where an http or https address leads. Raises ValueError with the rule that the address breaks."""
    if _BLANK.search(url):
        raise ValueError("must not hold blanks or control characters")
    found = _URL.match(url)
    if found is None or (scheme := found[1].lower()) not in _PORTS:
        raise ValueError("must be an http:// or https:// address")
    if "@" in found[2]:
        raise ValueError("must not hold a user name")
    parts = _AUTHORITY.fullmatch(found[2])
    if parts is None:
        raise ValueError("must name one host and at most one port")
    return place_of(parts[1], int(parts[2]) if parts[2] else _PORTS[scheme])


def place_of(host: str, port: int) -> Place:
    """A host and a port in their one spelling. Raises ValueError with the rule that they break."""
    if not 0 < port < 2**16:
        raise ValueError("must name a port from 1 to 65535")
    if ":" in host or host.startswith("["):
        address = _ipv6(host.removeprefix("[").removesuffix("]"))
        return Place(str(address), port, address)
    name = host.lower().removesuffix(".")
    if not name.isascii():
        raise ValueError("must name the host in ASCII; names in other letters are written as xn--…")
    if len(name) > _MOST or not _NAME.fullmatch(name):
        raise ValueError("must name a host of letters, digits, - and .")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            found = IPv4Address(name)
        except ValueError:
            raise ValueError(
                "must spell an IPv4 address as four decimal numbers without leading zeros"
            ) from None
        return Place(str(found), port, found)
    return Place(name, port)


def _ipv6(text: str) -> IPv6Address:
    if "%" in text:
        raise ValueError("must not name a zone of an IPv6 address")
    try:
        return IPv6Address(text)
    except ValueError:
        raise ValueError("must spell an IPv6 address as [fd00::1]") from None


@dataclass(frozen=True)
class HostRule:
    """Hosts that are named by a person: one, all below a domain (`*.example.com`), or all (`*`)."""

    host: str
    port: int | None = None
    """None: any port."""
    below: bool = False
    """The host is a domain, and the rule is about what is below it."""

    def __str__(self) -> str:
        host = f"*.{self.host}" if self.below else f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def names_address(self) -> bool:
        """Whether the rule spells an IP address."""
        return not self.below and self.host != "*" and place_of(self.host, 1).address is not None

    def matches(self, place: Place) -> bool:
        """Whether the rule names the place."""
        if self.port is not None and self.port != place.port:
            return False
        if self.below:
            return place.address is None and place.host.endswith(f".{self.host}")
        return self.host in ("*", place.host)


def parse_rule(text: str) -> HostRule:
    """A rule from its text: `host`, `host:port`, `*.domain`, `[v6]:port` or `*`. Raises ValueError."""
    parts = _AUTHORITY.fullmatch(text)
    if parts is None or parts[2] == "" or parts[1].endswith("."):
        raise ValueError("must be a host, host:port, [IPv6 address]:port, *.domain or *")
    host, port = parts[1], int(parts[2]) if parts[2] else None
    found = place_of("any" if host == "*" else host.removeprefix("*."), 1 if port is None else port)
    if host == "*":
        return HostRule("*", port)
    below = host.startswith("*.")
    if below and found.address is not None:
        raise ValueError("must not have *. before an IP address")
    return HostRule(found.host, port, below)
