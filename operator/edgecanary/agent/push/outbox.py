"""The outbox of samples: on disk, the oldest first, bounded in bytes, whole after `kill -9` and power cuts.

    remote-write/<number>.segment   records of samples, written one after the other and never changed
    remote-write/position           up to where Prometheus has them

A record that was sent and not yet acknowledged on disk is sent again after a crash, byte for byte: Prometheus
knows a sample with the same time and value. Where the disk cannot be written, the newest samples are kept in
memory within a bound.
"""

import errno
import logging
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgecanary.agent import files
from edgecanary.agent.push import segments
from edgecanary.agent.push.segments import Entry, Segment

log = logging.getLogger(__name__)

_POSITION = struct.Struct("<QQqI")
_IN_MEMORY_BYTES = 2**20
_SEGMENTS = 16
"""The bound is kept by removing whole segments, a sixteenth of it each."""

_GONE = frozenset({errno.EIO, errno.ENOENT, errno.EUCLEAN, errno.EBADMSG})
"""Errors of a read that trying again does not mend."""


class Loss(StrEnum):
    """Why samples never reach Prometheus."""

    EVICTED = "evicted"
    """The outbox was full; the oldest go."""
    EXPIRED = "expired"
    """Older than the age bound when Prometheus answered again."""
    REFUSED = "refused"
    """Prometheus refused them for good."""
    CLOCK = "clock"
    """Their time is not to be had: a wrong clock gave it."""
    DAMAGED = "damaged"
    """The disk gave back something else than was written."""


@dataclass(frozen=True)
class Place:
    """Where an entry ends in the outbox; segment 0 is the memory."""

    segment: int
    end: int


@dataclass(frozen=True)
class Waiting:
    """An entry that is to be sent."""

    entry: Entry
    place: Place


OnLoss = Callable[[Loss, int], None]


class SampleOutbox:
    """Safe from several threads. Reads and writes files: not for the event loop."""

    def __init__(self, folder: Path, *, max_bytes: int, on_loss: OnLoss) -> None:
        """`on_loss` is told of samples that are dropped: why, and how many."""
        self._folder = folder
        self._position = folder / "position"
        self._max_bytes = max_bytes
        self._on_loss = on_loss
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._memory: deque[Entry] = deque()
        self._read = Place(1, 0)
        self._next = 1
        self._writable: Segment | None = None
        self._loaded = False
        self.on_disk = True
        """Whether the last samples are on disk."""
        self.newest_ms = 0
        """The time of the newest samples that were ever put in; 0: none."""
        self.sent_ms = 0
        """The time of the newest samples that Prometheus is known to have."""
        self.waiting_bytes = 0

    def open(self) -> None:
        """Takes up what an earlier process left. A disk that cannot be read means an empty outbox in memory."""
        with self._lock:
            try:
                self._load()
            except OSError as error:
                self._fall_back(error)
            self._count_bytes()

    def put(self, entry: Entry) -> None:
        """Keeps the entry, on disk if that can be written. The oldest make room."""
        with self._lock:
            self.newest_ms = entry.timestamp_ms
            self._memory.append(entry)
            try:
                self._load()
                while self._memory:
                    self._write(self._memory[0])
                    self._memory.popleft()
            except OSError as error:
                self._fall_back(error)
                self._trim_memory()
            else:
                if not self.on_disk:
                    log.info("%s: can be written again; samples are kept on disk", self._folder)
                self.on_disk = True
            self._count_bytes()

    def peek(self, *, entries: int, max_bytes: int) -> list[Waiting]:
        """The oldest entries, at most so many and, but for the first, so many bytes."""
        with self._lock:
            found: list[Waiting] = []
            self._peek_disk(found, entries, max_bytes)
            if not found and not self._segments:
                found = [Waiting(entry, Place(0, 0)) for entry in self._memory]
            total = 0
            for index, item in enumerate(found[:entries]):
                total += item.entry.size
                if total > max_bytes and index:
                    return found[:index]
            return found[:entries]

    def acknowledge(self, done: list[Waiting], *, sent: bool = True) -> None:
        """These are not needed any more: Prometheus has them, or they were given up (`sent` is False)."""
        with self._lock:
            for item in done:
                if sent:
                    self.sent_ms = max(self.sent_ms, item.entry.timestamp_ms)
                self._forget(item)
            self._save_position(durably=self._drop_read_segments())
            self._count_bytes()

    def forget_sent_time(self) -> None:
        """What is known of Prometheus's newest samples came from a wrong clock."""
        with self._lock:
            self.sent_ms = 0

    def _load(self) -> None:
        if self._loaded:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._load_position()
        for number in segments.numbers(self._folder):
            self._next = number + 1
            done = self._read.end if number == self._read.segment else 0
            segment, newest = segments.scan(self._folder, number, done)
            whole = number >= self._read.segment and segment.size > done
            if newest is not None:
                self.newest_ms = max(self.newest_ms, newest)
            if whole:
                self._segments.append(segment)
            else:
                segment.path.unlink()
        self._next = max(self._next, self._read.segment + 1)
        if not self._segments or self._segments[0].number != self._read.segment:
            self._rewind()
        self._loaded = True

    def _load_position(self) -> None:
        path = self._position
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        if len(data) == _POSITION.size and zlib.crc32(data[:-4]) == _POSITION.unpack(data)[3]:
            segment, end, self.sent_ms, _ = _POSITION.unpack(data)
            self._read, self.newest_ms = Place(segment, end), self.sent_ms
        else:
            log.warning("%s: is damaged; samples that Prometheus may have are sent again", path)

    def _write(self, entry: Entry) -> None:
        self._make_room(entry.size)
        segment = self._writable
        if segment is None or self._is_full(segment):
            self._folder.mkdir(parents=True, exist_ok=True)
            number = self._next
            segment = Segment(segments.path_of(self._folder, number), number)
            self._writable, self._next = None, number + 1
            segments.append(segment, entry)
            files.sync_directory(self._folder)
            self._writable = segment
            self._segments.append(segment)
            if len(self._segments) == 1:
                self._rewind()
        else:
            segments.append(segment, entry)

    def _make_room(self, needed: int) -> None:
        while self._segments and self._size() + needed > self._max_bytes:
            oldest = self._segments.popleft()
            self._lose(Loss.EVICTED, oldest.unsent)
            self._remove(oldest)
            self._rewind()

    def _rewind(self) -> None:
        """Reads on at the oldest segment there is."""
        self._read = Place(self._segments[0].number if self._segments else self._next, 0)

    def _remove(self, segment: Segment) -> None:
        if segment is self._writable:
            self._writable = None
        segment.path.unlink(missing_ok=True)

    def _peek_disk(self, found: list[Waiting], entries: int, max_bytes: int) -> None:
        size = 0
        for segment in list(self._segments):
            start = self._read.end if segment.number == self._read.segment else 0
            end = start
            try:
                for entry, end in segments.read(segment.path, start, segment.size):
                    found.append(Waiting(entry, Place(segment.number, end)))
                    size += entry.size
                    if len(found) >= entries or size >= max_bytes:
                        return
            except OSError as error:
                log.error("%s: cannot be read: %s", segment.path, error)
                if error.errno not in _GONE:
                    return
            if end < segment.size:
                # What comes before the damage is sent first.
                if found:
                    return
                self._give_up(segment)

    def _give_up(self, segment: Segment) -> None:
        """The rest of the segment is not what was written."""
        log.error("%s: is damaged; %d samples in it are lost", segment.path, segment.unsent)
        self._lose(Loss.DAMAGED, segment.unsent)
        self._segments.remove(segment)
        try:
            self._remove(segment)
        except OSError as error:
            log.error("%s: cannot be removed: %s", segment.path, error)
        self._rewind()

    def _forget(self, item: Waiting) -> None:
        if item.place.segment == 0:
            if self._memory and self._memory[0] is item.entry:
                self._memory.popleft()
            return
        segment = next((s for s in self._segments if s.number == item.place.segment), None)
        behind = segment is not None and item.place.segment == self._read.segment
        if segment is None or (behind and item.place.end <= self._read.end):
            return
        segment.unsent -= item.entry.samples
        self._read = item.place

    def _drop_read_segments(self) -> bool:
        """Removes what was read to its end, but for the segment that is being written."""
        dropped = False
        while self._segments and self._is_read(self._segments[0]):
            oldest = self._segments[0]
            if oldest is self._writable and not self._is_full(oldest):
                break
            try:
                self._remove(oldest)
            except OSError as error:
                log.warning("%s: cannot be removed: %s", oldest.path, error)
            self._segments.popleft()
            dropped = True
            if self._segments:
                self._rewind()
        return dropped

    def _is_full(self, segment: Segment) -> bool:
        return segment.size >= self._max_bytes // _SEGMENTS

    def _is_read(self, segment: Segment) -> bool:
        if segment.number != self._read.segment:
            return segment.number < self._read.segment
        return self._read.end >= segment.size

    def _save_position(self, *, durably: bool) -> None:
        """An older position after a power cut is no harm: what it names is sent again, which changes nothing."""
        head = _POSITION.pack(self._read.segment, self._read.end, self.sent_ms, 0)[:-4]
        data = head + struct.pack("<I", zlib.crc32(head))
        try:
            if durably:
                files.write_atomic(self._position, data)
                return
            handle = os.open(self._position, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(handle, data, 0)
            finally:
                os.close(handle)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._position, error)

    def _fall_back(self, error: OSError) -> None:
        if self.on_disk:
            log.error(
                "%s: cannot be used (%s): samples are kept in memory, %d bytes at most, and are lost when the agent "
                "ends; make room or make it writable",
                self._folder,
                error,
                _IN_MEMORY_BYTES,
            )
        self.on_disk = False
        self._writable = None

    def _trim_memory(self) -> None:
        while self._memory and sum(entry.size for entry in self._memory) > _IN_MEMORY_BYTES:
            self._lose(Loss.EVICTED, self._memory.popleft().samples)

    def _lose(self, why: Loss, samples: int) -> None:
        if samples:
            self._on_loss(why, samples)

    def _size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def _count_bytes(self) -> None:
        read = self._read.end if self._segments and self._segments[0].number == self._read.segment else 0
        self.waiting_bytes = self._size() - read + sum(entry.size for entry in self._memory)
