"""The probe's child process: confines itself, loads the model, runs it, answers and ends.

Reads an Errand on standard input and writes the answer on standard output. What confines it is in force
before the runtime and the model are touched, and where the agent asks for a layer that this system does not
have, neither is. A model that kills this process kills no one else.
"""

import os
import sys

from edgecanary.agent.host import PeakMeter
from edgecanary.agent.probe_task import Errand, ProbeAnswer, ProbeResult, ProbeTask, encode_answer
from edgecanary.agent.sandbox.confine import confine
from edgecanary.agent.sandbox.layers import Confines, Enforced, sandbox_words
from edgecanary.base.errors import EdgecanaryError


def main() -> int:
    """Does the errand on standard input. Returns the exit status: 0 whenever an answer was written."""
    answer_fd = _keep_standard_output()
    errand = Errand.from_json(sys.stdin.buffer.read())
    os.close(0)
    meter = PeakMeter()
    sandbox = confine(errand.confines)
    answer = ProbeAnswer(sandbox, _do(errand, sandbox, meter))
    with os.fdopen(answer_fd, "wb") as stream:
        stream.write(encode_answer(answer))
    return 0


def _keep_standard_output() -> int:
    """A private copy of standard output, with what native code prints sent to standard error."""
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    return answer_fd


def _do(errand: Errand, sandbox: Enforced, meter: PeakMeter) -> ProbeResult | EdgecanaryError | None:
    lacking = {
        layer: sandbox.missing.get(layer, "unknown")
        for layer in errand.confines.required
        if layer not in sandbox.layers
    }
    if lacking:
        return EdgecanaryError("SandboxMissing", sandbox_words(lacking))
    if errand.task is None:
        return None
    return _try(errand.task, errand.confines, meter)


def _try(task: ProbeTask, confines: Confines, meter: PeakMeter) -> ProbeResult | EdgecanaryError:
    try:
        # Not before: numpy and the runtime are much to trust outside of the confines, and much to load.
        from edgecanary.agent import probe_run  # noqa: PLC0415

        return probe_run.run(task, meter)
    except EdgecanaryError as error:
        if error.reason != "OutOfMemory":
            return error
        what = error.message
    except MemoryError:
        what = "the probe"
    return EdgecanaryError(
        "BudgetExceeded",
        f"{what}: the model asked for more memory than the probe's address space of "
        f"{confines.address_space_bytes} bytes and the {confines.memory_bytes} bytes that the node has free leave",
    )


if __name__ == "__main__":
    sys.exit(main())
