"""The interpreter's habits are set where answers would wait for them."""

import subprocess
import sys

import pytest

from edgecanary.agent import interpreter
from edgecanary.agent.serving.server import InferenceServer
from edgecanary.agent.telemetry import Telemetry

_COUNTS = """
import gc, sys
from edgecanary.agent.serving import server
before, late = gc.get_freeze_count(), "onnxruntime" not in sys.modules
server._loader()
once = gc.get_freeze_count()
kept = [[] for _ in range(10_000)]
server._loader()
print(before, late, once, gc.get_freeze_count())
"""


async def test_a_server_makes_threads_hand_over_the_lock_sooner() -> None:
    sys.setswitchinterval(0.005)
    server = InferenceServer(Telemetry(agent_version="1"), version="1")
    await server.start("127.0.0.1:0")
    try:
        assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_SECONDS)
    finally:
        await server.stop()


def test_modules_are_set_aside_once_when_the_runtime_is_there_and_no_model_is() -> None:
    result = subprocess.run([sys.executable, "-c", _COUNTS], capture_output=True, text=True, check=True)
    before, late, once, twice = result.stdout.split()
    assert (before, late) == ("0", "True")
    assert int(once) > 50_000
    assert int(twice) <= int(once), "what came after is collected like everything"
