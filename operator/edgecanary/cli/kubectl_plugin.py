"""`kubectl edgecanary …`: the same program under kubectl's name, and its part in kubectl's completion.

What a person does most has no need of the word `rollout` there: `kubectl edgecanary promote pump-anomaly`.
"""

import sys
from collections.abc import Sequence

from edgecanary.cli.main import COMMANDS, COMPLETE, KUBECTL
from edgecanary.cli.main import main as edgecanary

_WITH_VALUE = frozenset(
    {
        "-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "--as", "--as-group",
        "--system-namespace",
    }
)  # fmt: skip
"""Flags that people who are used to kubectl give first."""

_ACTIONS = (
    "list", "get", "watch", "plan", "promote", "pause", "resume", "abort", "retry", "history", "why", "wait",
)  # fmt: skip


def main() -> int:
    """Runs what kubectl was asked for; returns the exit code."""
    return edgecanary(arranged(sys.argv[1:]), program=KUBECTL)


def complete() -> int:
    """Prints what the last word may become, as kubectl reads it."""
    words = arranged(sys.argv[1:-1]) if len(sys.argv) > 1 else []
    return edgecanary(
        [COMPLETE, *words, *sys.argv[-1:]] if len(sys.argv) > 1 else [COMPLETE, ""], program=KUBECTL
    )


def arranged(arguments: Sequence[str]) -> list[str]:
    """The arguments as the program reads them: `rollout` before its actions, flags that come first at the end."""
    leading, rest = _split(arguments)
    if rest and rest[0] in _ACTIONS:
        rest = ["rollout", *rest]
    if not leading or not rest:
        return [*leading, *rest]
    depth = 2 if rest[0] in ("rollout", "node") else 1
    return [*rest[:depth], *leading, *rest[depth:]] if rest[0] in COMMANDS else [*leading, *rest]


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags about the cluster that come before the first word, and what follows them."""
    place = 0
    while place < len(arguments):
        flag = arguments[place]
        if flag in _WITH_VALUE and place + 1 < len(arguments):
            place += 2
        elif flag.partition("=")[0] in _WITH_VALUE and "=" in flag:
            place += 1
        else:
            break
    return list(arguments[:place]), list(arguments[place:])
