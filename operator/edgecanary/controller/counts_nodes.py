"""From Prometheus's vectors to arrays by node."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.counts import Floats
from edgecanary.analysis.query import QueryError, Vector
from edgecanary.analysis.reading import Side, padded

NODE_LABEL = "node"

_Labels = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Counted:
    """Values by node, of the canary and of the stable revision: 0 where there is none, and as they came else."""

    canary: Floats
    stable: Floats

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self.canary.nbytes + self.stable.nbytes


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

    def counted(self, vector: Vector) -> Counted | QueryError:
        """The values by node, or why they cannot be told apart by node."""
        values = self._by_node(vector)
        if any("" in of_revision for of_revision in values.values()):
            text = f"the agents' metrics have no label {NODE_LABEL!r}, so nodes cannot be told apart"
            return QueryError("NodeLabelMissing", f"{text}; add it in Prometheus's scrape configuration")
        size = self._register([name for of_revision in values.values() for name in of_revision])
        return Counted(
            self._array(values[self._canary], size, 0.0), self._array(values[self._stable], size, 0.0)
        )

    def first_samples(self, began: Vector) -> Counted:
        """The time of each node's first canary sample, infinite where there is none."""
        values = {
            node: sample.value
            for sample in began.samples
            if (node := dict(sample.labels).get(NODE_LABEL, "")) and np.isfinite(sample.value)
        }
        return Counted(self._array(values, self._register(list(values)), np.inf), np.zeros(0))

    def _register(self, names: Sequence[str]) -> int:
        """Gives each node a position; how many nodes there are now."""
        with self._lock:
            for name in names:
                self._positions.setdefault(name, len(self._positions))
            return len(self._positions)

    def _by_node(self, vector: Vector) -> dict[str, dict[str, float]]:
        """Values by revision and node; what has no node is under the empty name, when it counted anything."""
        found: dict[str, dict[str, float]] = {self._canary: {}, self._stable: {}}
        for sample in vector.samples:
            labels = dict(sample.labels)
            values, node = found.get(labels.get("revision", "")), labels.get(NODE_LABEL, "")
            if values is not None and (node or sample.value > 0):
                values[node] = sample.value
        return found

    def _array(self, values: Mapping[str, float], size: int, filler: float) -> Floats:
        found = np.full(size, filler)
        for name, value in values.items():
            found[self._positions[name]] = value
        return found


def make_side(total: Floats, bad: Floats, present: Floats, size: int) -> Side:
    """One revision's counts of all nodes. A node whose counts are no numbers is left out: it is unknown."""
    total, bad, present = (padded(values, size) for values in (total, bad, present))
    usable = np.isfinite(total) & np.isfinite(bad)
    total = np.where(usable, np.maximum(total, 0.0), 0.0)
    return Side(
        total=total,
        bad=np.where(usable, np.clip(np.where(usable, bad, 0.0), 0.0, total), 0.0),
        present=np.where(usable & np.isfinite(present), present, 0.0),
    )
