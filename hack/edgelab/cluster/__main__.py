"""`make cluster`: a cluster of real nodes that runs until Ctrl-C or `make cluster-down`."""

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from edgelab.cluster.cluster import Cluster, ClusterSettings
from edgelab.cluster.owner import Owner
from edgelab.errors import LabError
from edgelab.fleet.layout import two_classes
from edgelab.images.build import OUTPUT
from edgelab.processes import Supervisor
from edgelab.tools.download import architecture
from edgelab.tools.progress import say


def main() -> int:
    """Run what the arguments say; 1 when it cannot be done."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="how many")
    parser.add_argument("--bare", action="store_true", help="without the images of `make images`")
    parser.add_argument("--folder", type=Path, help="for all data; `make cluster-down` does not find it then")
    parser.add_argument("--down", action="store_true", help="end the cluster that runs")
    options = parser.parse_args()
    try:
        if options.down:
            say("the cluster has ended" if Owner().end() else "no cluster runs")
            return 0
        nodes = two_classes(options.nodes - options.nodes // 2, options.nodes // 2)
        images = () if options.bare else tuple(sorted(OUTPUT.glob(f"*-{architecture()}.tar")))
        settings = ClusterSettings(nodes, images)
        if options.folder:
            return _run(settings, options.folder)
        with Owner().owning():
            return _run(settings, Path(tempfile.mkdtemp(prefix="edgelab-cluster-")))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def _run(settings: ClusterSettings, folder: Path) -> int:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    for image in settings.images:
        say(f"with the image {image}")
    with Supervisor(folder / "logs") as supervisor:
        start = time.monotonic()
        with Cluster(supervisor, folder, settings) as cluster:
            say(f"the nodes are Ready after {time.monotonic() - start:.0f} s; logs are in {folder / 'logs'}")
            print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
            say("It runs until Ctrl-C or `make cluster-down`.")
            ended.wait()
            say("ending")
    return 0


sys.exit(main())
