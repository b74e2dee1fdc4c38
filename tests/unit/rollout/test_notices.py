"""What a webhook is told, derived from a Rollout's status alone."""

from datetime import UTC, datetime, timedelta

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.api.notice import NoticeType
from edgecanary.api.rollout import Rollout
from edgecanary.rollout.notices import KEPT_IDS, Notice, notices, untold, with_notified

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
GOOD, BAD = "a" * 64, "b" * 64


def at(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def ended(outcome: str, *, minutes: float, revision: str = GOOD, attempt: int = 1) -> JsonObject:
    return {
        "revision": revision,
        "version": "1.0.0" if revision == GOOD else "2.0.0",
        "outcome": outcome,
        "reason": {"RolledBack": "AnalysisFailed"}.get(outcome, outcome),
        "attempt": attempt,
        "startTime": at(minutes - 30),
        "endTime": at(minutes),
    }


def waiting(
    reason: str, *, minutes: float = 0.0, approved: float | None = None, attempt: int = 1
) -> JsonObject:
    step: JsonObject = {"index": 1, "name": "quarter", "startTime": at(-60)}
    if approved is not None:
        step["approvedTime"] = at(approved)
    condition: JsonObject = {
        "type": "Ready",
        "status": "Unknown",
        "reason": reason,
        "message": f"it is {reason}",
        "lastTransitionTime": at(minutes),
    }
    return {
        "waiting": {"reason": reason, "since": at(minutes), "endsWith": "something"},
        "conditions": [condition],
        "canary": {"revision": BAD, "version": "2.0.0"},
        "attempt": attempt,
        "step": step,
        "nodes": {"targeted": 12, "updated": 3},
    }


def rollout(status: JsonObject, *, uid: str = "uid-1") -> Rollout:
    return Rollout.model_validate(
        {
            "metadata": {"name": "pump", "namespace": "plant", "uid": uid},
            "spec": {
                "modelRef": {"name": "pump-anomaly"},
                "strategy": {"steps": [{"name": "all", "percent": 100}]},
            },
            "status": {"stable": {"revision": GOOD, "version": "1.0.0"}, **status},
        }
    )


def only(found: tuple[Notice, ...]) -> Notice:
    (notice,) = found
    return notice


def test_a_promotion_is_told_with_what_was_promoted_and_when() -> None:
    notice = only(notices(rollout({"history": [ended("Promoted", minutes=5)]})))
    assert (notice.type, notice.time) == (NoticeType.PROMOTED, START + timedelta(minutes=5))
    assert notice.data.to_json() == {
        "namespace": "plant",
        "name": "pump",
        "uid": "uid-1",
        "model": "pump-anomaly",
        "reason": "Promoted",
        "message": "1.0.0 is stable now",
        "revision": {"revision": GOOD, "version": "1.0.0"},
        "stable": {"revision": GOOD, "version": "1.0.0"},
        "attempt": 1,
        "startTime": "2026-01-05T11:35:00Z",
    }


@pytest.mark.parametrize("outcome", ["RolledBack", "Aborted"])
def test_a_rollback_is_told_with_what_the_verdict_rested_on(outcome: str) -> None:
    why: JsonObject = {
        "revision": BAD,
        "version": "2.0.0",
        "reason": "AnalysisFailed",
        "message": "errors: 0.05 is above 0.02",
        "time": at(5),
        "attempt": 1,
    }
    told = only(notices(rollout({"history": [ended(outcome, minutes=5, revision=BAD)], "rejected": [why]})))
    assert told.type is NoticeType.ROLLED_BACK
    assert told.data.message == "errors: 0.05 is above 0.02"


@pytest.mark.parametrize("outcome", ["Superseded", "Withdrawn", "Adopted"])
def test_other_ends_are_nobodys_business(outcome: str) -> None:
    assert notices(rollout({"history": [ended(outcome, minutes=5)]})) == ()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("AwaitingApproval", NoticeType.APPROVAL_NEEDED),
        ("AwaitingRollback", NoticeType.PAUSED),
        ("DeadlineExceeded", NoticeType.PAUSED),
        ("Paused", NoticeType.PAUSED),
        ("InvalidSpec", NoticeType.STALLED),
        ("ModelInvalid", NoticeType.STALLED),
        ("ModelConflict", NoticeType.STALLED),
        ("StableLost", NoticeType.STALLED),
    ],
)
def test_what_waits_for_a_person_is_told_with_where_it_stands(reason: str, kind: NoticeType) -> None:
    notice = only(notices(rollout(waiting(reason))))
    assert notice.type is kind
    assert (notice.data.reason, notice.data.message) == (reason, f"it is {reason}")
    assert notice.data.step is not None
    assert notice.data.step.name == "quarter"
    assert notice.data.nodes is not None
    assert notice.data.nodes.targeted == 12


@pytest.mark.parametrize(
    "reason", ["Baking", "NodesUpdating", "AnalysisInconclusive", "RolledBack", "ModelPending"]
)
def test_what_goes_on_by_itself_or_was_told_otherwise_is_not_told(reason: str) -> None:
    assert notices(rollout(waiting(reason))) == ()


def test_the_same_happening_has_the_same_id_and_another_has_another() -> None:
    def promoted(minutes: float, *, attempt: int = 1, uid: str = "uid-1") -> str:
        history: JsonObject = {"history": [ended("Promoted", minutes=minutes, attempt=attempt)]}
        return only(notices(rollout(history, uid=uid))).id

    assert promoted(5) == promoted(5)
    assert len({promoted(5), promoted(6), promoted(5, attempt=2), promoted(5, uid="uid-2")}) == 4


def test_a_step_that_needs_approval_again_after_a_gate_lacked_data_is_told_once() -> None:
    first, again = waiting("AwaitingApproval", minutes=0), waiting("AwaitingApproval", minutes=9)
    assert only(notices(rollout(first))).id == only(notices(rollout(again))).id


def test_a_deadline_that_passes_again_after_it_was_lengthened_is_told_again() -> None:
    first, again = waiting("DeadlineExceeded"), waiting("DeadlineExceeded", minutes=90, approved=10)
    assert only(notices(rollout(first))).id != only(notices(rollout(again))).id


def test_each_pause_is_one_of_its_own() -> None:
    first, again = waiting("Paused", minutes=0), waiting("Paused", minutes=9)
    assert only(notices(rollout(first))).id != only(notices(rollout(again))).id


def test_the_oldest_is_told_first() -> None:
    status: JsonObject = {
        "history": [ended("Promoted", minutes=1), ended("RolledBack", minutes=3, revision=BAD)],
        **waiting("Paused", minutes=2),
    }
    assert [notice.type for notice in notices(rollout(status))] == [
        NoticeType.PROMOTED,
        NoticeType.PAUSED,
        NoticeType.ROLLED_BACK,
    ]


class TestWhatWasTold:
    def test_nothing_is_told_before_the_status_says_from_when_on(self) -> None:
        assert untold(rollout({"history": [ended("Promoted", minutes=5)]})) == ()

    def test_what_was_before_the_webhook_counts_as_told_and_what_comes_does_not(self) -> None:
        old: JsonObject = {"history": [ended("Promoted", minutes=1)]}
        new = rollout(
            {"history": [ended("Promoted", minutes=1), ended("RolledBack", minutes=5, revision=BAD)]}
        )
        status = with_notified(rollout(old), new.status, ())
        following = new.model_copy(update={"status": status})
        assert [notice.type for notice in untold(following)] == [NoticeType.ROLLED_BACK]

    def test_what_was_told_is_told_no_more(self) -> None:
        first = rollout({"history": [ended("Promoted", minutes=1)], "notified": []})
        told = only(untold(first)).id
        assert untold(first, {told}) == ()
        status = with_notified(first, first.status, {told})
        assert status.notified == (told,)
        assert untold(first.model_copy(update={"status": status})) == ()

    def test_what_could_still_be_told_twice_is_never_forgotten(self) -> None:
        found = rollout({"history": [ended("Promoted", minutes=1)], "notified": []})
        told = only(untold(found)).id
        status = with_notified(found, found.status, {told})
        for number in range(2 * KEPT_IDS):
            before = found.model_copy(update={"status": status})
            status = with_notified(before, found.status, {f"{number:032x}"})
        assert status.notified is not None
        assert len(status.notified) == KEPT_IDS
        assert told in status.notified
        assert f"{2 * KEPT_IDS - 1:032x}" in status.notified
