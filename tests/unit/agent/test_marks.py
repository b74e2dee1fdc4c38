"""What says which model ran when a process died."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgecanary.agent.marks import SHARED_MEMORY, Mark, Marks
from edgecanary.agent.ports import ModelKey

PUMP, FAN = ModelKey("plant", "pump"), ModelKey("plant", "fan")
CHILD = """
import os, signal, sys
from pathlib import Path
from edgecanary.agent.marks import Marks
from edgecanary.agent.ports import ModelKey
marks = Marks(Path(sys.argv[1]))
marks.open()
pump, fan = (marks.take(ModelKey("plant", name), name[0] * 64) for name in ("pump", "fan"))
pump.enter()
fan.enter()
fan.leave()
if sys.argv[2] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
marks.close()
"""


def run(data: Path, how: str) -> Marks:
    subprocess.run([sys.executable, "-c", CHILD, str(data), how], check=False)
    marks = Marks(data)
    marks.open()
    return marks


def test_a_process_that_was_killed_leaves_the_mark_of_the_model_that_ran(tmp_path: Path) -> None:
    marks = run(tmp_path, "dies")
    try:
        assert marks.path.parent == SHARED_MEMORY
        assert marks.found == {Mark(PUMP, "p" * 64)}
        again = Marks(tmp_path)
        again.open()
        assert again.found == frozenset()
    finally:
        marks.close()


def test_a_process_that_ends_in_order_leaves_none(tmp_path: Path) -> None:
    marks = run(tmp_path, "ends")
    assert marks.found == frozenset()
    marks.close()
    assert not marks.path.exists()


def test_two_models_that_run_are_both_marked_and_a_probe_is_too(tmp_path: Path) -> None:
    first = Marks(tmp_path, tmp_path)
    first.open()
    first.take(PUMP, "a").enter()
    with first.running(FAN, "b"):
        second = Marks(tmp_path, tmp_path)
        second.open()

    assert second.found == {Mark(PUMP, "a"), Mark(FAN, "b")}


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marks = Marks(tmp_path, tmp_path)
    (tmp_path / "other").write_bytes(b"precious")
    marks.path.symlink_to(tmp_path / "other")
    marks.open()
    marks.take(PUMP, "a").enter()

    assert (tmp_path / "other").read_bytes() == b"precious"
    assert "models that run are not marked" in caplog.text


def test_more_revisions_than_there_are_marks_are_loaded_unmarked(tmp_path: Path) -> None:
    marks = Marks(tmp_path, tmp_path)
    marks.open()
    taken = [marks.take(PUMP, f"{number}") for number in range(200)]
    for slot in taken:
        slot.enter()
    for slot in taken:
        slot.drop()
    marks.take(FAN, "b").enter()
    again = Marks(tmp_path, tmp_path)
    again.open()

    assert again.found == {Mark(FAN, "b")}
    assert marks.path.stat().st_mode & 0o077 == 0
