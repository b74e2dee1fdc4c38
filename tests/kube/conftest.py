"""Fixtures of the tests on a real API server."""

from collections.abc import Iterator

import pytest

from edgelab.controlplane import ControlPlane
from edgelab.modelzoo import ZooModel, open_zoo
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import OperatorLab, apply_roles


@pytest.fixture(scope="session")
def operator_roles(control_plane: ControlPlane) -> None:
    """The roles of config/rbac."""
    apply_roles(control_plane)


@pytest.fixture
def lab(
    control_plane: ControlPlane, operator_roles: None, processes: Supervisor, namespace: str
) -> Iterator[OperatorLab]:
    """A namespace in which an operator can be started."""
    found = OperatorLab(control_plane, processes, namespace)
    yield found
    control_plane.start()
    if found.operator is not None:
        found.operator.stop()
    found.remove_nodes()


@pytest.fixture(scope="session")
def tiny() -> ZooModel:
    """A real ONNX model of a kilobyte."""
    return open_zoo()["tiny"]


@pytest.fixture
def stocked_lab(lab: OperatorLab, s3: S3Server) -> OperatorLab:
    """A lab with the store's keys in the Secret `model-bucket`."""
    lab.secret(s3.environment)
    return lab
