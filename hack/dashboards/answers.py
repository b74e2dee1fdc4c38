"""Prometheus's answers for a page: as of now, and over a window of time."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgelab.api import JsonObject

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_SECONDS = 30.0
_POINTS = 150


@dataclass(frozen=True)
class Found:
    """One series: its labels, and its values by time."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    name: str = ""

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]

    def named(self, legend: str) -> "Found":
        """With the name that a legend's format gives it."""
        if legend == "__auto":
            return replace(self, name=", ".join(self.labels.values()))
        return replace(self, name=_LABEL.sub(lambda match: self.labels.get(match[1], ""), legend))


@dataclass(frozen=True)
class Answers:
    """One Prometheus and one window; times in seconds since 1970."""

    url: str
    begin: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max(1.0, round((self.end - self.begin) / _POINTS))

    def now(self, expression: str) -> list[Found]:
        """The series at the end of the window."""
        asked = {"query": expression, "time": str(self.end)}
        return [_found(item, [item["value"]]) for item in self._ask("query", asked)]

    def over_time(self, expression: str) -> list[Found]:
        """The series over the window."""
        asked = {"query": expression, "start": str(self.begin), "end": str(self.end), "step": str(self.step)}
        return [_found(item, item["values"]) for item in self._ask("query_range", asked)]

    def values(self, selector: str, label: str) -> list[str]:
        """What `label_values(selector, label)` gives in Grafana."""
        return sorted({one.labels[label] for one in self.now(selector) if label in one.labels})

    def _ask(self, path: str, asked: Mapping[str, str]) -> list[JsonObject]:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=_SECONDS) as reply:  # noqa: S310 - the lab's Prometheus
            found: list[JsonObject] = json.load(reply)["data"]["result"]
        return found


def _found(item: JsonObject, values: Sequence[tuple[float, str]]) -> Found:
    labels = {name: value for name, value in item["metric"].items() if name != "__name__"}
    points = [(float(moment), float(value)) for moment, value in values]
    return Found(labels, [point for point in points if math.isfinite(point[1])] or [(points[-1][0], 0.0)])
