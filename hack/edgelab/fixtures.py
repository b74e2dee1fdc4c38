"""pytest fixtures of the real parts. All are lazy: a test that asks for none starts nothing.

The logs of a run lie in `.logs/<run>/`. A failing test names the folder; a run without a failure
removes it.
"""

import contextlib
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from os import getpid
from pathlib import Path
from typing import Protocol

import pytest

from edgelab import tools
from edgelab.controlplane import ControlPlane
from edgelab.paths import ROOT
from edgelab.processes import Supervisor
from edgelab.prometheus import Prometheus
from edgelab.s3 import S3Server


class LogFolder:
    """The logs of one pytest run: kept when a test failed, else removed at the end."""

    def __init__(self) -> None:
        self.path = ROOT / ".logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{getpid()}"
        self.keep = False

    def of_test(self, item: pytest.Item) -> Path:
        """The folder of one test."""
        name = re.sub(r"[^\w.-]+", "-", item.nodeid.removeprefix("tests/")).strip("-")
        return self.path / name[:150]

    def close(self) -> None:
        """Remove the logs unless they are to be kept."""
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


class NewControlPlane(Protocol):
    """Makes and starts a control plane of the test's own."""

    def __call__(
        self, *, audit: bool = False, definitions: bool = True, api_server_args: Sequence[str] = ()
    ) -> ControlPlane: ...


_LOGS = pytest.StashKey[LogFolder]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LOGS] = LogFolder()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_LOGS].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    logs = item.config.stash[_LOGS]
    if report.failed and logs.path.exists():
        logs.keep = True
        where = f"{logs.path / 'shared'} (shared parts)\n{logs.of_test(item)} (this test's own)"
        report.sections.append(("logs of the lab", where))
    return report


@pytest.fixture(scope="session")
def lab_supervisor(pytestconfig: pytest.Config) -> Iterator[Supervisor]:
    """Runs the parts that all tests share."""
    with Supervisor(pytestconfig.stash[_LOGS].path / "shared") as supervisor:
        yield supervisor


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    """Runs a test's own processes and stops them at its end."""
    with Supervisor(request.config.stash[_LOGS].of_test(request.node)) as supervisor:
        yield supervisor


@pytest.fixture(scope="session")
def control_plane(lab_supervisor: Supervisor, pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """The shared API server, with the kinds of crds/; give each test a namespace of its own."""
    _get_programs(pytestconfig, (tools.etcd, tools.kube_apiserver, tools.kubectl))
    with _data_dir("control-plane") as folder, _serving(ControlPlane(lab_supervisor, folder)) as shared:
        yield shared


@pytest.fixture(scope="session")
def breakable_control_plane(
    lab_supervisor: Supervisor, pytestconfig: pytest.Config
) -> Iterator[ControlPlane]:
    """A second shared API server, for `breakable`."""
    _get_programs(pytestconfig, (tools.etcd, tools.kube_apiserver, tools.kubectl))
    with _data_dir("breakable") as folder, _serving(ControlPlane(lab_supervisor, folder)) as shared:
        yield shared


@pytest.fixture
def breakable(breakable_control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """An API server with our kinds that a test may kill and freeze; the next test finds it whole."""
    breakable_control_plane.start()
    yield breakable_control_plane
    breakable_control_plane.start()


@pytest.fixture
def new_control_plane(processes: Supervisor, pytestconfig: pytest.Config) -> Iterator[NewControlPlane]:
    """Makes control planes of the test's own: with an audit log, or without our kinds. Each takes 10 s."""
    _get_programs(pytestconfig, (tools.etcd, tools.kube_apiserver, tools.kubectl))
    with contextlib.ExitStack() as stack:

        def make(
            *, audit: bool = False, definitions: bool = True, api_server_args: Sequence[str] = ()
        ) -> ControlPlane:
            folder = stack.enter_context(_data_dir("control-plane"))
            own = ControlPlane(processes, folder, audit=audit, api_server_args=api_server_args)
            return stack.enter_context(_serving(own, definitions=definitions))

        yield make


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace of the shared API server, emptied of our kinds afterwards."""
    control_plane.start()
    name = f"test-{uuid.uuid4().hex[:12]}"
    control_plane.create_namespace(name)
    yield name
    control_plane.start()
    control_plane.delete_namespace(name)


@pytest.fixture
def prometheus(processes: Supervisor, pytestconfig: pytest.Config) -> Iterator[Prometheus]:
    """A Prometheus of the test's own, without targets at first."""
    _get_programs(pytestconfig, (tools.prometheus,))
    with _data_dir("prometheus") as folder:
        server = Prometheus(processes, folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def s3(lab_supervisor: Supervisor) -> Iterator[S3Server]:
    """The shared S3 server; give each test a bucket of its own."""
    with _data_dir("s3") as folder:
        server = S3Server(lab_supervisor, folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A fresh bucket of the shared S3 server."""
    s3.start()
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(name)
    return name


@contextlib.contextmanager
def control_plane_in(
    folder: Path, *, audit: bool = False, definitions: bool = True
) -> Iterator[ControlPlane]:
    """A control plane for the tests of one module, which may break it and change what is installed."""
    with (
        Supervisor(folder / "logs") as supervisor,
        _serving(ControlPlane(supervisor, folder / "data", audit=audit), definitions=definitions) as own,
    ):
        yield own


@contextlib.contextmanager
def _serving(control_plane: ControlPlane, *, definitions: bool = True) -> Iterator[ControlPlane]:
    """Start a control plane, with our kinds unless told otherwise; stop it afterwards."""
    control_plane.start()
    crds = ROOT / "crds"
    if definitions and any(crds.glob("*.yaml")):
        control_plane.apply_crds(crds)
    yield control_plane
    control_plane.stop()


@contextlib.contextmanager
def _data_dir(name: str) -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix=f"edgelab-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _get_programs(config: pytest.Config, programs: Sequence[Callable[[], Path]]) -> None:
    """Find or make programs with pytest's capturing off: a build of minutes must be seen."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        for program in programs:
            program()
