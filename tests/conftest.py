"""Fixtures for all tests: the real parts come from the lab (`hack/edgelab`)."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["edgelab.fixtures"]

# How long an example takes says something of the machine, not of the code.
settings.register_profile("edgecanary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgecanary")
