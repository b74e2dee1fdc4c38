"""How much memory this process may have: the machine's, or what its control groups leave."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_RECLAIMABLE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Places:
    """Where the kernel tells of memory."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class _Group:
    """One control group's memory, in bytes."""

    limit: int
    used: int


def total_bytes(places: Places | None = None) -> int:
    """The machine's memory, or the smallest limit of the control groups that this process is in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((physical, *(group.limit for group in _groups(places or Places()))))


def available_bytes(places: Places | None = None) -> int:
    """What could be had now without swapping, of the machine and within every control group."""
    where = places or Places()
    try:
        found = _AVAILABLE.search((where.proc / "meminfo").read_text())
    except OSError:
        found = None
    free = int(found[1]) * 1024 if found else total_bytes(where)
    return max(0, min((free, *(group.limit - group.used for group in _groups(where)))))


def _groups(places: Places) -> Iterator[_Group]:
    """The control groups from this process's up to the root that limit memory, of both versions."""
    try:
        lines = (places.proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            names = ("memory.max", "memory.current")
            roots = [places.cgroup, places.cgroup / "unified"]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            roots = [places.cgroup / "memory"]
        else:
            continue
        for root in roots:
            yield from _upwards(root, path, *names)


def _upwards(root: Path, path: str, limit: str, used: str) -> Iterator[_Group]:
    folder = root / path.strip("/")
    while folder.is_relative_to(root):
        group = _group(folder, limit, used)
        if group is not None:
            yield group
        folder = folder.parent


def _group(folder: Path, limit: str, used: str) -> _Group | None:
    try:
        most = (folder / limit).read_text().strip()
        now = int((folder / used).read_text())
        cached = _RECLAIMABLE.search((folder / "memory.stat").read_text())
    except (OSError, ValueError):
        return None
    if not most.isdecimal():
        return None
    return _Group(int(most), max(0, now - (int(cached[1]) if cached else 0)))
