"""From Prometheus's vectors to arrays by node."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from edgecanary.analysis.counts import Floats
from edgecanary.analysis.query import QueryError, Vector
from edgecanary.analysis.reading import Side

NODE_LABEL = "node"

_Labels = Sequence[tuple[str, str]]


class NodeTable:
    """The nodes seen so far, each with a position that it keeps. May be used by several threads."""

    def __init__(self, canary: str, stable: str) -> None:
        self._canary = canary
        self._stable = stable
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names by position."""
        return tuple(self._positions)

    def position(self, labels: _Labels, revision: str) -> int:
        """The position of the node that the labels name, -1 when it is not known or of another revision."""
        found = dict(labels)
        if found.get("revision") != revision:
            return -1
        return self._positions.get(found.get(NODE_LABEL, ""), -1)

    def sides(self, total: Vector, bad: Vector, present: Vector) -> tuple[Side, Side] | QueryError:
        """The canary's and the stable revision's counts, or why they cannot be told apart by node.

        A node whose counts are no numbers is left out: it is unknown.
        """
        known = [self._by_node(vector) for vector in (total, bad, present)]
        if any("" in values for side in known for values in side.values()):
            text = f"the agents' metrics have no label {NODE_LABEL!r}, so nodes cannot be told apart"
            return QueryError("NodeLabelMissing", f"{text}; add it in Prometheus's scrape configuration")
        with self._lock:
            for side in known:
                for values in side.values():
                    for name in values:
                        self._positions.setdefault(name, len(self._positions))
            size = len(self._positions)
        return self._side(self._canary, known, size), self._side(self._stable, known, size)

    def first_samples(self, began: Vector) -> Floats:
        """The time of each node's first canary sample, infinite where there is none."""
        found = np.full(len(self._positions), np.inf)
        for sample in began.samples:
            position = self._positions.get(dict(sample.labels).get(NODE_LABEL, ""), -1)
            if 0 <= position < len(found) and np.isfinite(sample.value):
                found[position] = sample.value
        return found

    def _by_node(self, vector: Vector) -> dict[str, dict[str, float]]:
        """Values by revision and node; what has no node is under the empty name, when it counted anything."""
        found: dict[str, dict[str, float]] = {self._canary: {}, self._stable: {}}
        for sample in vector.samples:
            labels = dict(sample.labels)
            values, node = found.get(labels.get("revision", "")), labels.get(NODE_LABEL, "")
            if values is not None and (node or sample.value > 0):
                values[node] = sample.value
        return found

    def _side(self, revision: str, known: Sequence[Mapping[str, Mapping[str, float]]], size: int) -> Side:
        total, bad, present = (self._array(values[revision], size) for values in known)
        usable = np.isfinite(total) & np.isfinite(bad)
        total = np.where(usable, np.maximum(total, 0.0), 0.0)
        return Side(
            total=total,
            bad=np.where(usable, np.clip(np.where(usable, bad, 0.0), 0.0, total), 0.0),
            present=np.where(usable & np.isfinite(present), present, 0.0),
        )

    def _array(self, values: Mapping[str, float], size: int) -> Floats:
        found = np.zeros(size)
        for name, value in values.items():
            found[self._positions[name]] = value
        return found
