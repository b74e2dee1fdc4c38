"""Serving on a Unix socket beside TCP, and whose the socket's file is."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import aiohttp
import pytest

from edgecanary.agent.serving.server import InferenceServer
from edgecanary.agent.telemetry import Telemetry
from edgecanary.base.errors import InvalidInput, Unavailable
from tests.unit.agent.modelmaking import adding_model, install, row_io
from tests.unit.agent.serving.harness import rows

OTHER = textwrap.dedent(
    """
    import asyncio, sys
    from edgecanary.agent.serving.server import InferenceServer
    from edgecanary.agent.telemetry import Telemetry
    async def main():
        server = InferenceServer(Telemetry(agent_version="1"), version="1")
        await server.start(sys.argv[1])
        print("listens", flush=True)
        await asyncio.sleep(600)
    asyncio.run(main())
    """
)


def new_server() -> InferenceServer:
    return InferenceServer(Telemetry(agent_version="1"), version="1")


def other_process(address: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": "operator"}
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, address], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"listens\n"
    return process


async def asked(path: Path) -> dict[str, object]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
        client.post("http://edge/v2/models/pump/infer", json=rows(1, 2, 3, 4)) as answer,
    ):
        assert answer.status == 200
        content: dict[str, object] = await answer.json()
        return content


async def test_models_answer_on_the_socket_and_on_tcp(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    server = new_server()
    await server.start("127.0.0.1:0", f"unix:{path}")
    await server.activate(install(tmp_path, adding_model(2), row_io()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    by_socket = await asked(path)
    async with aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{server.port}/v2/models/pump/infer"
        async with client.post(url, json=rows(1, 2, 3, 4)) as answer:
            assert await answer.json() == by_socket
    await server.stop()
    assert not path.exists()
    assert not path.with_name("agent.sock.new").exists()


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    dead = other_process(f"unix:{path}")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert path.is_socket()
    server = new_server()
    await server.start(f"unix:{path}")
    await server.activate(install(tmp_path, adding_model(2), row_io()))
    await asked(path)
    await server.stop()


async def test_a_socket_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    living = other_process(f"unix:{path}")
    try:
        before = path.stat().st_ino
        with pytest.raises(
            Unavailable, match=r"--listen: cannot listen on unix:.*: another process listens there"
        ):
            await new_server().start(f"unix:{path}")
        assert path.stat().st_ino == before
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    finally:
        living.kill()
        living.wait()


async def test_a_socket_of_a_living_program_that_takes_no_lock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        with pytest.raises(Unavailable, match="another process listens there"):
            await new_server().start(f"unix:{path}")
        assert path.is_socket()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_text("precious")
    with pytest.raises(Unavailable, match="there is a file that is no socket; choose another path"):
        await new_server().start(f"unix:{path}")
    assert path.read_text() == "precious"


async def test_a_server_that_lost_its_file_to_another_does_not_remove_that_ones(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    server = new_server()
    await server.start(f"unix:{path}")
    path.unlink()
    path.write_text("another's")
    await server.stop()
    assert path.read_text() == "another's"


async def test_when_one_address_cannot_be_had_none_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    server = new_server()
    with pytest.raises(Unavailable, match="No such file or directory"):
        await server.start(f"unix:{path}", f"unix:{tmp_path}/missing/agent.sock")
    assert not path.exists()
    assert server.port == 0
    await server.start(f"unix:{path}")
    await server.stop()


@pytest.mark.parametrize("address", ["unix:", "unix:agent.sock", f"unix:/{'x' * 200}"])
async def test_an_address_that_is_no_path_is_refused(address: str) -> None:
    with pytest.raises(
        InvalidInput, match="--listen: must be unix: and an absolute path of at most 100 bytes"
    ):
        await new_server().start(address)
