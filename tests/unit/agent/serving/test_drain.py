"""The agent's process on SIGTERM: what is in progress ends, within a limit."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from edgelab.ports import accepts_connections
from tests.unit.agent.modelmaking import counting_io, counting_model
from tests.unit.agent.serving.agent_process import AgentProcess, Model, running_agent
from tests.unit.agent.serving.harness import tensor

MODELS = {"count": Model(counting_model(), counting_io())}


def body_of(number: int) -> bytes:
    return json.dumps({"inputs": [tensor("x", "INT64", [], [number])]}).encode()


@contextlib.contextmanager
def begun(agent: AgentProcess, body: bytes) -> Iterator[socket.socket]:
    """A request that the agent has let in: it asked for the body, which is still to be sent."""
    with socket.create_connection(("127.0.0.1", agent.port), timeout=60) as wire:
        lines = ("POST /v2/models/count/infer HTTP/1.1", "host: x", f"content-length: {len(body)}")
        wire.sendall("\r\n".join([*lines, "expect: 100-continue", "", ""]).encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 100 ")
        yield wire


def received(wire: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := wire.recv(2**16):
            data += piece
    return data


def wait_until_closed(agent: AgentProcess) -> None:
    """Until it takes no connection any more."""
    for _ in range(1200):
        if not accepts_connections(agent.port):
            return
        threading.Event().wait(0.05)
    raise AssertionError("the agent still listens")


def test_a_request_that_is_on_its_way_is_answered_and_then_the_process_ends(tmp_path: Path) -> None:
    body = body_of(3)
    with running_agent(tmp_path, MODELS, "--drain-seconds", "60") as agent, begun(agent, body) as wire:
        agent.terminate()
        wait_until_closed(agent)
        assert agent.process.poll() is None
        wire.sendall(body)
        head, _, content = received(wire).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close" in head
        assert json.loads(content)["outputs"][0]["data"] == [3]
        assert agent.wait() == 0


def test_what_takes_longer_than_the_limit_does_not_keep_the_process(tmp_path: Path) -> None:
    body = body_of(2**40)
    with running_agent(tmp_path, MODELS, "--drain-seconds", "0.3") as agent, begun(agent, body) as wire:
        wire.sendall(body)
        agent.terminate()
        assert agent.wait() == 0
        assert received(wire) == b""
