"""The page of the agent's benchmark says what was measured, and whether goals are met."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import Machine
from benchmarks.serving.compare import Cell, Comparison, Size
from benchmarks.serving.life import Life, Several
from benchmarks.serving.load import Report, _is_whole
from benchmarks.serving.models import BenchModel
from benchmarks.serving.page import Figures, page
from benchmarks.serving.swap import Paced, Swap, _longest

MACHINE = Machine(cores=2, memory_bytes=2**34, architecture="x86_64", system="Linux", python="3.11")


def report(p99: float, longest: float) -> Report:
    return {
        "answers": 100,
        "failed": 0,
        "seconds": 1.0,
        "p50": 10.0,
        "p99": p99,
        "longest": longest,
        "revisions": [],
        "first_answers": [],
        "worst_gap": 0.0,
        "spans": [],
    }


def cells(ours: float, theirs: float) -> tuple[Cell, ...]:
    return (
        Cell("small", True, 1, "edgecanary", ours, 2 * ours, 1000, 20.0, 15.0),
        Cell("small", True, 1, "KServe", 3 * theirs, 4 * theirs, 300, 20.0, 15.0),
        Cell("small", False, 1, "edgecanary", 1.1 * ours, 2 * ours, 900, 20.0, None),
        Cell("small", False, 1, "MLServer", theirs, 2 * theirs, 300, 20.0, 15.0),
    )


def paced(longest: float) -> Paced:
    return Paced(
        report(1000.0, 1500.0),
        report(1100.0, longest),
        20_000.0,
        (400.0, 500.0, 600.0),
        (700.0, 800.0, 900.0),
    )


def written(tmp_path: Path, *, ours: float, stall: float) -> str:
    path = tmp_path / "small.onnx"
    path.write_bytes(b"model")
    model = BenchModel("small", "a small one", path, "x", "y", 2, np.zeros((1, 4), np.float32))
    sizes = (Size("small", "edgecanary", 70 * 2**20), Size("small", "MLServer", 160 * 2**20))
    figures = Figures(
        Comparison(cells(ours, 600.0), sizes),
        (Life("edgecanary", 0.5, 0.1, 60 * 2**20),),
        (Several(1, 60 * 2**20),),
        (
            Swap(
                "small",
                100,
                5000,
                0,
                report(900.0, 2000.0),
                report(950.0, stall),
                5000.0,
                9000.0,
                paced(stall),
            ),
        ),
        0.5,
        1.5,
    )
    return page(MACHINE, [model], figures, [Path("images/agent-latency.svg")])


def goals(text: str) -> list[tuple[str, str]]:
    section = text.split("## Goals")[1].split("![", maxsplit=1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]
    return [(row[1], row[2]) for row in rows]


def test_goals_that_are_met_say_so(tmp_path: Path) -> None:
    text = written(tmp_path, ours=120.0, stall=800.0)
    assert goals(text) == [
        ("0.2", "yes"),
        ("0.22", "yes"),
        ("100 us", "yes"),
        ("85 us", "yes"),
        ("0.438", "yes"),
        ("0.889", "yes"),
        ("0.8", "yes"),
        ("0", "yes"),
    ]
    assert "| small | JSON | 1 | MLServer | 600 | 1,200 | 300 | 20 | 15 | 0.22 |" in text
    assert "| small | 20.00 | 1.00 | 1.50 | 1.10 | 0.80 | 0.50 | 0.80 |" in text
    assert "![agent latency](images/agent-latency.svg)" in text


def test_goals_that_are_missed_say_so(tmp_path: Path) -> None:
    met = [answer for _, answer in goals(written(tmp_path, ours=300.0, stall=2000.0))]
    assert met == ["no", "no", "no", "no", "yes", "no", "no", "yes"]


def test_a_window_has_every_answer_that_was_waited_for_in_it() -> None:
    seen = report(1.0, 1.0) | {"spans": [(0.0, 0.5), (0.4, 2.5), (3.0, 3.1)]}
    assert _longest(seen, [(0.6, 1.0), (3.0, 4.0), (5.0, 6.0)]) == pytest.approx((2.1e6, 1e5, 0.0))


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-len", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
    ],
)
def test_the_client_waits_for_whole_answers(answer: bytes, whole: bool) -> None:
    assert _is_whole(bytearray(answer)) is whole
