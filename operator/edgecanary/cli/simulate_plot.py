"""The picture of `edgecanary simulate --plot`, apart: it needs matplotlib."""

from edgecanary.simulator.plot import draw

__all__ = ["draw"]
