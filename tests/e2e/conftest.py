"""One fleet of five nodes for all end-to-end tests; each test has a model and a namespace of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelab.fleet import Fleet, FleetSettings, two_classes
from edgelab.processes import Supervisor
from tests.e2e.scene import Scene, scene_on


@pytest.fixture(scope="package")
def fleet(lab_supervisor: Supervisor) -> Iterator[Fleet]:
    """Three nodes with int8 instructions and two without; a test may break it, the next finds it whole."""
    folder = Path(tempfile.mkdtemp(prefix="edgelab-fleet-"))
    settings = FleetSettings(nodes=two_classes(3, 2), agent_flags=("--retry-cap-seconds=2",))
    with Fleet(lab_supervisor, folder, settings) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def scene(fleet: Fleet) -> Iterator[Scene]:
    """The test's own model on the fleet."""
    with scene_on(fleet) as own:
        yield own
