"""A node takes models only from namespaces that its rules give it to, and files only from hosts that they name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.permits import Permits
from edgecanary.agent.record import Record
from edgecanary.agent.report import MAX_MODELS, MAX_REFUSED, build_status
from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.base.reach import LocalRule
from edgecanary.clients import tenancy as tenancy_module
from edgecanary.clients.nodeevents import LabelsHeard, ReleasesListed
from edgecanary.clients.tenancy import GrantsFile, Tenancy
from edgecanary.rollout.grants import Grants, parse_grants
from tests.unit.agent.nodeplay import CAPABILITIES, Node, node, quiet, running
from tests.unit.agent.releasing import NOW, Releases, rejected, statement, until
from tests.unit.fileserver import Behaviour, FileServer, file_server

OWN = {"tenant": "plant"}
GRANT = "plant nodes tenant=plant\nplant download 127.0.0.1\n* contact Ann\n"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules"
    path.write_text(GRANT)
    return path


def tenancy(rules: Path) -> Tenancy:
    return Tenancy(LocalRule(loopback=False), GrantsFile(rules))


def a_version(files: FileServer, version: str = "1.0.0") -> RevisionStatement:
    return statement(version, publish=files.put)


def change(rules: Path, text: str | None, edge: Node) -> None:
    """Changes the rules, as an administrator does, and has the node notice."""
    if text is None:
        rules.unlink()
    else:
        (fresh := rules.with_name("fresh")).write_text(text)
        fresh.replace(rules)
    edge.supervisor.reconsider()


async def refuses(edge: Node, reason: str) -> NodeModelStatus:
    """Waits until the node says that it does not begin with the model, of which nothing is kept."""
    await until(lambda: [status.reason for status in edge.supervisor.refused] == [reason])
    await quiet()
    assert edge.supervisor.records == []
    assert edge.store.models() == []
    return edge.supervisor.refused[0]


async def holds(edge: Node, reason: str) -> None:
    """Waits until the node says why it does not take what is new, and sees that it is not taken."""
    await until(lambda: edge.record.outcome.reason == reason)
    await quiet()
    assert edge.record.outcome.state is ModelState.PENDING
    assert edge.record.outcome.result is ModelResult.PRECHECK_FAILED


async def test_a_namespace_that_the_node_is_granted_to_has_its_model_installed(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    a = a_version(files)
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        assert edge.supervisor.refused == []


@pytest.mark.parametrize("text", ["plant nodes tenant=lab\n", "lab nodes *\n", ""])
async def test_a_release_of_a_namespace_that_was_not_granted_the_node_is_refused_and_told_so(
    tmp_path: Path, files: FileServer, rules: Path, text: str
) -> None:
    rules.write_text(text)
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.hear(Releases().next(stable=a_version(files)))
        status = await refuses(edge, "NotGranted")
        assert (status.state, status.result) == (ModelState.PENDING, ModelResult.PRECHECK_FAILED)
        assert "namespace 'plant'" in status.message
        assert "ask who administers edgecanary for the rule 'plant nodes KEY=VALUE'" in status.message
        assert files.seen == []

        change(rules, GRANT, edge)
        await until(lambda: edge.supervisor.records)
        await until(lambda: edge.serves is not None)
        assert edge.supervisor.refused == []


async def test_what_runs_is_kept_when_the_grant_is_taken_away_and_nothing_new_is_taken(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    a, b = a_version(files), a_version(files, "2.0.0")
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        releases = await running(edge, a)
        change(rules, "plant nodes tenant=lab\n", edge)
        edge.hear(releases.next(stable=b))
        await holds(edge, "NotGranted")
        assert edge.serves == a.revision

        change(rules, GRANT, edge)
        await edge.settles(b)


async def test_a_return_to_what_is_on_the_disk_asks_no_rule(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    a, b = a_version(files), a_version(files, "2.0.0")
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=b))
        await edge.settles(b)
        change(rules, None, edge)
        edge.hear(releases.next(stable=a, taken_back=(rejected(b),)))
        await edge.settles(a)


@pytest.mark.parametrize("text", [None, "plant nodes\n", "\x00\xff", "plant nodes *\nnonsense"])
async def test_a_node_whose_rules_cannot_be_read_keeps_what_it_has_and_takes_nothing(
    tmp_path: Path, files: FileServer, rules: Path, text: str | None
) -> None:
    a, b = a_version(files), a_version(files, "2.0.0")
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        releases = await running(edge, a)
        change(rules, text, edge)
        edge.hear(releases.next(stable=b))
        await holds(edge, "GrantsUnreadable")
        assert edge.serves == a.revision
        assert f"the rules of {rules} cannot be read" in edge.record.outcome.message

    async with node(tmp_path / "new", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.hear(Releases().next(stable=a))
        await refuses(edge, "GrantsUnreadable")


def test_a_node_that_has_not_heard_its_labels_does_not_guess(rules: Path) -> None:
    refused = Permits(tenancy(rules)).refusal("plant")
    assert refused is not None
    assert refused.reason == "NodeUnknown"
    assert Permits(tenancy(rules), labels=OWN).refusal("plant") is None
    assert Permits().refusal("plant") is None


async def test_a_node_whose_labels_become_anothers_takes_nothing_more(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.supervisor.hear(LabelsHeard({"tenant": "lab"}))
        edge.hear(Releases().next(stable=a_version(files)))
        await refuses(edge, "NotGranted")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://evil.example/x", "NotGranted"),
        ("http://169.254.169.254/latest", "NotGranted"),
        ("http://localhost:1/x", "NotGranted"),
        ("http://127.0.0.1@evil.example/x", "HostInvalid"),
        ("http://2130706433/x", "HostInvalid"),
    ],
)
async def test_a_release_that_names_another_host_is_refused_before_anything_is_fetched(
    tmp_path: Path, files: FileServer, rules: Path, url: str, reason: str
) -> None:
    stated = statement("1.0.0", publish=lambda *_: url)
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.hear(Releases().next(stable=stated))
        await until(lambda: edge.supervisor.records)
        await holds(edge, reason)
        assert edge.serves is None
        assert edge.record.outcome.message.startswith("model.onnx: ")
    assert files.seen == []


async def test_without_rules_a_metadata_service_is_refused_all_the_same(tmp_path: Path) -> None:
    stated = statement("1.0.0", publish=lambda *_: "http://[::ffff:169.254.169.254]/x")
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=stated))
        await until(lambda: edge.supervisor.records)
        await holds(edge, "AddressRefused")
        assert "the metadata service of a cloud" in edge.record.outcome.message


async def test_a_redirect_to_a_host_that_is_not_granted_is_not_followed(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    with file_server() as inside:
        files.behaviour = Behaviour(status=302, location=f"http://127.0.0.2:{inside.port}/secret")
        async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
            edge.hear(Releases().next(stable=a_version(files)))
            await until(lambda: edge.supervisor.records)
            await until(lambda: edge.record.outcome.reason == "RedirectRefused")
            assert "127.0.0.2" in edge.record.outcome.message
            assert "is not granted to namespace 'plant'" in edge.record.outcome.message
        assert inside.seen == []


async def test_many_refused_models_never_take_the_room_of_one_that_is_there(
    tmp_path: Path, files: FileServer, rules: Path
) -> None:
    strangers = [
        _of_namespace(Releases(uid=f"s{n}").next(stable=a_version(files)), f"a{n}") for n in range(70)
    ]
    own = Releases().next(stable=a_version(files))
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        edge.supervisor.hear(ReleasesListed((*strangers, own)))
        await until(lambda: edge.supervisor.records)
        await edge.settles(a_version(files))
        refused = edge.supervisor.refused
        status = build_status(
            edge.supervisor.records, CAPABILITIES, agent_version="1", now=NOW, refused=refused
        )
    assert [model.namespace for model in status.models] == [
        "plant",
        *sorted(f"a{n}" for n in range(70))[:MAX_REFUSED],
    ]
    full = [Record(namespace="plant", name=f"m{number:02}") for number in range(MAX_MODELS)]
    status = build_status(full, CAPABILITIES, agent_version="1", now=NOW, refused=refused)
    assert {model.namespace for model in status.models} == {"plant"}


def _of_namespace(release: ModelRelease, namespace: str) -> ModelRelease:
    metadata = release.metadata.model_copy(update={"namespace": namespace})
    return release.model_copy(update={"metadata": metadata})


async def test_a_refusal_is_told_once(tmp_path: Path, files: FileServer, rules: Path) -> None:
    rules.write_text("")
    async with node(tmp_path / "data", labels=OWN, tenancy=tenancy(rules)) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=a_version(files)))
        first = await refuses(edge, "NotGranted")
        edge.clock.time = NOW.replace(hour=13)
        edge.supervisor.reconsider()
        assert edge.supervisor.refused == [first]
        edge.hear()
        assert edge.supervisor.refused == []


def test_rules_are_read_again_when_they_change_and_only_then(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, reads = Tenancy(file=GrantsFile(rules)), list[str]()

    def counted(text: str) -> Grants:
        reads.append(text)
        return parse_grants(text)

    monkeypatch.setattr(tenancy_module, "parse_grants", counted)
    assert own.of("plant").granted == own.of("plant").granted
    assert len(reads) == 1
    stamp = own.stamp()
    rules.with_name("fresh").write_text("lab nodes *\n")
    rules.with_name("fresh").replace(rules)
    assert own.stamp() != stamp
    assert own.of("plant").granted is not None
    assert own.of("lab").granted != own.of("plant").granted
    assert len(reads) == 2


def test_rules_that_are_too_long_are_not_read(rules: Path) -> None:
    rules.write_text(GRANT + "#" * 600_000)
    assert "at most 524288 bytes" in Tenancy(file=GrantsFile(rules)).of("plant").problem
