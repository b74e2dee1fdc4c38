"""`edgecanary check`: what it says of an operator that answers wrongly, late or not at all."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgecanary import __version__
from edgecanary.base.errors import Unavailable
from edgecanary.cli import check


class Answers(BaseHTTPRequestHandler):
    """Answers each path as told; what was not told is not there."""

    told: dict[str, tuple[int, str]]

    def do_GET(self) -> None:
        status, body = self.told.get(self.path, (404, "nothing here"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def told() -> Iterator[tuple[str, dict[str, tuple[int, str]]]]:
    """The address of a server, and what it answers."""
    handler = type("Told", (Answers,), {"told": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.told  # type: ignore[attr-defined]
        server.shutdown()


def info(version: str) -> str:
    return f'edgecanary_operator_info{{version="{version}"}} 1.0\n'


def test_an_operator_of_this_version_is_well(told: tuple[str, dict[str, tuple[int, str]]]) -> None:
    url, answers = told
    answers |= {"/metrics": (200, info(__version__)), "/readyz": (200, "ok\n")}
    check._wait_ready(url, seconds=0)
    check._same_version(url)


@pytest.mark.parametrize(("text", "found"), [(info("0.0.7"), "0.0.7"), ("up 1\n", "unknown")])
def test_an_operator_of_another_version_is_named(
    told: tuple[str, dict[str, tuple[int, str]]], text: str, found: str
) -> None:
    url, answers = told
    answers["/metrics"] = (200, text)
    with pytest.raises(Unavailable, match=f"it is version {found}; upgrade the chart"):
        check._same_version(url)


def test_what_an_operator_waits_for_is_said(told: tuple[str, dict[str, tuple[int, str]]]) -> None:
    url, answers = told
    answers["/readyz"] = (503, "sync: the first lists are not complete\n")
    with pytest.raises(Unavailable, match="answers 503: sync: the first lists are not complete"):
        check._wait_ready(url, seconds=0)


def test_an_operator_that_becomes_ready_is_waited_for(
    told: tuple[str, dict[str, tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = told
    answers["/readyz"] = (503, "not yet")
    monkeypatch.setattr(check, "_PAUSE_SECONDS", 0.01)
    threading.Timer(0.1, lambda: answers.update({"/readyz": (200, "ok")})).start()
    check._wait_ready(url, seconds=60)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "operator:8080"])
def test_an_address_where_nobody_answers_is_named(url: str) -> None:
    with pytest.raises(Unavailable, match=f"{url}/readyz does not answer"):
        check._wait_ready(url, seconds=0)
