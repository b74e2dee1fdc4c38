"""Models that mean harm, probed for real beside a real inference server that goes on answering."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgecanary.agent.ports import InstalledRevision, ModelKey, ProbeFailed
from edgecanary.agent.probe import ProbeLimits, SubprocessProber
from edgecanary.api.artifacts import DataType, ModelIO
from tests.unit.agent.modelmaking import (
    REVISION_B,
    adding_model,
    crashing_model,
    endless_model,
    external_data_model,
    foreign_operator_model,
    hungry_model,
    install,
    row_io,
    spec,
    tiny_hungry_model,
)
from tests.unit.agent.serving.harness import Node, output_data, rows, running_node

WEIGHTS = np.ones(4, np.float32).tobytes()
ONE_WIDE = ModelIO(inputs=row_io().inputs, outputs=(spec("y", DataType.FP32, -1, 1),))
OPEN = ModelIO(inputs=(spec("x", DataType.FP32, 1),), outputs=(spec("y", DataType.FP32, -1),))
HOSTILE = ModelKey("plant", "hostile")


@dataclass(frozen=True)
class Attack:
    """A model that must be refused, with the reason and words of the refusal."""

    model: Callable[[], bytes]
    reason: str
    said: str
    io: ModelIO = row_io()
    limits: ProbeLimits = ProbeLimits()


ATTACKS = {
    "asks for 64 GiB": Attack(
        hungry_model,
        "BudgetExceeded",
        "the model asked for more memory than the probe's address space of 21474",
    ),
    "asks for 64 GiB in less than 152 bytes": Attack(
        tiny_hungry_model, "BudgetExceeded", "the model asked for more memory than", io=OPEN
    ),
    "never returns, computing": Attack(
        endless_model, "ProbeTimeout", "used up its 1 seconds of CPU time", limits=ProbeLimits(cpu_seconds=1)
    ),
    "crashes the runtime": Attack(crashing_model, "ProbeCrashed", "was killed by SIGSEGV", io=ONE_WIDE),
    "reads /etc/passwd": Attack(
        lambda: external_data_model("/etc/passwd"),
        "ExternalDataRefused",
        "tensor 'k' reads '/etc/passwd', which must be one of the variant's files (model.onnx), named from",
    ),
    "reads /etc/passwd by climbing": Attack(
        lambda: external_data_model("../../../../../../etc/passwd"), "ExternalDataRefused", "reads '../../"
    ),
    "reads the process's own memory": Attack(
        lambda: external_data_model("*/_ORT_MEM_ADDR_/*"), "ExternalDataRefused", "reads '*/_ORT_MEM_ADDR_/*'"
    ),
    "reads itself": Attack(
        lambda: external_data_model("model.onnx"), "ExternalDataRefused", "which is the model itself"
    ),
    "calls a foreign operator": Attack(
        lambda: foreign_operator_model("com.evil"),
        "OperatorRefused",
        "operator 'Conjure' is of the domain 'com.evil', allowed are '', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft'",
    ),
}


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Node]:
    """A server with a model that adds 2, asked again and again while the test runs."""
    async with running_node() as node:
        await node.server.activate(install(tmp_path / "served", adding_model(2), row_io()))
        asking = asyncio.create_task(ask_on(node))
        yield node
        assert not asking.done(), "the server failed to answer while the probe ran"
        asking.cancel()
        answer = await node.infer(rows(1, 2, 3, 4))
        assert output_data(answer) == [3, 4, 5, 6]


async def ask_on(node: Node) -> None:
    while True:
        answer = await node.infer(rows(1, 2, 3, 4))
        assert (answer.status, output_data(answer)) == (200, [3, 4, 5, 6])
        await asyncio.sleep(0.01)


async def refusal(installed: InstalledRevision, limits: ProbeLimits | None = None) -> ProbeFailed:
    with pytest.raises(ProbeFailed) as caught:
        await SubprocessProber(limits).probe(installed)
    return caught.value


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_hostile_model_is_refused_with_its_reason_and_the_server_answers_on(
    tmp_path: Path, serving: Node, name: str
) -> None:
    attack = ATTACKS[name]
    hostile = install(tmp_path / "hostile", attack.model(), attack.io, revision=REVISION_B, key=HOSTILE)
    failed = await refusal(hostile, attack.limits)
    assert failed.reason == attack.reason
    assert attack.said in str(failed)
    assert (await serving.infer(rows(1, 2, 3, 4))).status == 200


def test_the_small_model_is_as_small_as_promised() -> None:
    assert len(tiny_hungry_model()) <= 152


@pytest.mark.parametrize("linked", ["weights.bin", "folder"])
async def test_a_declared_file_that_became_a_link_is_refused(tmp_path: Path, linked: str) -> None:
    location = "weights.bin" if linked == "weights.bin" else "folder/weights.bin"
    installed = install(tmp_path, external_data_model(location), row_io(), beside={location: WEIGHTS})
    elsewhere = tmp_path / "elsewhere"
    (installed.directory / linked).rename(elsewhere)
    (installed.directory / linked).symlink_to(elsewhere)
    failed = await refusal(installed)
    assert failed.reason == "ExternalDataRefused"
    assert f"{linked} is a link and must be none" in str(failed)


async def test_a_declared_file_of_another_length_is_refused(tmp_path: Path) -> None:
    installed = install(
        tmp_path, external_data_model("weights.bin"), row_io(), beside={"weights.bin": WEIGHTS}
    )
    (installed.directory / "weights.bin").write_bytes(WEIGHTS + b"more")
    failed = await refusal(installed)
    assert "weights.bin: has 20 bytes, declared are 16" in str(failed)


async def test_weights_in_a_declared_file_are_loaded(tmp_path: Path) -> None:
    for location in ("weights.bin", "folder/weights.bin"):
        installed = install(
            tmp_path / location, external_data_model(location), row_io(), beside={location: WEIGHTS}
        )
        assert (await SubprocessProber().probe(installed)).cases == 0


async def test_a_domain_that_the_node_allows_reaches_the_runtime(tmp_path: Path) -> None:
    installed = install(tmp_path, foreign_operator_model("com.example"), row_io())
    assert (await refusal(installed)).reason == "OperatorRefused"
    allowing = ProbeLimits(onnx_domains=("com.example",))
    assert (await refusal(installed, allowing)).reason == "LoadFailed"
