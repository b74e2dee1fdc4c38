"""One cluster of real nodes with edgecanary on it, for all tests here."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgelab.cluster.cluster import Cluster, ClusterSettings
from edgelab.fleet import two_classes
from edgelab.images import Built, build
from edgelab.processes import Supervisor
from edgelab.site import AnyCluster, Site
from edgelab.site.kind import KindCluster
from tests.cluster.scene import VALUES, Scene, scene_on

NODES = two_classes(2, 1)


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config) -> Mapping[str, Built]:
    """Both images, built from this checkout; layers that did not change are those of the last build."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return {built.target: built for built in build()}


@pytest.fixture(scope="session")
def cluster(lab_supervisor: Supervisor, images: Mapping[str, Built]) -> Iterator[AnyCluster]:
    """Three nodes with the images on them: our own, or Docker's kind when `EDGECANARY_CLUSTER` is kind."""
    archives = [built.archive for built in images.values()]
    folder = Path(tempfile.mkdtemp(prefix="edgelab-cluster-"))
    with made_cluster(lab_supervisor, folder, archives) as running:
        yield running


def made_cluster(
    supervisor: Supervisor, folder: Path, archives: Sequence[Path]
) -> AbstractContextManager[Cluster | KindCluster]:
    """The cluster that was asked for, not made yet."""
    if os.environ.get("EDGECANARY_CLUSTER") == "kind":
        return KindCluster(supervisor, folder, archives)
    return Cluster(supervisor, folder, ClusterSettings(NODES, archives))


@pytest.fixture(scope="session")
def site(lab_supervisor: Supervisor, cluster: AnyCluster) -> Iterator[Site]:
    """edgecanary on the cluster, installed by helm."""
    folder = Path(tempfile.mkdtemp(prefix="edgelab-site-"))
    with Site(lab_supervisor, cluster, folder) as running:
        running.install(VALUES)
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def scene(site: Site) -> Iterator[Scene]:
    """The test's own model, stable on every node, with traffic."""
    with scene_on(site) as own:
        yield own
