"""The application's own runtime is told what is active, and may refuse it."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.api.edgenode import ModelResult
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from edgecanary.clients.localhook import LocalHook, parse_hook
from tests.unit.agent.nodeplay import node, quiet
from tests.unit.agent.releasing import Releases, everywhere, statement, until
from tests.unit.fileserver import FileServer, file_server


class Application:
    """A hook that notes what it is told, and answers as it is set to."""

    def __init__(self) -> None:
        self.told: list[dict[str, str | None]] = []
        self.status = 200
        self.refused = ""
        """A version that gets 422."""
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                application.told.append(said)
                refused = application.refused and said["version"] == application.refused
                self.send_response(422 if refused else application.status)
                self.end_headers()
                self.wfile.write(b"garbled labels" if refused else b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def hook(self) -> LocalHook:
        return parse_hook(f"http://127.0.0.1:{self.server.server_address[1]}/model", field="--notify-url")

    def was_told(self, version: str | None, phase: str) -> bool:
        return (version, phase) in {(said["version"], said["phase"]) for said in self.told}


@pytest.fixture
def application() -> Iterator[Application]:
    found = Application()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture(autouse=True)
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecanary.agent.notify.ASK_SECONDS", 0.05)
    monkeypatch.setattr("edgecanary.agent.steps.ASK_SECONDS", 0.05)
    monkeypatch.setattr("edgecanary.agent.notify._FIRST_SECONDS", 0.05)


def delivered(files: FileServer) -> tuple[RevisionStatement, RevisionStatement]:
    """Two revisions whose files are delivered and not served."""
    a, b = (statement(version, publish=files.put, serve=False) for version in ("1.0.0", "2.0.0"))
    return a, b


async def test_the_application_is_told_of_every_switch_and_of_the_way_back(
    tmp_path: Path, application: Application, files: FileServer
) -> None:
    a, b = delivered(files)
    async with node(tmp_path, hook=application.hook) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        await until(lambda: application.was_told("1.0.0", "Active"))
        said = application.told[-1]
        assert said["revision"] == a.revision
        assert said["path"] == str(edge.home.installed(a.revision).directory)
        assert edge.home.active_link.resolve() == Path(str(said["path"])).resolve()
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        await until(lambda: application.told[-1]["version"] == "1.0.0")
        edge.hear(releases.next())
        await until(lambda: application.was_told(None, "Withdrawn"))


async def test_a_refusal_within_the_soak_takes_the_revision_back(
    tmp_path: Path, application: Application, files: FileServer
) -> None:
    a, b = delivered(files)
    async with node(tmp_path, hook=application.hook) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        releases.health = DeviceHealth(soak_seconds=600)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: application.was_told("2.0.0", "Trial"))
        assert edge.record.state is State.HEALTH
        application.refused = "2.0.0"
        await until(lambda: edge.record.rejected)

        outcome = edge.record.outcome
        assert (outcome.result, outcome.reason) == (ModelResult.HEALTH_FAILED, "RefusedByApplication")
        assert outcome.message == "the application refuses it: garbled labels; 1.0.0 is active again"
        await until(
            lambda: (application.told[-1]["version"], application.told[-1]["phase"]) == ("1.0.0", "Active")
        )


async def test_an_application_that_does_not_answer_leaves_the_revision_on_trial_and_that_is_reported(
    tmp_path: Path, application: Application, files: FileServer
) -> None:
    a, _ = delivered(files)
    application.status = 500
    async with node(tmp_path, hook=application.hook) as edge:
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.record.outcome.reason == "NotifyUnanswered")
        await quiet()
        assert edge.record.state is State.HEALTH
        assert edge.news[-1].reason == "NotifyUnanswered"
        application.status = 200
        await edge.settles(a)


async def test_a_restarted_node_tells_again_what_is_active(
    tmp_path: Path, application: Application, files: FileServer
) -> None:
    a, _ = delivered(files)
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
    assert application.told == []
    async with node(tmp_path, hook=application.hook):
        await until(lambda: application.was_told("1.0.0", "Active"))
