"""What the chart renders for the Prometheus Operator, held against the operator's own API types."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from edgelab import tools
from edgelab.api import JsonObject
from edgelab.tools import monitors

NEEDS_GO = pytest.mark.skipif(bool(monitors.missing()), reason=monitors.missing() or "the checker is there")
"""For tests of the checker: a machine that was never told to have Go shall pass, and say what it left out."""


@dataclass(frozen=True)
class Verdict:
    """What the checker says of some documents.

    Attributes:
        accepted: `Kind/name` of each that the types take, in order.
        refused: a line for each that they do not: what, and what is wrong.
    """

    accepted: list[str]
    refused: list[str]


def check(text: str) -> Verdict:
    """The checker's verdict on documents in YAML or JSON; its exit code must go with its words."""
    result = subprocess.run([tools.check_monitors()], input=text, capture_output=True, text=True, check=False)
    refused = result.stderr.splitlines()
    assert result.returncode == (1 if refused else 0), result
    accepted = [line.removeprefix("stdin/") for line in result.stdout.splitlines()]
    return Verdict([line.removesuffix(": accepted") for line in accepted], refused)


def check_items(items: Iterable[JsonObject]) -> Verdict:
    """The checker's verdict on objects."""
    return check("\n---\n".join(json.dumps(item) for item in items))
