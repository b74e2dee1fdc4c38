"""Flags of operator and agent that say whom they serve and where they may connect to."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from edgecanary.base.errors import InvalidInput
from edgecanary.base.hosts import HostRule, parse_rule
from edgecanary.base.reach import LocalRule
from edgecanary.cli.flags import Flags
from edgecanary.clients.tenancy import GrantsFile, Tenancy

_LOOPBACK = ("refuse", "allow")


def add_flags(flags: Flags) -> None:
    """Adds the flags."""
    flags.text(
        "--tenancy-file",
        default=None,
        help="rules that say which namespaces may target which nodes and name which hosts; none by default",
        metavar="FILE",
    )
    flags.many(
        "--allow-host",
        help="a host that models and rollouts may name though its address is loopback or link-local; may be repeated",
        metavar="HOST[:PORT]",
    )
    flags.text(
        "--loopback",
        default=None,
        help="refuse or allow hosts on this machine; by default refuse in a pod and with --tenancy-file, else allow",
        metavar="MODE",
    )


def to_tenancy(options: argparse.Namespace, *, in_pod: bool) -> Tenancy:
    """What the flags mean; `in_pod` is whether the program runs in a pod. Raises InvalidInput naming the flag."""
    mode = options.loopback or ("refuse" if in_pod or options.tenancy_file else "allow")
    if mode not in _LOOPBACK:
        raise InvalidInput(
            "--loopback", f"must be one of {', '.join(_LOOPBACK)}, got {mode!r}", reason="InvalidSetting"
        )
    local = LocalRule(loopback=mode == "allow", hosts=host_rules(options.allow_host, "--allow-host"))
    return Tenancy(local, GrantsFile(Path(options.tenancy_file)) if options.tenancy_file else None)


def host_rules(texts: Sequence[str] | None, flag: str) -> tuple[HostRule, ...]:
    """The hosts that a flag names. Raises InvalidInput naming it."""
    found = []
    for text in texts or ():
        try:
            found.append(parse_rule(text))
        except ValueError as error:
            raise InvalidInput(flag, f"{error}, got {text!r}", reason="InvalidSetting") from error
    return tuple(found)
