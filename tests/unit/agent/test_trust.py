"""A node with trust roots: what it lets in, what it refuses and why, and what it never touches."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.api.artifacts import VariantRequirements
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import UpdateWindow
from edgecanary.artifact.signed import SignedModel
from tests.unit.agent.nodeplay import Node, node, quiet
from tests.unit.agent.releasing import (
    NOW,
    FixedClock,
    MemoryProber,
    Publish,
    Releases,
    everywhere,
    statement,
    until,
)
from tests.unit.fileserver import FileServer, file_server
from tests.unit.signing import CI, OLD, STRANGER, roots, with_signature

ROOTS = roots(CI)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as found:
        yield found


@pytest.fixture
def publish(server: FileServer) -> Publish:
    return server.put


async def refusal(found: Node, reason: str) -> str:
    """Waits until the node says that it refuses; the message."""
    await until(lambda: found.record.outcome.reason == reason)
    outcome = found.record.outcome
    assert (outcome.state, outcome.result) == (ModelState.PENDING, ModelResult.PRECHECK_FAILED)
    assert found.record.rejected == (), "the model is not at fault"
    return outcome.message


async def test_a_signed_model_is_let_in_and_its_sequence_becomes_the_floor(
    tmp_path: Path, publish: Publish
) -> None:
    first = with_signature(statement("1", publish=publish), sequence=7)
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(Releases().next(first))
        await found.settles(first)
    assert found.record.floor == 7
    known = json.loads((tmp_path / "trust.json").read_text())
    assert known["floors"] == {"plant.pump": 7}


def changed_variant(stated: RevisionStatement, **changes: object) -> RevisionStatement:
    return stated.model_copy(update={"variants": (stated.variants[0].model_copy(update=changes),)})


def other_file(stated: RevisionStatement) -> RevisionStatement:
    (file,) = stated.variants[0].files
    return changed_variant(stated, files=(file.model_copy(update={"sha256": "0" * 64}),))


def arm_only(stated: RevisionStatement) -> RevisionStatement:
    return changed_variant(stated, requires=VariantRequirements(architectures=("arm64",)))


Make = Callable[[RevisionStatement], RevisionStatement]
REFUSALS: dict[str, tuple[str, Make]] = {
    "no signature": ("Unsigned", lambda s: s),
    "an envelope without signatures": (
        "Unsigned",
        lambda s: with_signature(s, change=lambda text: json.dumps({**json.loads(text), "signatures": []})),
    ),
    "no envelope": ("BadEnvelope", lambda s: with_signature(s, change=lambda text: text[:-1])),
    "another key": ("UnknownKey", lambda s: with_signature(s, STRANGER)),
    "a changed payload": (
        "BadSignature",
        lambda s: with_signature(s, change=lambda text: text.replace('"payload":"eyJ', '"payload":"eyK')),
    ),
    "another name": (
        "WrongModel",
        lambda s: with_signature(s, model=SignedModel(namespace="plant", name="door")),
    ),
    "another namespace": (
        "WrongModel",
        lambda s: with_signature(s, model=SignedModel(namespace="office", name="pump")),
    ),
    "another revision's statement": (
        "StatementMismatch",
        lambda s: with_signature(s).model_copy(update={"revision": "f" * 64}),
    ),
    "another file under the signed revision": ("StatementMismatch", lambda s: other_file(with_signature(s))),
    "files delivered but not served": (
        "StatementMismatch",
        lambda s: with_signature(s).model_copy(update={"serve": False}),
    ),
    "a statement for other hardware": (
        "WrongHardwareClass",
        lambda s: with_signature(arm_only(s)).model_copy(update={"variants": s.variants}),
    ),
    "an expired statement": (
        "Expired",
        lambda s: with_signature(s, issued=NOW - timedelta(days=9), expires=NOW - timedelta(days=1)),
    ),
}


async def test_a_node_with_trust_roots_refuses_what_is_not_signed_for_it(
    tmp_path: Path, publish: Publish
) -> None:
    first = with_signature(statement("1", publish=publish))
    prober, releases = MemoryProber(), Releases()
    async with node(tmp_path, roots=ROOTS, prober=prober) as found:
        found.hear(releases.next(first))
        await found.settles(first)
        for version, (case, (reason, make)) in enumerate(REFUSALS.items(), start=2):
            bad = make(statement(str(version), publish=publish))
            found.hear(releases.next(first, everywhere(bad)))
            await until(lambda: found.record.outcome.desired == bad.revision)  # noqa: B023 - waited for here
            message = await refusal(found, reason)
            assert message.startswith("plant.pump: "), case
            assert found.serves == first.revision, case
            assert found.record.state in (State.ACCEPTED, State.PRECHECK), case
            assert not found.home.is_installed(bad.revision), case
    assert prober.probed == ["1"], "nothing of what is refused ever ran"


async def test_a_node_without_trust_roots_asks_for_no_signature(tmp_path: Path, publish: Publish) -> None:
    first = statement("1", publish=publish)
    async with node(tmp_path) as found:
        found.hear(Releases().next(first))
        await found.settles(first)
    assert not (tmp_path / "trust.json").exists()


async def test_the_node_decides_by_the_signed_order_of_variants(tmp_path: Path, publish: Publish) -> None:
    one = statement("1", publish=publish).variants[0]
    both = statement("1", publish=publish).model_copy(
        update={"variants": (one.model_copy(update={"name": "fast"}), one)}
    )
    signed = with_signature(both)
    fewer = signed.model_copy(update={"variants": (one,)})
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(Releases().next(fewer))
        message = await refusal(found, "WrongHardwareClass")
    assert "the signed variant for this node is fast, the release gives cpu" in message


async def test_labels_choose_among_signed_variants(tmp_path: Path, publish: Publish) -> None:
    selector = LabelSelector(match_labels={"hardware": "vnni"})
    stated = changed_variant(
        statement("1", publish=publish), requires=VariantRequirements(node_selector=selector)
    )
    signed = with_signature(stated)
    async with node(tmp_path, roots=ROOTS, labels={"hardware": "vnni"}) as found:
        found.hear(Releases().next(signed))
        await found.settles(signed)


async def test_a_lower_sequence_is_refused_until_it_is_signed_again(tmp_path: Path, publish: Publish) -> None:
    old, new = (statement(version, publish=publish) for version in ("1", "2"))
    releases = Releases()
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(releases.next(with_signature(new, sequence=20)))
        await found.settles(with_signature(new))
        found.hear(releases.next(with_signature(old, sequence=19)))
        message = await refusal(found, "SequenceTooLow")
        assert "sequence is 19, this node has committed 20" in message
        found.hear(releases.next(with_signature(old, sequence=21)))
        await found.settles(with_signature(old))


async def test_the_floor_outlives_the_models_directory_and_its_record(
    tmp_path: Path, publish: Publish
) -> None:
    old, new = (statement(version, publish=publish) for version in ("1", "2"))
    releases = Releases()
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(releases.next(with_signature(new, sequence=20)))
        await found.settles(with_signature(new))
        found.hear(releases.next())
        await until(lambda: found.record.active is None and found.record.state is State.SETTLED)
        found.hear()
        await until(lambda: not found.supervisor.records)
        found.hear(releases.next(with_signature(old, sequence=19)))
        await refusal(found, "SequenceTooLow")


async def test_the_floor_is_known_from_the_record_when_its_own_file_is_damaged(
    tmp_path: Path, publish: Publish
) -> None:
    old, new = (statement(version, publish=publish) for version in ("1", "2"))
    releases = Releases()
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(releases.next(with_signature(new, sequence=20)))
        await found.settles(with_signature(new))
    (tmp_path / "trust.json").write_bytes(b'{"floors": {"plant.pump": ')
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(releases.next(with_signature(old, sequence=19)))
        await refusal(found, "SequenceTooLow")
    assert (tmp_path / "trust.json.damaged").exists()


async def test_a_running_model_goes_on_after_its_statement_expired(tmp_path: Path, publish: Publish) -> None:
    first = with_signature(statement("1", publish=publish))
    clock, releases = FixedClock(), Releases()
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        found.hear(releases.next(first))
        await found.settles(first)
        clock.time = NOW + timedelta(days=400)
        found.hear(releases.next(first))
        await quiet()
        assert found.serves == first.revision
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        await until(lambda: found.serves == first.revision)
        found.hear(releases.next(first))
        await found.settles(first)
        assert found.record.outcome.state is ModelState.ACTIVE


async def test_going_back_to_the_previous_revision_asks_for_no_signature(
    tmp_path: Path, publish: Publish
) -> None:
    old = with_signature(statement("1", publish=publish), sequence=1)
    new = with_signature(statement("2", publish=publish), sequence=2)
    clock, releases = FixedClock(), Releases()
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        found.hear(releases.next(old))
        await found.settles(old)
        found.hear(releases.next(old, everywhere(new)))
        await found.settles(new)
        clock.time = NOW + timedelta(days=400)
        found.hear(releases.next(old))
        await found.settles(old)
        assert found.record.floor == 2


async def test_a_revision_on_trial_when_the_process_died_is_not_held_up_by_its_expiry(
    tmp_path: Path, publish: Publish
) -> None:
    first = with_signature(statement("1", publish=publish))
    releases = Releases(health=Releases().health.model_copy(update={"soak_seconds": 3600}))
    release = releases.next(first)
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(release)
        await found.reaches(State.HEALTH)
    late = FixedClock(NOW + timedelta(days=400))
    async with node(tmp_path, roots=ROOTS, clock=late) as found:
        found.hear(release)
        await until(lambda: found.serves == first.revision)
        await found.reaches(State.HEALTH)


async def test_a_statement_that_expires_while_a_window_is_waited_for_is_refused(
    tmp_path: Path, publish: Publish
) -> None:
    first = with_signature(statement("1", publish=publish))
    night = UpdateWindow(schedule="0 2 * * *", duration_seconds=7200, time_zone="UTC")
    clock, releases = FixedClock(), Releases(windows=(night,))
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        found.hear(releases.next(first))
        await found.reaches(State.WINDOW)
        clock.time = NOW + timedelta(days=400)
        releases.windows = ()
        found.hear(releases.next(first))
        await refusal(found, "Expired")
        assert found.serves is None


async def test_a_clock_that_is_set_right_ends_a_wrong_expiry(tmp_path: Path, publish: Publish) -> None:
    first = with_signature(statement("1", publish=publish))
    clock = FixedClock(NOW + timedelta(days=400))
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        found.hear(Releases().next(first))
        message = await refusal(found, "Expired")
        assert "or set the node's clock" in message
        clock.time = NOW
        await found.settles(first)


async def test_a_clock_before_all_that_was_signed_does_not_hide_an_expiry(
    tmp_path: Path, publish: Publish
) -> None:
    new = with_signature(statement("2", publish=publish), sequence=2, issued=NOW)
    old = with_signature(
        statement("1", publish=publish),
        sequence=3,
        issued=NOW - timedelta(days=9),
        expires=NOW - timedelta(days=1),
    )
    releases, clock = Releases(), FixedClock(NOW.replace(year=1970))
    async with node(tmp_path, roots=ROOTS, clock=clock) as found:
        found.hear(releases.next(new))
        await found.settles(new)
        found.hear(releases.next(old))
        message = await refusal(found, "Expired")
    assert "it is 2026-05-01T12:00:00Z here" in message


async def test_files_swapped_in_the_release_after_the_precheck_are_not_installed(
    tmp_path: Path, publish: Publish, server: FileServer
) -> None:
    stated = statement("1", publish=publish)
    first, releases = with_signature(stated), Releases()
    evil = statement("1", publish=publish, files={"model.onnx": b"evil" * 100}).variants
    swapped = first.model_copy(update={"variants": evil})
    path = "/1/model.onnx"
    server.files.clear()
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(releases.next(first))
        await until(lambda: found.record.outcome.reason == "FileMissing")
        server.put(path, b"evil" * 100)
        found.hear(releases.next(swapped))
        await refusal(found, "StatementMismatch")
        assert not found.home.is_installed(first.revision)
        assert found.serves is None


async def test_what_was_half_installed_before_there_were_trust_roots_is_checked_before_it_runs(
    tmp_path: Path, publish: Publish
) -> None:
    first = statement("1", publish=publish)
    hold = MemoryProber(holds=asyncio.Event())
    release = Releases().next(first)
    async with node(tmp_path, prober=hold) as found:
        found.hear(release)
        await found.reaches(State.PROBE)
        await until(lambda: hold.probed)
    prober = MemoryProber()
    async with node(tmp_path, roots=ROOTS, prober=prober) as found:
        found.hear(release)
        await refusal(found, "Unsigned")
    assert prober.probed == []


async def test_what_was_ready_to_switch_before_there_were_trust_roots_is_checked_first(
    tmp_path: Path, publish: Publish
) -> None:
    first = statement("1", publish=publish)
    releases = Releases(health=Releases().health.model_copy(update={"soak_seconds": 3600}))
    release = releases.next(first)
    async with node(tmp_path) as found:
        found.hear(release)
        await found.reaches(State.HEALTH)
    async with node(tmp_path, roots=ROOTS) as found:
        found.hear(release)
        await refusal(found, "Unsigned")
        assert found.serves is None
        assert found.record.rejected == ()


class TestKeys:
    """Rotation and thresholds."""

    @pytest.mark.parametrize("signer", [CI, OLD], ids=["new", "old"])
    async def test_while_keys_rotate_either_is_enough(
        self, tmp_path: Path, publish: Publish, signer: object
    ) -> None:
        assert signer in (CI, OLD)
        first = with_signature(statement("1", publish=publish), CI if signer is CI else OLD)
        async with node(tmp_path, roots=roots(CI, OLD)) as found:
            found.hear(Releases().next(first))
            await found.settles(first)

    async def test_a_retired_key_counts_no_more_and_what_it_let_in_goes_on(
        self, tmp_path: Path, publish: Publish
    ) -> None:
        first = with_signature(statement("1", publish=publish), OLD)
        releases = Releases()
        async with node(tmp_path, roots=roots(CI, OLD)) as found:
            found.hear(releases.next(first))
            await found.settles(first)
        async with node(tmp_path, roots=roots(CI)) as found:
            await until(lambda: found.serves == first.revision)
            found.hear(releases.next(first, everywhere(with_signature(statement("2"), OLD, sequence=2))))
            await refusal(found, "UnknownKey")
            assert found.serves == first.revision

    async def test_a_second_signature_reaches_the_threshold(self, tmp_path: Path, publish: Publish) -> None:
        stated, releases = statement("1", publish=publish), Releases()
        async with node(tmp_path, roots=roots(CI, OLD, threshold=2)) as found:
            found.hear(releases.next(with_signature(stated, CI)))
            message = await refusal(found, "ThresholdNotMet")
            assert "signed by 1 of the trusted keys" in message
            found.hear(releases.next(with_signature(stated, CI, CI)))
            await refusal(found, "ThresholdNotMet")
            both = with_signature(stated, CI, OLD)
            found.hear(releases.next(both))
            await found.settles(both)
