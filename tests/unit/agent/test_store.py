"""The data directory: what is there is whole, and what is needed stays."""

import os
import shutil
from pathlib import Path

import pytest

from edgecanary.agent import files
from edgecanary.agent.machine import State
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import new_record
from edgecanary.agent.store import ModelFiles, Store, StoreFailure
from edgecanary.api.modelrelease import RevisionStatement
from tests.unit.agent.releasing import KEY, sha256, statement, target

A = {"model.onnx": b"graph", "weights/part-1.bin": b"weights" * 100}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "data")
    store.open()
    return store


@pytest.fixture
def home(store: Store) -> ModelFiles:
    found = store.files_of(KEY)
    found.create()
    return found


def arrive(home: ModelFiles, *contents: bytes) -> None:
    for data in contents:
        home.arrived(sha256(data)).write_bytes(data)


def install(home: ModelFiles, version: str, contents: dict[str, bytes]) -> RevisionStatement:
    stated = statement(version, files=contents)
    arrive(home, *contents.values())
    home.stage(stated)
    return stated


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_second_agent_is_kept_out_of_a_data_directory(store: Store) -> None:
    with pytest.raises(StoreFailure, match="another agent uses this data directory") as caught:
        Store(store.root).open()

    assert caught.value.reason == "DataDirInUse"


def test_a_directory_that_was_given_free_can_be_taken_again(store: Store) -> None:
    store.close()

    Store(store.root).open()


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(StoreFailure, match="cannot write to its data directory"):
        Store(tmp_path / "data").open()


def test_a_record_survives_whole(store: Store) -> None:
    record = new_record(KEY).model_copy(
        update={"state": State.DOWNLOAD, "target": target(statement("1.0.0", golden=b"g"))}
    )
    store.save(record)

    assert store.load(KEY) == record
    assert store.models() == [KEY]


def test_an_unknown_model_has_an_empty_record(store: Store) -> None:
    assert store.load(KEY) == new_record(KEY)
    assert store.models() == []


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"formatVersion": 1}', b"\xff\xfe"])
def test_a_damaged_record_is_rebuilt_from_what_is_active(
    store: Store, home: ModelFiles, garbage: bytes
) -> None:
    stated = install(home, "1.0.0", A)
    home.point_active(stated.revision)
    (home.root / "record.json").write_bytes(garbage)

    assert store.load(KEY).active == stated.revision
    assert (home.root / "record.json.damaged").read_bytes() == garbage


def test_a_damaged_record_without_an_active_link_is_an_empty_one(store: Store, home: ModelFiles) -> None:
    (home.root / "record.json").write_bytes(b"{")

    assert store.load(KEY) == new_record(KEY)


def test_a_record_of_another_format_is_refused_and_kept(store: Store, home: ModelFiles) -> None:
    store.save(new_record(KEY))
    path = home.root / "record.json"
    path.write_text(path.read_text().replace('"formatVersion":1', '"formatVersion":2'))

    with pytest.raises(StoreFailure, match="written by another version of the agent") as caught:
        store.load(KEY)

    assert caught.value.reason == "RecordVersion"
    assert path.exists()


def test_a_record_that_the_disk_does_not_give_out_is_named_and_kept(store: Store, home: ModelFiles) -> None:
    (home.root / "record.json").mkdir()

    with pytest.raises(StoreFailure, match=r"record\.json: cannot be read"):
        store.load(KEY)


def test_an_installed_revision_holds_the_files_under_their_paths(home: ModelFiles) -> None:
    stated = statement("1.0.0", files=A, golden=b"golden")
    arrive(home, *A.values(), b"golden")
    home.stage(stated)
    installed = home.installed(stated.revision)

    assert {path: (installed.directory / path).read_bytes() for path in A} == A
    assert installed.golden_path is not None
    assert installed.golden_path.read_bytes() == b"golden"
    assert (installed.version, installed.variant.name) == ("1.0.0", "cpu")
    assert list(home.incoming.iterdir()) == []


def test_the_same_bytes_under_two_paths_are_two_files(home: ModelFiles) -> None:
    stated = install(home, "1.0.0", {"a.bin": b"same", "b/c.bin": b"same"})
    directory = home.installed(stated.revision).directory

    assert (directory / "a.bin").read_bytes() == (directory / "b/c.bin").read_bytes() == b"same"
    assert (directory / "a.bin").stat().st_ino != (directory / "b/c.bin").stat().st_ino


def test_installed_files_are_read_only_and_no_links(home: ModelFiles) -> None:
    directory = home.installed(install(home, "1.0.0", A).revision).directory

    for path in A:
        assert (directory / path).lstat().st_mode & 0o777 == 0o444
        assert not (directory / path).is_symlink()
        assert (directory / path).stat().st_nlink == 1


def test_staging_is_done_when_it_is_done(home: ModelFiles) -> None:
    stated = install(home, "1.0.0", A)

    home.stage(stated)

    home.check(stated.revision)


@pytest.mark.parametrize("broken_step", range(1, 7))
def test_a_staging_that_breaks_off_anywhere_can_be_done_again(
    home: ModelFiles, monkeypatch: pytest.MonkeyPatch, broken_step: int
) -> None:
    stated = statement("1.0.0", files={**A, "copy.bin": b"graph"}, golden=b"golden")
    arrive(home, *A.values(), b"golden")
    steps = 0

    def breaks(real: object) -> object:
        def step(*arguments: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps == broken_step:
                raise OSError(5, "Input/output error")
            assert callable(real)
            return real(*arguments, **options)

        return step

    for owner, name in ((Path, "replace"), (shutil, "copy"), (files, "write_atomic"), (Path, "rename")):
        monkeypatch.setattr(owner, name, breaks(getattr(owner, name)))
    with pytest.raises(OSError, match="Input/output"):
        home.stage(stated)
    assert not home.is_installed(stated.revision)
    monkeypatch.undo()

    home.unstage(stated)
    assert names(home.incoming) == {sha256(data) for data in (*A.values(), b"golden")}
    home.stage(stated)

    home.check(stated.revision)
    assert home.installed(stated.revision).golden_path is not None


@pytest.mark.parametrize("damage", ["change", "shorten", "remove"])
def test_damage_to_an_installed_revision_is_found(home: ModelFiles, damage: str) -> None:
    stated = install(home, "1.0.0", A)
    path = home.installed(stated.revision).directory / "weights/part-1.bin"
    path.chmod(0o644)
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(b"WEIGHTS" * 100 if damage == "change" else b"weights")

    with pytest.raises(StoreFailure, match=r"part-1\.bin"):
        home.check(stated.revision)


def test_a_revision_whose_statement_is_damaged_says_so(home: ModelFiles) -> None:
    stated = install(home, "1.0.0", A)
    (home.home(stated.revision) / "statement.json").write_text("{")

    with pytest.raises(StoreFailure, match=r"statement\.json") as caught:
        home.installed(stated.revision)

    assert caught.value.reason == "RevisionDamaged"


def test_the_active_link_leads_to_the_files(home: ModelFiles) -> None:
    stated = install(home, "1.0.0", A)
    home.point_active(stated.revision)

    assert (home.root / "active" / "model.onnx").read_bytes() == b"graph"
    home.point_active(None)
    assert not os.path.lexists(home.root / "active")


def test_only_what_is_needed_survives_garbage_collection(home: ModelFiles) -> None:
    kept, gone = install(home, "1.0.0", A), install(home, "2.0.0", {"model.onnx": b"two"})
    arrive(home, b"left over")
    (home.store / f".{gone.revision}").mkdir()
    (home.store / ".doomed-x").mkdir()
    (home.root / ".record.json.abc").write_text("half")

    home.collect_garbage(frozenset({kept.revision}), keep_incoming=False)

    assert [path.name for path in home.store.iterdir()] == [kept.revision]
    assert list(home.incoming.iterdir()) == []
    assert not list(home.root.glob(".*"))


def test_garbage_collection_leaves_a_download_that_goes_on(home: ModelFiles) -> None:
    stated = statement("1.0.0", files=A)
    home.part(sha256(b"graph")).write_bytes(b"gra")
    (home.store / f".{stated.revision}").mkdir()

    home.collect_garbage(frozenset({stated.revision}), keep_incoming=True)

    assert home.part(sha256(b"graph")).exists()
    assert (home.store / f".{stated.revision}").exists()


def test_a_file_of_another_revision_is_found_by_its_content(home: ModelFiles) -> None:
    install(home, "1.0.0", A)

    found = home.copy_of(sha256(b"graph"), len(b"graph"))

    assert found is not None
    assert found.read_bytes() == b"graph"
    assert home.copy_of(sha256(b"other"), 5) is None


def test_a_forgotten_model_leaves_nothing(store: Store, home: ModelFiles) -> None:
    store.save(new_record(KEY))
    store.forget(KEY)

    assert store.models() == []
    assert not home.root.exists()


def test_models_of_different_namespaces_are_apart(store: Store) -> None:
    other = ModelKey("lab", "pump")
    store.save(new_record(KEY).model_copy(update={"active": "a" * 64}))
    store.save(new_record(other))

    assert store.models() == [other, KEY]
    assert store.load(other).active is None
