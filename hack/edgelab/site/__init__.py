"""edgecanary installed on a whole cluster from its images and its chart, with all that it needs around it."""

from edgelab.site.contract import AnyCluster, RunningNode
from edgelab.site.site import Client, Site

__all__ = ["AnyCluster", "Client", "RunningNode", "Site"]
