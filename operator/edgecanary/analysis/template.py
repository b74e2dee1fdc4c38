"""Filling a custom query's `{{ … }}` places."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgecanary.base.errors import InvalidInput

_PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
NOBODY = "none-in-step^"
"""A regular expression that matches no node name, for a step without updated nodes."""


@dataclass(frozen=True)
class Scope:
    """What a query is about: the model, its two revisions and the nodes that run the canary.

    `strata` has the names of all nodes by stratum, for methods that need to know how canaries were chosen.
    """

    namespace: str
    model: str
    canary: str
    stable: str
    nodes: tuple[str, ...]
    window_seconds: int
    strata: tuple[tuple[str, ...], ...] = ()


def fill(query: str, scope: Scope, *, field: str) -> str:
    """The query with its places filled in.

    Raises InvalidInput naming `field` when a place is not known.
    """
    values = {
        "namespace": scope.namespace,
        "model": scope.model,
        "canary": scope.canary,
        "stable": scope.stable,
        "nodes": nodes_pattern(scope.nodes),
        "window": f"{scope.window_seconds}s",
    }

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            known = ", ".join(f"{{{{ {key} }}}}" for key in values)
            raise InvalidInput(field, f"{match[0]} is not known; use one of {known}")
        return values[name]

    return _PLACE.sub(replace, query)


def names_place(query: str, name: str) -> bool:
    """Whether the query has the place `{{ name }}`."""
    return any(match[1] == name for match in _PLACE.finditer(query))


def nodes_pattern(nodes: Sequence[str]) -> str:
    """A regular expression for just these nodes, escaped for use inside a PromQL string."""
    return (
        "|".join(re.escape(node).replace("\\-", "-").replace("\\", "\\\\") for node in sorted(nodes))
        or NOBODY
    )
