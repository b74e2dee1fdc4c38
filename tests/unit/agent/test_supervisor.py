"""How a node follows the releases and its own labels."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.store import ModelFiles
from edgecanary.api.edgenode import ModelState
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.clients.nodeevents import LabelsHeard, ReleaseChanged, ReleaseGone, ReleasesListed
from tests.unit.agent.nodeplay import node, quiet
from tests.unit.agent.releasing import Releases, statement, until
from tests.unit.fileserver import FileServer, file_server

EAST = LabelSelector(match_labels={"site": "east"})


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(files: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=files.put, serve=False)


@pytest.fixture
def b(files: FileServer) -> RevisionStatement:
    return statement("2.0.0", publish=files.put, serve=False)


def renamed(release: ModelRelease, model: str) -> ModelRelease:
    return release.model_copy(update={"spec": release.spec.model_copy(update={"model": model})})


async def test_a_change_of_one_release_touches_only_its_model(tmp_path: Path, a: RevisionStatement) -> None:
    one, two = Releases(), Releases(name="fan", uid="uid-2")
    async with node(tmp_path) as edge:
        edge.hear(one.next(stable=a), renamed(two.next(stable=a), "fan"))
        await until(lambda: len(edge.news) == 2)
        edge.supervisor.hear(ReleaseChanged(renamed(two.next(), "fan")))
        await until(lambda: len(edge.news) == 3)

        states = {record.name: record.outcome.state for record in edge.supervisor.records}
        assert states == {"pump": ModelState.ACTIVE, "fan": ModelState.WITHDRAWN}


async def test_a_label_brings_the_model_and_leaves_it_when_it_goes(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases(selector=EAST).next(stable=a))
        await quiet()
        assert edge.supervisor.records == []

        edge.supervisor.hear(LabelsHeard({"site": "east"}))
        await edge.settles(a)
        edge.supervisor.hear(LabelsHeard({"site": "west"}))
        await quiet()
        assert edge.record.active == a.revision
        assert edge.record.outcome.reason == "Kept"


async def test_a_missing_node_object_changes_nothing(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path, labels={"site": "east"}) as edge:
        edge.hear(Releases(selector=EAST).next(stable=a))
        await edge.settles(a)
        edge.supervisor.hear(LabelsHeard(None))
        await quiet()

        assert edge.record.active == a.revision


async def test_the_node_it_runs_on_is_remembered_though_it_is_missing_for_a_while(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        edge.supervisor.hear(LabelsHeard({}, "uid-1"))
        edge.supervisor.hear(LabelsHeard(None))

        assert edge.supervisor.node_uid == "uid-1"


async def test_a_node_that_was_replaced_under_its_name_is_news_and_the_same_node_is_none(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        edge.supervisor.hear(LabelsHeard({}, "uid-1"))
        before = len(edge.news)
        edge.supervisor.hear(LabelsHeard({}, "uid-1"))
        assert len(edge.news) == before
        edge.supervisor.hear(LabelsHeard({}, "uid-2"))
        assert len(edge.news) == before + 1


async def test_a_release_that_this_agent_cannot_read_is_not_a_missing_one(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        edge.supervisor.hear(ReleasesListed((), unreadable=frozenset({("plant", "pump")})))
        await quiet()

        assert edge.record.outcome.reason == "Active"


async def test_a_deleted_release_is_a_missing_one(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        edge.supervisor.hear(ReleaseGone("plant", "pump"))

        await until(lambda: edge.record.outcome.reason == "ReleaseMissing")


async def test_changes_before_the_first_list_are_no_truth(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.supervisor.hear(ReleaseChanged(Releases().next(stable=a)))
        await quiet()

        assert edge.supervisor.records == []


async def test_a_list_from_a_server_that_lags_behind_takes_nothing_back(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    releases = Releases()
    old, new = releases.next(stable=a), releases.next(stable=b)
    async with node(tmp_path) as edge:
        edge.hear(new)
        await edge.settles(b)
        edge.hear(old)
        edge.supervisor.hear(ReleaseChanged(old))
        await quiet()

        assert edge.record.active == b.revision


async def test_a_recreated_release_may_count_from_one_again(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases(sequence=40).next(stable=a))
        await edge.settles(a)
        edge.hear(Releases(uid="another").next(stable=b))

        await edge.settles(b)


async def test_a_defect_in_one_models_work_is_reported_and_spares_the_others(
    tmp_path: Path, a: RevisionStatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(self: ModelFiles, revision: str) -> bool:
        if self.key.name == "pump":
            raise ZeroDivisionError("a defect")
        return self.home(revision).is_dir()

    monkeypatch.setattr(ModelFiles, "is_installed", defect)
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a), renamed(Releases(name="fan", uid="u2").next(stable=a), "fan"))
        await until(
            lambda: (
                {record.outcome.reason for record in edge.supervisor.records} == {"InternalError", "Active"}
            )
        )

        assert "ZeroDivisionError: a defect" in edge.record.outcome.message
