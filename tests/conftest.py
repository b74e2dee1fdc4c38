"""Fixtures for all tests: the real parts come from the lab (`hack/edgelab`)."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["edgelab.fixtures"]

# How long an example takes says something of the machine, not of the code.
settings.register_profile("edgecanary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgecanary")


class ByFile(LoadFileScheduling):  # type: ignore[misc] # the library has no types
    """A file's tests run in one worker, in order; all end-to-end tests do, since they share a fleet."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/e2e" if path.startswith("tests/e2e/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Decides which worker runs what."""
    return ByFile(config, log)
