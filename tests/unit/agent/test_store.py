"""The data directory: what is there is whole, and what is needed stays."""

import os
from pathlib import Path

import pytest

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

    with pytest.raises(StoreFailure, match="is no directory") as caught:
        Store(tmp_path / "data").open()

    assert caught.value.reason == "DataDirUnusable"


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


def test_installed_files_are_read_only_and_real_files(home: ModelFiles) -> None:
    directory = home.installed(install(home, "1.0.0", A).revision).directory

    for path in A:
        assert (directory / path).lstat().st_mode & 0o777 == 0o444
        assert not (directory / path).is_symlink()


def test_staging_is_done_when_it_is_done(home: ModelFiles) -> None:
    stated = install(home, "1.0.0", A)

    home.stage(stated)

    home.check(stated.revision)


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
    arrive(home, b"whole")

    home.collect_garbage(frozenset({stated.revision}), keep_incoming=True)

    assert home.part(sha256(b"graph")).exists()
    assert home.arrived(sha256(b"whole")).exists()


def test_a_forgotten_model_leaves_nothing(store: Store, home: ModelFiles) -> None:
    install(home, "1.0.0", A)
    store.forget(KEY)

    assert store.models() == []
    assert not home.root.exists()
    assert list(store.blobs.root.iterdir()) == []


def test_models_of_different_namespaces_are_apart(store: Store) -> None:
    other = ModelKey("lab", "pump")
    store.save(new_record(KEY).model_copy(update={"active": "a" * 64}))
    store.save(new_record(other))

    assert store.models() == [other, KEY]
    assert store.load(other).active is None
