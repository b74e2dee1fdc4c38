"""`make cluster`: a cluster of real nodes that runs until Ctrl-C or `make cluster-down`."""

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from edgelab.cluster.cluster import Cluster, ClusterSettings
from edgelab.cluster.machine import why_not
from edgelab.cluster.owner import Owner
from edgelab.errors import LabError
from edgelab.fleet.layout import NodePlan, two_classes
from edgelab.images.build import OUTPUT
from edgelab.processes import Supervisor
from edgelab.tools.progress import say


def main() -> int:
    """Run what the arguments say; 0 when all is well, 3 when this machine cannot have a real node."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="how many")
    parser.add_argument("--probe", action="store_true", help="only say whether this machine can have real nodes")
    parser.add_argument("--down", action="store_true", help="end the cluster that runs")
    options = parser.parse_args()
    if options.probe:
        return _probe()
    try:
        if options.down:
            say("the cluster has ended" if Owner().end() else "no cluster runs")
            return 0
        return _run(two_classes(options.nodes - options.nodes // 2, options.nodes // 2))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def _probe() -> int:
    reasons = why_not()
    for reason in reasons:
        print(reason)
    return 3 if reasons else 0


def _run(nodes: tuple[NodePlan, ...]) -> int:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    images = sorted(OUTPUT.glob("*.tar"))
    for image in images:
        say(f"with the image {image}")
    folder = Path(tempfile.mkdtemp(prefix="edgelab-cluster-"))
    with Owner().owning(), Supervisor(folder / "logs") as supervisor:
        start = time.monotonic()
        with Cluster(supervisor, folder, ClusterSettings(nodes, images)) as cluster:
            say(f"the nodes are Ready after {time.monotonic() - start:.0f} s; logs are in {folder / 'logs'}")
            print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
            say("It runs until Ctrl-C or `make cluster-down`.")
            ended.wait()
            say("ending")
    return 0


sys.exit(main())
