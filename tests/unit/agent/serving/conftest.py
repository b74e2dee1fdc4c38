"""Fixtures of the serving layer's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.agent.serving.harness import Node, running_node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running inference server without models."""
    async with running_node() as running:
        yield running
