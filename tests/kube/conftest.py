"""Fixtures of the tests on a real API server."""

import uuid
from collections.abc import Iterator

import pytest

from edgelab.controlplane import ControlPlane
from edgelab.install import GUARDS, apply_rights
from edgelab.modelzoo import ZooModel, open_zoo
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import OperatorLab


@pytest.fixture(scope="session")
def operator_roles(control_plane: ControlPlane) -> None:
    """The roles that are installed; what guards EdgeNodes is not: these tests write them as an administrator."""
    apply_rights(control_plane, but=GUARDS)


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


_POOL = 24
"""Namespaces that a shared operator serves: more than any module has tests."""


@pytest.fixture(scope="module")
def served_labs(
    control_plane: ControlPlane, operator_roles: None, lab_supervisor: Supervisor
) -> Iterator[Iterator[OperatorLab]]:
    """Labs that one operator serves, for the tests of a module that leave it alone."""
    names = [f"served-{uuid.uuid4().hex[:12]}" for _ in range(_POOL)]
    for name in names:
        control_plane.create_namespace(name)
    first = OperatorLab(control_plane, lab_supervisor, names[0])
    operator = first.start(*(word for name in names for word in ("--namespace", name)))
    labs = (
        OperatorLab(
            control_plane, lab_supervisor, name, first.metrics_port, operator=operator, system=names[0]
        )
        for name in names
    )
    yield labs
    first.stop()
    for name in names:
        control_plane.delete_namespace(name)


@pytest.fixture
def served_lab(served_labs: Iterator[OperatorLab], s3: S3Server) -> Iterator[OperatorLab]:
    """A namespace that an operator serves already, with the store's keys in the Secret `model-bucket`."""
    found = next(served_labs)
    found.secret(s3.environment)
    yield found
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
