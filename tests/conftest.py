"""Fixtures for all tests: the real parts come from the lab (`hack/edgelab`)."""

import os
from collections.abc import Sequence

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


SHARED_PARTS = ("tests/kube/", "tests/e2e/", "tests/cluster/")
"""Where tests wait for servers that share two cores with other tests."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """On CI a test beside real servers that fails has a second try, which the summary shows as RERUN.

    Not at home, where whoever runs it can look at once, and never for tests that nothing outside can disturb.
    """
    if "CI" not in os.environ:
        return
    for item in items:
        if item.nodeid.startswith(SHARED_PARTS):
            item.add_marker(pytest.mark.flaky(reruns=1))
