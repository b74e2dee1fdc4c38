"""Grafana's variables, filled in."""

import re
from collections.abc import Mapping

VARIABLE = re.compile(r"\$\{?(\w+)\}?")
LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
BUILT_IN: Mapping[str, str] = {"__rate_interval": "1m"}
"""What Grafana fills in by itself."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables filled in. Raises KeyError for one that has no value."""
    known = {**BUILT_IN, **values}
    return VARIABLE.sub(lambda match: known[match[1]], text)
