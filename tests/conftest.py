"""Fixtures for all tests: the real parts come from the lab (`hack/edgelab`)."""

pytest_plugins = ["edgelab.fixtures"]
