"""The outbox of samples on a real disk: its bounds, and what crashes, damage and full disks leave of it."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.agent.push import segments
from edgecanary.agent.push.outbox import Loss, SampleOutbox, Waiting
from edgecanary.agent.push.segments import Entry

MIB = 2**20
ALL = 10**9


class Kept:
    """An outbox in a folder, and what it lost."""

    def __init__(self, folder: Path, max_bytes: int = MIB) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.lost: Counter[Loss] = Counter()
        self.outbox = self.reopened()

    def reopened(self) -> SampleOutbox:
        self.outbox = SampleOutbox(self.folder, max_bytes=self.max_bytes, on_loss=self._lose)
        self.outbox.open()
        return self.outbox

    def waiting(self) -> list[Waiting]:
        return self.outbox.peek(entries=ALL, max_bytes=ALL)

    def times(self) -> list[int]:
        return [item.entry.timestamp_ms for item in self.waiting()]

    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.segment"))

    def on_disk(self) -> bool:
        return self.outbox.on_disk

    def _lose(self, why: Loss, samples: int) -> None:
        self.lost[why] += samples


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "remote-write")


def entry(moment: int, size: int = 100, samples: int = 10) -> Entry:
    return Entry(moment, samples, bytes([moment % 251]) * size)


def test_entries_come_out_the_oldest_first_and_stay_until_they_are_acknowledged(kept: Kept) -> None:
    for moment in (1, 2, 3):
        kept.outbox.put(entry(moment))
    assert kept.times() == kept.times() == [1, 2, 3]
    kept.outbox.acknowledge(kept.waiting()[:2])
    assert kept.times() == [3]
    assert kept.waiting()[0].entry == entry(3)


def test_a_batch_has_so_many_entries_and_bytes_and_always_one(kept: Kept) -> None:
    for moment in range(1, 6):
        kept.outbox.put(entry(moment, size=1000))
    assert len(kept.outbox.peek(entries=2, max_bytes=ALL)) == 2
    assert len(kept.outbox.peek(entries=ALL, max_bytes=3100)) == 3
    assert len(kept.outbox.peek(entries=ALL, max_bytes=1)) == 1


def test_all_is_there_after_a_restart_and_what_was_acknowledged_is_not(kept: Kept) -> None:
    for moment in range(1, 8):
        kept.outbox.put(entry(moment))
    kept.outbox.acknowledge(kept.waiting()[:3])
    kept.reopened()
    assert kept.times() == [4, 5, 6, 7]
    assert (kept.outbox.newest_ms, kept.outbox.sent_ms) == (7, 3)
    kept.outbox.put(entry(8))
    kept.reopened()
    assert kept.times() == [4, 5, 6, 7, 8]


def test_what_was_given_up_does_not_count_as_sent(kept: Kept) -> None:
    kept.outbox.put(entry(5))
    kept.outbox.acknowledge(kept.waiting(), sent=False)
    assert kept.times() == []
    assert kept.outbox.sent_ms == 0


def test_it_never_takes_more_than_its_bytes_and_the_oldest_make_room(kept: Kept) -> None:
    for moment in range(1, 301):
        kept.outbox.put(entry(moment, size=20_000))
        assert kept.bytes_on_disk() <= kept.max_bytes
    times = kept.times()
    assert times == list(range(times[0], 301))
    assert kept.bytes_on_disk() > 0.9 * kept.max_bytes
    assert kept.lost == {Loss.EVICTED: (times[0] - 1) * 10}


def test_what_is_evicted_while_it_is_sent_is_not_counted_as_read_twice(kept: Kept) -> None:
    for moment in range(1, 60):
        kept.outbox.put(entry(moment, size=20_000))
    under_way = kept.waiting()[:3]
    for moment in range(60, 160):
        kept.outbox.put(entry(moment, size=20_000))
    before = kept.times()
    kept.outbox.acknowledge(under_way)
    assert kept.times() == before


def test_an_online_node_keeps_one_small_file(kept: Kept) -> None:
    for moment in range(1, 100):
        kept.outbox.put(entry(moment))
        kept.outbox.acknowledge(kept.waiting())
        assert kept.outbox.waiting_bytes == 0
    assert len(list(kept.folder.glob("*.segment"))) == 1
    for moment in range(100, 1200):
        kept.outbox.put(entry(moment))
        kept.outbox.acknowledge(kept.waiting())
    assert kept.bytes_on_disk() <= MIB / 16 + 200


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 359), flip=st.none() | st.integers(0, 359))
def test_a_torn_or_damaged_tail_costs_no_more_than_what_it_hits(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    kept = Kept(tmp_path_factory.mktemp("outbox"))
    for moment in (1, 2, 3):
        kept.outbox.put(entry(moment))
    (path,) = kept.folder.glob("*.segment")
    size = entry(1).size
    content = bytearray(path.read_bytes()[:cut])
    whole = cut // size
    if flip is not None and flip < len(content):
        content[flip] ^= 0x40
        whole = min(whole, flip // size)
    path.write_bytes(content)
    kept.reopened()
    assert kept.times() == list(range(1, whole + 1))
    kept.outbox.put(entry(9))
    assert kept.times() == [*range(1, whole + 1), 9]
    kept.reopened()
    assert kept.times() == [*range(1, whole + 1), 9]


def test_damage_under_its_feet_costs_one_segment_and_is_counted(kept: Kept) -> None:
    for moment in range(1, 9):
        kept.outbox.put(entry(moment, size=40_000))
    first = min(kept.folder.glob("*.segment"))
    content = bytearray(first.read_bytes())
    content[entry(1, size=40_000).size + 50] ^= 1
    first.write_bytes(content)
    assert kept.times() == [1]
    kept.outbox.acknowledge(kept.waiting())
    assert kept.times() == [3, 4, 5, 6, 7, 8]
    assert kept.lost == {Loss.DAMAGED: 10}


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 24, b"short", b"\xa5" * 24], ids=["empty", "zeros", "short", "wrong"]
)
def test_a_damaged_position_means_that_all_is_sent_again(kept: Kept, content: bytes) -> None:
    for moment in (1, 2):
        kept.outbox.put(entry(moment))
    kept.outbox.acknowledge(kept.waiting()[:1])
    (kept.folder / "position").write_bytes(content)
    kept.reopened()
    assert kept.times() == [1, 2]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_where_the_disk_cannot_be_written_the_newest_stay_in_memory_and_go_to_disk_later(
    kept: Kept, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept.outbox.put(entry(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _failing(code))
        for moment in range(2, 40):
            kept.outbox.put(entry(moment, size=50_000))
        assert not kept.on_disk()
        assert kept.outbox.waiting_bytes <= MIB + entry(1).size
    assert caplog.text.count("samples are kept in memory") == 1
    assert os.strerror(code) in caplog.text
    assert kept.times() == [1]
    kept.outbox.acknowledge(kept.waiting())
    in_memory = kept.times()
    assert in_memory == list(range(in_memory[0], 40))
    assert kept.lost == {Loss.EVICTED: (in_memory[0] - 2) * 10}
    kept.outbox.put(entry(40))
    assert kept.on_disk()
    kept.reopened()
    assert kept.times() == [*in_memory, 40][-len(kept.times()) :]
    assert kept.times()[-1] == 40


def test_a_write_that_the_system_cuts_short_leaves_nothing_half_written(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _FILL, str(tmp_path / "o")], check=True, env=_environment())


_FILL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from pathlib import Path
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.agent.push.segments import Entry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
outbox = SampleOutbox(Path(sys.argv[1]), max_bytes=16 * 2**20, on_loss=lambda why, count: None)
outbox.open()
cut = 0
for moment in range(1, 13):
    outbox.put(Entry(moment, 1, bytes(40_000)))
    cut += not outbox.on_disk
assert cut == 2, cut
assert all(path.stat().st_size % 40_020 == 0 for path in Path(sys.argv[1]).glob("*.segment"))
found = []
while batch := outbox.peek(entries=2, max_bytes=2**30):
    found += [item.entry.timestamp_ms for item in batch]
    outbox.acknowledge(batch)
assert found == list(range(1, 13)), found
for moment in (13, 14):
    outbox.put(Entry(moment, 1, bytes(40_000)))
assert outbox.on_disk
"""


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "remote-write").write_text("in the way")
    kept = Kept(tmp_path / "remote-write")
    kept.outbox.put(entry(1))
    assert kept.times() == [1]
    assert not kept.on_disk()
    (tmp_path / "remote-write").unlink()
    kept.outbox.put(entry(2))
    assert kept.on_disk()
    kept.reopened()
    assert kept.times() == [1, 2]


def test_a_folder_that_vanishes_is_made_again(kept: Kept) -> None:
    kept.outbox.put(entry(1))
    shutil.rmtree(kept.folder)
    assert kept.times() == []
    assert kept.lost == {Loss.DAMAGED: 10}
    kept.outbox.put(entry(2))
    assert kept.times() == [2]


def test_kill_9_in_mid_write_loses_nothing_that_was_put_in(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(tmp_path / "o")],
        stdout=subprocess.PIPE,
        env=_environment(),
    )
    assert child.stdout is not None
    put_in = 0
    while put_in < 200:
        put_in = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    put_in = max([put_in, *(int(line) for line in child.stdout.read().split() if line)])
    child.wait()
    child.stdout.close()
    kept = Kept(tmp_path / "o", max_bytes=64 * MIB)
    times = kept.times()
    assert times == list(range(1, len(times) + 1))
    assert len(times) in (put_in, put_in + 1)
    assert all(item.entry.payload == bytes([item.entry.timestamp_ms % 251]) * 3000 for item in kept.waiting())


_WRITE_FOR_EVER = """
import sys
from pathlib import Path
from edgecanary.agent.push.outbox import SampleOutbox
from edgecanary.agent.push.segments import Entry
outbox = SampleOutbox(Path(sys.argv[1]), max_bytes=64 * 2**20, on_loss=lambda why, count: None)
outbox.open()
moment = 0
while True:
    moment += 1
    outbox.put(Entry(moment, 1, bytes([moment % 251]) * 3000))
    print(moment, flush=True)
"""


def test_a_record_that_claims_to_be_huge_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    path.write_bytes(segments.HEADER.pack(2**32 - 1, 0, 0, 0))
    assert list(segments.read(path, 0)) == []


def _failing(code: int) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": "operator"}
