"""File operations that are whole or not at all."""

import os
from pathlib import Path

import pytest

from edgecanary.agent import files
from edgecanary.base.errors import InvalidInput


def test_a_file_is_written_with_its_mode_and_nothing_else_is_left(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "record.json", b"new", mode=0o600)

    assert (tmp_path / "record.json").read_bytes() == b"new"
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("operation", ["fsync", "write"])
def test_a_write_that_fails_half_way_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"old")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, operation, no_space)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_the_content_is_durable_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        order.append("directory" if Path(f"/proc/self/fd/{handle}").is_dir() else "file")
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    files.write_atomic(tmp_path / "record.json", b"new")

    assert order == ["file", "rename", "directory"]


def test_a_link_moves_in_one_step_over_what_a_crash_left(tmp_path: Path) -> None:
    link = tmp_path / "active"
    link.symlink_to("old")
    (tmp_path / ".active.new").symlink_to("half done")

    files.point_link(link, "new")

    assert str(link.readlink()) == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["active"]


def test_a_directory_that_is_being_removed_has_lost_its_name_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "revision").mkdir()
    (tmp_path / "revision" / "model.onnx").write_bytes(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda _: Path("/proc/self/no-such-file").stat())
        patch.setattr(Path, "unlink", lambda *_, **__: pytest.fail("it still has its name"))
        files.remove_tree(tmp_path / "revision")
    assert not (tmp_path / "revision").exists()
    monkeypatch.undo()

    files.remove_tree(tmp_path / "revision")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "a\\b", "a\0b"]
)
def test_a_path_that_could_leave_its_directory_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="must be a relative path"):
        files.join_inside(tmp_path, path)


def test_a_path_inside_is_joined(tmp_path: Path) -> None:
    assert files.join_inside(tmp_path, "weights/part-1.bin") == tmp_path / "weights" / "part-1.bin"
