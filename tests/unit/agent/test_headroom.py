"""How much memory the agent may have, from the files by which the kernel tells it."""

from pathlib import Path

import pytest

from edgecanary.agent.headroom import Places, available_bytes, total_bytes

MIB = 2**20


def places(tmp_path: Path, cgroups: str, files: dict[str, str]) -> Places:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroups)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\nMemAvailable:  307200 kB\n")
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Places(tmp_path / "proc", tmp_path / "cgroup")


def group(folder: str, limit: str, used: int, cached: int) -> dict[str, str]:
    return {
        f"{folder}memory.max": limit,
        f"{folder}memory.current": f"{used}\n",
        f"{folder}memory.stat": f"anon 1\ninactive_file {cached}\n",
    }


def test_without_a_limit_the_machine_decides(tmp_path: Path) -> None:
    where = places(tmp_path, "0::/a\n", group("a/", "max\n", 5, 5))
    assert available_bytes(where) == 300 * MIB
    assert total_bytes(where) == total_bytes()


def test_the_tightest_group_on_the_way_up_decides(tmp_path: Path) -> None:
    files = group("a/b/", f"{200 * MIB}\n", 50 * MIB, 10 * MIB) | group(
        "a/", f"{128 * MIB}\n", 60 * MIB, 20 * MIB
    )
    where = places(tmp_path, "0::/a/b\n", files)
    assert total_bytes(where) == 128 * MIB
    assert available_bytes(where) == 88 * MIB


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    files = {
        "memory/a/memory.limit_in_bytes": f"{100 * MIB}\n",
        "memory/a/memory.usage_in_bytes": f"{90 * MIB}\n",
        "memory/a/memory.stat": f"total_inactive_file {5 * MIB}\n",
    }
    where = places(tmp_path, "4:cpu,memory:/a\n1:cpu:/\n", files)
    assert total_bytes(where) == 100 * MIB
    assert available_bytes(where) == 15 * MIB


@pytest.mark.parametrize("broken", ["", "nonsense\n", "0::/gone\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, broken: str) -> None:
    where = places(tmp_path, broken, {})
    assert available_bytes(where) == 300 * MIB


def test_the_machine_that_runs_the_tests_has_memory() -> None:
    assert 0 < available_bytes() <= total_bytes()
