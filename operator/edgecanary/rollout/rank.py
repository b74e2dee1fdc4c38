"""A node's place in the order in which a fleet takes a revision.

The rank is the first 8 bytes, big-endian, of SHA-256(salt + "/" + node name). The salt holds the
Rollout's UID and the revision, so the order is random for every revision and the same on a retry.
A bound says how far into the order a revision reaches: a node takes it when its rank is below.
"""

import hashlib
import struct
from collections.abc import Iterable

RANK_SPACE = 2**64
"""Ranks are 0 … RANK_SPACE - 1; a bound of RANK_SPACE reaches everybody, 0 nobody."""

_BOUND_DIGITS = 17
_FIRST_8_BYTES = struct.Struct(">Q")


def salt_for(rollout_uid: str, revision: str) -> str:
    """The salt of one revision's order in one Rollout."""
    return f"{rollout_uid}{revision}"


def rank(salt: str, node: str) -> int:
    """The node's place in the order that `salt` defines."""
    return ranks(salt, (node,))[0]


def ranks(salt: str, nodes: Iterable[str]) -> list[int]:
    """The places of many nodes, in the order in which they are given."""
    begun = hashlib.sha256(f"{salt}/".encode())
    read = _FIRST_8_BYTES.unpack_from
    found = []
    for node in nodes:
        digest = begun.copy()
        digest.update(node.encode())
        found.append(read(digest.digest())[0])
    return found


def format_bound(bound: int) -> str:
    """The bound as ModelReleases write it: 17 hexadecimal digits, so that texts order as numbers do."""
    if not 0 <= bound <= RANK_SPACE:
        raise ValueError(f"bound must be within 0 and 2**64, got {bound}")
    return f"{bound:0{_BOUND_DIGITS}x}"


def parse_bound(text: str) -> int:
    """The bound that `format_bound` wrote."""
    return int(text, 16)
