"""The probe: real models in a real child process."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from edgecanary.agent.ports import InstalledRevision, ProbeFailed, ProbeImpossible
from edgecanary.agent.probe import ProbeLimits, SubprocessProber, check_budget
from edgecanary.agent.probe_run import quietest_p95
from edgecanary.agent.probe_task import (
    Errand,
    GoldenTask,
    ProbeAnswer,
    ProbeResult,
    ProbeTask,
    decode_answer,
    encode_answer,
)
from edgecanary.agent.sandbox.layers import Confines, Enforced
from edgecanary.agent.tensors import TensorType
from edgecanary.api.artifacts import DataType, Format, ModelFile, ModelIO, Variant, VariantBudget
from edgecanary.base.errors import EdgecanaryError
from tests.unit.agent.modelmaking import (
    adding_model,
    endless_model,
    hungry_model,
    identity_model,
    install,
    logarithm_model,
    lookup_io,
    lookup_model,
    row_io,
    spec,
    unknown_operator_model,
    write_golden,
)

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


async def refusal(installed: InstalledRevision, limits: ProbeLimits | None = None) -> ProbeFailed:
    with pytest.raises(ProbeFailed) as caught:
        await SubprocessProber(limits).probe(installed)
    return caught.value


async def test_a_model_that_gives_its_golden_outputs_passes_and_is_measured(tmp_path: Path) -> None:
    golden = write_golden(tmp_path / "golden.npz", {"input:x": ROWS, "output:y": ROWS + 2})
    report = await SubprocessProber().probe(install(tmp_path, adding_model(2), row_io(), golden_path=golden))
    assert report.cases == 2
    assert report.load_milliseconds >= 1
    assert report.latency_p95_milliseconds >= 1
    assert 0 < report.peak_memory_bytes < 64 * 2**20


async def test_a_model_without_golden_cases_must_answer_zeros_with_numbers(tmp_path: Path) -> None:
    report = await SubprocessProber().probe(install(tmp_path / "good", adding_model(2), row_io()))
    assert report.cases == 0
    failed = await refusal(install(tmp_path / "bad", logarithm_model(), row_io()))
    assert failed.reason == "GoldenMismatch"
    assert (
        "output 'y', the run on zeros (no golden file is declared), element [0, 0]: the model gives -inf"
        in str(failed)
    )


async def test_zeros_take_the_models_own_length_where_the_declaration_accepts_any(tmp_path: Path) -> None:
    io = ModelIO(inputs=(spec("x", DataType.FP32, -1, -1),), outputs=(spec("y", DataType.FP32, -1, -1),))
    assert (await SubprocessProber().probe(install(tmp_path, adding_model(2), io))).cases == 0


async def test_a_texts_model_is_probed_with_texts(tmp_path: Path) -> None:
    texts = np.array([["a", "b", "c", "grün"]])
    golden = write_golden(tmp_path / "golden.npz", {"input:x": texts, "output:y": texts})
    io = row_io(dtype=DataType.BYTES)
    report = await SubprocessProber().probe(
        install(tmp_path, identity_model(DataType.BYTES), io, golden_path=golden)
    )
    assert report.cases == 1


async def test_an_output_off_the_golden_one_names_output_case_values_and_tolerance(tmp_path: Path) -> None:
    expected = ROWS + 2
    expected[1, 3] += 1
    golden = write_golden(tmp_path / "golden.npz", {"input:x": ROWS, "output:y": expected})
    failed = await refusal(install(tmp_path, adding_model(2), row_io(), golden_path=golden))
    assert failed.reason == "GoldenMismatch"
    assert str(failed) == (
        "variant 'cpu': output 'y', case 1, element [0, 3]: the model gives 9, expected 10 within 1e-05 plus 0 "
        "times the expected value"
    )


async def test_a_model_that_fails_on_a_golden_case_is_refused_in_the_runtimes_words(tmp_path: Path) -> None:
    cases = {"input:x": np.array([[0, 1, 0, 1], [0, 1, 0, 7]]), "output:y": np.zeros((2, 4), np.float32)}
    cases["output:y"][0] = [10, 20, 10, 20]
    golden = write_golden(tmp_path / "golden.npz", cases)
    failed = await refusal(install(tmp_path, lookup_model(), lookup_io(), golden_path=golden))
    assert failed.reason == "GoldenMismatch"
    assert "case 1: the model failed to run" in str(failed)
    assert "indices element out of data bounds" in str(failed)


async def test_a_golden_file_that_does_not_fit_names_the_array(tmp_path: Path) -> None:
    golden = write_golden(tmp_path / "golden.npz", {"input:x": ROWS[:, :3], "output:y": ROWS})
    failed = await refusal(install(tmp_path, adding_model(2), row_io(), golden_path=golden))
    assert failed.reason == "GoldenInvalid"
    assert "array 'input:x' has shape [2, 3]" in str(failed)


@pytest.mark.parametrize(
    ("io", "words"),
    [
        (row_io(name_in="z"), "io.inputs['z']: the model has no such input; its inputs are 'x'"),
        (row_io(name_out="z"), "io.outputs['z']: the model has no such output; its outputs are 'y'"),
        (row_io(dtype=DataType.FP64), "io.inputs['x']: declared as FP64 [-1, 4], the model has FP32 [-1, 4]"),
        (
            ModelIO(inputs=row_io().inputs, outputs=(spec("y", DataType.FP32, -1, 5),)),
            "io.outputs['y']: declared as FP32 [-1, 5], the model has FP32 [-1, 4]",
        ),
        (
            ModelIO(inputs=(*row_io().inputs, spec("more", DataType.FP32)), outputs=row_io().outputs),
            "io.inputs['more']: the model has no such input",
        ),
    ],
    ids=["input name", "output name", "dtype", "dimension", "one too many"],
)
async def test_a_model_with_other_tensors_than_declared_is_refused(
    tmp_path: Path, io: ModelIO, words: str
) -> None:
    failed = await refusal(install(tmp_path, adding_model(2), io))
    assert failed.reason == "IOMismatch"
    assert words in str(failed)


async def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    failed = await refusal(install(tmp_path, b"\x07 this is no model", row_io()))
    assert failed.reason == "LoadFailed"
    assert "model.onnx: is not an ONNX model: byte 1: wire type 7 does not occur in ONNX" in str(failed)


async def test_a_model_file_that_vanished_is_refused(tmp_path: Path) -> None:
    installed = install(tmp_path, adding_model(2), row_io())
    (installed.directory / "model.onnx").unlink()
    assert (await refusal(installed)).reason == "LoadFailed"


async def test_what_onnxruntime_cannot_load_is_refused_in_its_words(tmp_path: Path) -> None:
    failed = await refusal(install(tmp_path, unknown_operator_model(), row_io()))
    assert failed.reason == "LoadFailed"
    assert "model.onnx: onnxruntime cannot load it" in str(failed)


async def test_a_probe_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    failed = await refusal(install(tmp_path, endless_model(), row_io()), ProbeLimits(wall_seconds=1.5))
    assert failed.reason == "ProbeTimeout"
    assert "did not end within 1.5 seconds and was killed" in str(failed)
    assert children() == set()


async def test_a_probe_that_cannot_start_says_why(tmp_path: Path) -> None:
    installed = install(tmp_path, adding_model(2), row_io())
    failed = await refusal(installed, ProbeLimits(address_space_bytes=64 * 2**20))
    assert failed.reason in {"ProbeCrashed", "BudgetExceeded"}
    assert "variant 'cpu': " in str(failed)


async def test_a_format_without_a_runtime_is_refused_without_a_child(tmp_path: Path) -> None:
    installed = install(tmp_path, b"TFL3", row_io())
    variant = installed.variant.model_copy(update={"format": Format.TFLITE})
    failed = await refusal(
        InstalledRevision(
            key=installed.key,
            revision=installed.revision,
            version=installed.version,
            directory=installed.directory,
            variant=variant,
            io=installed.io,
            golden_path=None,
            golden=None,
            serve=True,
        )
    )
    assert failed.reason == "UnsupportedFormat"
    assert "format TFLite cannot run on this node, which has ONNX" in str(failed)


def children() -> set[int]:
    """Processes that this one started and that still run."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return {pid for pid in found if b"probe_worker" in command_line(pid)}


def command_line(pid: int) -> bytes:
    """Empty when the process has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextlib.asynccontextmanager
async def endless_probe(tmp_path: Path) -> AsyncIterator[Path]:
    """The /proc directory of a probe that has confined itself and computes for ever."""
    prober = SubprocessProber()
    task = asyncio.create_task(prober.probe(install(tmp_path, endless_model(), row_io())))
    try:
        async with asyncio.timeout(60):
            while True:
                for pid in children():
                    process = Path(f"/proc/{pid}")
                    if (process / "oom_score_adj").read_text().strip() == "1000":
                        yield process
                        return
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_cancelled_probe_leaves_no_process(tmp_path: Path) -> None:
    async with endless_probe(tmp_path):
        assert len(children()) == 1
    assert children() == set()


async def test_the_child_has_its_limits_and_not_the_agents_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECANARY_TOKEN", "secret")
    async with endless_probe(tmp_path) as process:
        assert b"secret" not in (process / "environ").read_bytes()
        limits = {
            line[:25].strip(): line.split()[-3:-1] for line in (process / "limits").read_text().splitlines()
        }
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max file size"] == ["0", "0"]
        assert limits["Max cpu time"] == ["60", "61"]
        assert 2**31 <= int(limits["Max address space"][0]) < 2**31 + 2**20
        assert os.getpriority(os.PRIO_PROCESS, int(process.name)) == os.getpriority(os.PRIO_PROCESS, 0) + 10


async def test_probes_run_one_at_a_time(tmp_path: Path) -> None:
    prober = SubprocessProber()
    models = [
        install(tmp_path, adding_model(number), row_io(), revision=f"{number}" * 64) for number in range(3)
    ]
    tasks = [asyncio.create_task(prober.probe(model)) for model in models]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(children()))
        await asyncio.sleep(0.01)
    assert most == 1
    assert [task.result().cases for task in tasks] == [0, 0, 0]


def test_an_errand_survives_its_journey() -> None:
    tensors = (TensorType("x", "FP32", (-1, 4)),)
    confines = Confines(2**31, 2**30, 60, ("/models/a", "/g.npz"), 65530, ("Files",), 1)
    task = ProbeTask(
        directory="/models/a",
        entrypoint="m.onnx",
        sizes={"m.onnx": 7},
        domains=("", "ai.onnx"),
        format="ONNX",
        inputs=tensors,
        outputs=(),
        golden=GoldenTask("/g.npz", 0.5, 0.25),
        threads=1,
    )
    assert Errand.from_json(Errand(confines, task).to_json()) == Errand(confines, task)
    assert Errand.from_json(Errand(confines).to_json()) == Errand(confines)


def test_an_answer_survives_its_journey_and_anything_else_is_none() -> None:
    sandbox = Enforced(["Limits"], {"Files": "Function not implemented"})
    passed = ProbeAnswer(sandbox, ProbeResult(1, 2, 3, 4))
    assert decode_answer(encode_answer(passed)) == passed
    assert decode_answer(encode_answer(ProbeAnswer(sandbox))) == ProbeAnswer(sandbox)
    told = decode_answer(encode_answer(ProbeAnswer(sandbox, EdgecanaryError("LoadFailed", "no"))))
    assert told is not None
    assert isinstance(told.outcome, EdgecanaryError)
    assert (told.outcome.reason, told.outcome.message) == ("LoadFailed", "no")
    confined = b'{"sandbox":{"layers":[],"missing":{}},'
    for garbage in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"passed":{"load_milliseconds":1,"latency_p95_microseconds":1,"peak_memory_bytes":1,"cases":1}}',
        confined + b'"passed":{"cases":1}}',
        confined + b'"failed":{"reason":"X"}}',
    ):
        assert decode_answer(garbage) is None


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (VariantBudget(latency_p95_milliseconds=5), ""),
        (
            VariantBudget(latency_p95_milliseconds=4),
            "latencyP95Milliseconds: 4.2 ms measured, with a margin of 10 % ",
        ),
        (VariantBudget(peak_memory="12Mi"), ""),
        (
            VariantBudget(peak_memory="10500000"),
            "peakMemory: loading and running took 10.0 MiB, with a margin of ",
        ),
    ],
)
def test_what_was_measured_must_be_within_the_budget_with_the_margin(
    budget: VariantBudget, said: str
) -> None:
    installed_variant = Variant(
        name="cpu",
        format=Format.ONNX,
        files=(ModelFile(path="m", uri="https://a.example/m", sha256="0" * 64, size_bytes=1),),
        entrypoint="m",
        budget=budget,
    )
    measured = ProbeResult(1, 4200, 10 * 2**20, 1)
    if not said:
        check_budget(installed_variant, measured, margin_percent=10)
        return
    with pytest.raises(ProbeFailed, match=re.escape(said)) as caught:
        check_budget(installed_variant, measured, margin_percent=10)
    assert caught.value.reason == "BudgetExceeded"


async def test_a_measured_peak_beyond_the_budget_is_refused(tmp_path: Path) -> None:
    failed = await refusal(
        install(tmp_path, adding_model(2), row_io(), budget=VariantBudget(peak_memory="1k"))
    )
    assert failed.reason == "BudgetExceeded"
    assert "budget.peakMemory: loading and running took" in str(failed)


async def test_a_node_that_is_short_of_memory_waits_and_does_not_blame_the_model(tmp_path: Path) -> None:
    installed = install(tmp_path, adding_model(2), row_io(), budget=VariantBudget(peak_memory="64Mi"))
    with pytest.raises(ProbeImpossible, match="the probe needs 192") as caught:
        await SubprocessProber(available_bytes=lambda: 150 * 2**20).probe(installed)
    assert caught.value.reason == "MemoryShort"
    assert "150.0 MiB are free; it is tried again" in str(caught.value)


async def test_a_probe_takes_no_more_memory_than_the_node_has_free(tmp_path: Path) -> None:
    prober = SubprocessProber(available_bytes=lambda: 400 * 2**20)
    with pytest.raises(ProbeFailed, match="the 419430400 bytes that the node has free") as caught:
        await prober.probe(install(tmp_path, hungry_model(gibibytes=1), row_io()))
    assert caught.value.reason == "BudgetExceeded"


def test_the_latency_is_that_of_the_quietest_batch() -> None:
    noisy = iter([0.0] + [0.002] * 20 + [0.001] * 20 + [0.003] * 20)
    assert quietest_p95(lambda _: next(noisy), 1) == 0.001


def test_a_slow_model_runs_its_cases_once() -> None:
    ran: list[int] = []

    def run_once(case: int) -> float:
        ran.append(case)
        return 1.5

    assert quietest_p95(run_once, 3) == 1.5
    assert ran == [0, 0, 1, 2]
