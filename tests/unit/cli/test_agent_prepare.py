"""`edgecanary agent prepare`: what a DaemonSet's init container does as root."""

import os
from pathlib import Path

import pytest

from edgecanary.cli.main import main

OWNER = 65532
PREPARE = ("agent", "prepare")


def prepare(folder: Path | str, owner: object = OWNER) -> int:
    return main([*PREPARE, f"--data-dir={folder}", f"--owner={owner}"])


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Records who is given what; these tests need not be root."""
    given: dict[str, tuple[int, int]] = {}

    def chown(name: str, user: int, group: int, *, dir_fd: int, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        folder = Path(f"/proc/self/fd/{dir_fd}").readlink()
        given[os.path.normpath(folder / name)] = (user, group)

    monkeypatch.setattr(os, "chown", chown)
    return given


def test_a_new_folder_is_made_and_given_to_the_agent(
    tmp_path: Path, owners: dict[str, tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lib" / "edgecanary"
    assert prepare(folder) == 0
    assert owners == {str(folder): (OWNER, OWNER)}
    assert capsys.readouterr().out == f"{folder}: user {OWNER} owns it (1 entries changed hands)\n"


def test_what_another_user_left_is_given_to_the_agent_and_links_are_not_followed(
    tmp_path: Path, owners: dict[str, tuple[int, int]]
) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    (folder / "models" / "plant").mkdir(parents=True)
    (folder / "models" / "record").write_text("x")
    outside.mkdir()
    (outside / "secret").write_text("x")
    (folder / "link").symlink_to(outside)
    assert prepare(folder) == 0
    names = ("", "models", "models/plant", "models/record", "link")
    assert owners == {str(folder / name): (OWNER, OWNER) for name in names}


def test_what_is_the_agents_already_is_left_alone(tmp_path: Path, owners: dict[str, tuple[int, int]]) -> None:
    (tmp_path / "record").write_text("x")
    found = tmp_path.stat()
    assert found.st_uid == found.st_gid
    assert prepare(tmp_path, found.st_uid) == 0
    assert owners == {}


@pytest.mark.parametrize(
    ("folder", "owner", "told"),
    [
        ("/", OWNER, "--data-dir: must be an absolute path below /"),
        ("data", OWNER, "--data-dir: must be an absolute path below /"),
        ("/var/lib/edgecanary", -1, "--owner: must be a user's number"),
    ],
)
def test_a_wrong_setting_is_named(
    folder: str, owner: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(folder, owner) == 1
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_be_given_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted", "record")

    monkeypatch.setattr(os, "chown", refuse)
    assert prepare(tmp_path) == 1
    assert "record: Operation not permitted; run this as root" in capsys.readouterr().err
