"""What a program may connect to for somebody: which hosts, and which addresses they may have.

A rule is asked twice: about the address as it is written, for a refusal that a person reads early, and about the
address that is really connected to, before a byte is sent. So a name that resolves otherwise gains nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address

from edgecanary.base.addresses import Special, special
from edgecanary.base.errors import NotAllowed
from edgecanary.base.hosts import HostRule, IpAddress, Place, place_of, place_of_url

NOT_GRANTED = "NotGranted"
_OF_NAMES = frozenset({Special.LOOPBACK, Special.LINK_LOCAL})
"""What a host may be whose name is allowed: whoever answers for names could point it to all the rest."""
_THIS_MACHINE = IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class LocalRule:
    """Which addresses of the machine and its surroundings may be reached.

    A host in `hosts` that is an address allows just this address, a name what is loopback or link-local.
    """

    loopback: bool = True
    hosts: tuple[HostRule, ...] = ()
    advice: str = "if it is meant, name the host with --allow-host"

    def forbids(self, place: Place, address: IpAddress) -> Special | None:
        """What the address is that must not be reached; None for one that may be."""
        meaning = special(address)
        if meaning is None or (meaning is Special.LOOPBACK and self.loopback):
            return None
        for rule in self.hosts:
            named = rule.host == str(address) if rule.names_address else meaning in _OF_NAMES
            if named and rule.matches(place):
                return None
        return meaning


ANYWHERE = LocalRule()


@dataclass(frozen=True)
class Reach:
    """Hosts that may be reached for one purpose, for one namespace."""

    local: LocalRule = ANYWHERE
    hosts: tuple[HostRule, ...] | None = None
    """None: every host."""
    purpose: str = "host"
    namespace: str = ""
    ask: str = ""
    """Whom to ask, and for what."""
    closed: str = ""
    """Why nothing may be reached, whatever the hosts."""
    reason: str = NOT_GRANTED
    """The machine's word for it."""

    def check(self, url: str, *, name: str = "") -> Place:
        """Where the address leads. Raises NotAllowed for one that must not be reached as it is written.

        `name` is the field that holds it.
        """
        try:
            place = place_of_url(url)
        except ValueError as error:
            raise NotAllowed(name, f"{error}, got {_shown(url)}", reason="HostInvalid") from error
        self._check_host(place, name)
        if place.address is not None or place.is_this_machine:
            self._check_address(place, place.address or _THIS_MACHINE, name)
        return place

    def check_addresses(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        """Raises NotAllowed unless the host and all its addresses may be reached."""
        try:
            place = place_of(host, port)
        except ValueError as error:
            raise NotAllowed("", f"{error}, got {host[:253]!r}", reason="HostInvalid") from error
        self._check_host(place, "")
        for address in addresses:
            self._check_address(place, address, "")

    def elsewhere(self, hosts: tuple[HostRule, ...] = ()) -> "Reach":
        """The rule for what a server names and no person: this machine only where `hosts` or flags name it."""
        advice = "if it is meant, name the host with --download-redirect-host"
        local = LocalRule(loopback=False, hosts=self.local.hosts + hosts, advice=advice)
        return replace(self, local=local)

    @cached_property
    def _local(self) -> LocalRule:
        """The local rule; an administrator who grants an address means that address, wherever it lies."""
        spelt = tuple(rule for rule in self.hosts or () if rule.names_address)
        return replace(self.local, hosts=self.local.hosts + spelt)

    def _check_host(self, place: Place, name: str) -> None:
        if self.closed:
            raise NotAllowed(name, self.closed, reason=self.reason)
        if self.hosts is None or any(rule.matches(place) for rule in self.hosts):
            return
        granted = ", ".join(map(str, self.hosts)) or "none"
        rule = (
            f"{place} is not granted to namespace {self.namespace!r} as {self.purpose} (granted: {granted})"
        )
        raise NotAllowed(name, f"{rule}; {self.ask}")

    def _check_address(self, place: Place, address: IpAddress, name: str) -> None:
        meaning = self._local.forbids(place, address)
        if meaning is None:
            return
        what = f"{place}" if place.address == address else f"{place} is {address}, which"
        rule = f"{what} is {meaning} and must not be reached; {self._local.advice}"
        raise NotAllowed(name, rule, reason="AddressRefused")


def _shown(url: str) -> str:
    """The address up to its query, which may hold a signature, and without a user's password."""
    head = url.partition("?")[0][:200]
    return repr(f"{head.partition('://')[0]}://…@{head.rpartition('@')[2]}" if "@" in head else head)
