"""Three revisions of one model and the server of their files."""

from collections.abc import Iterator

import pytest

from edgecanary.api.modelrelease import RevisionStatement
from tests.unit.agent.releasing import (
    statement,
)
from tests.unit.fileserver import FileServer, file_server


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(files: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=files.put, golden=b"golden a")


@pytest.fixture
def b(files: FileServer) -> RevisionStatement:
    return statement("2.0.0", publish=files.put, golden=b"golden b")


@pytest.fixture
def c(files: FileServer) -> RevisionStatement:
    return statement("3.0.0", publish=files.put)
