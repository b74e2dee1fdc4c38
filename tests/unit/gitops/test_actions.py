"""Argo CD's actions on a Rollout: which are offered when, what they change, and that the planner carries them out."""

from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import ActionTokens
from tests.unit.gitops.argo_lua import ArgoCD, ScriptError, merge_patch
from tests.unit.gitops.expectations import ROLLOUTS
from tests.unit.gitops.objects import rollout_in, served, stage_in, staged
from tests.unit.rollout.fleet_play import Stage

ARGO = ArgoCD()
NAMES = {"promote", "promote-full", "abort", "retry", "pause", "resume"}
BY_TOKEN = {"promote": "promote", "promote-full": "promote", "abort": "abort", "retry": "retry"}
CHOICES = [(reason, action) for reason, shown in ROLLOUTS.items() for action in sorted(shown.actions)]
REFUSALS = [
    (reason, action)
    for reason, shown in ROLLOUTS.items()
    for action in sorted(NAMES - shown.actions - {"abort"})
]


def token(patch: JsonObject, action: str) -> str:
    """The token that the patch sets, and nothing else."""
    (metadata,) = patch.values()
    annotations = cast("JsonObject", cast("JsonObject", metadata)["annotations"])
    (value,) = annotations.values()
    assert annotations.keys() == {f"edgecanary.dev/{BY_TOKEN[action]}"}
    return str(value)


def with_annotation(stage: Stage, action: str, value: str) -> Stage:
    stage.events.clear()
    stage.annotate(BY_TOKEN[action], value)
    return stage


def handled(stage: Stage, action: str) -> str | None:
    tokens: ActionTokens = stage.status.actions
    return {"promote": tokens.promote, "abort": tokens.abort, "retry": tokens.retry}[BY_TOKEN[action]]


@pytest.mark.parametrize("reason", ROLLOUTS)
def test_the_actions_of_each_state_are_those_that_would_act(reason: str) -> None:
    obj = rollout_in(reason)
    assert ARGO.actions(obj).keys() == NAMES
    assert ARGO.enabled(obj) == ROLLOUTS[reason].actions


@pytest.mark.parametrize(("reason", "action"), [pair for pair in CHOICES if pair[1] in BY_TOKEN])
def test_the_planner_carries_out_what_is_offered(reason: str, action: str) -> None:
    stage = stage_in(reason)
    value = token(ARGO.act(staged(stage), action), action)
    before = stage.status
    with_annotation(stage, action, value)
    stage.reconcile()
    assert handled(stage, action) == value, "the token is used up at once"
    assert not [event for event in stage.events if event.startswith("NothingTo")]
    assert (stage.status.step, stage.status.canary, stage.status.rejected) != (
        before.step,
        before.canary,
        before.rejected,
    )


@pytest.mark.parametrize(("reason", "action"), [pair for pair in CHOICES if pair[1] not in BY_TOKEN])
def test_pause_and_resume_change_the_spec_alone(reason: str, action: str) -> None:
    patch = ARGO.act(rollout_in(reason), action)
    assert patch == {"spec": {"paused": action == "pause"}}


@pytest.mark.parametrize(("reason", "action"), REFUSALS)
def test_an_action_that_would_not_act_says_why(reason: str, action: str) -> None:
    with pytest.raises(ScriptError, match=rf"^{action}: .{{10,}}"):
        ARGO.act(rollout_in(reason), action)


def test_pausing_holds_the_rollout_and_resuming_lets_it_go_on() -> None:
    stage = stage_in("Baking")
    for action, reason in (("pause", "Paused"), ("resume", "Baking")):
        patch = ARGO.act(staged(stage), action)
        spec = cast("JsonObject", stage.rollout.to_json()["spec"])
        edited = {**spec, **cast("JsonObject", patch["spec"])}
        stage.edit(Rollout.model_validate({**stage.rollout.to_json(), "spec": edited}))
        stage.reconcile()
        assert stage.reason == reason


def test_every_token_is_new() -> None:
    """Same second, another version of the object: another token. Same version, another second: another one too."""
    obj = rollout_in("AwaitingApproval")
    later = {**obj, "metadata": {**cast("JsonObject", obj["metadata"]), "resourceVersion": "1043"}}
    at_ten, at_eleven = ArgoCD(now=10), ArgoCD(now=11)
    tokens = [
        token(argo.act(body, "promote"), "promote") for argo in (at_ten, at_eleven) for body in (obj, later)
    ]
    assert tokens[0] == "argocd-19700101T000010Z-1042"
    assert len(set(tokens)) == 4


def test_two_clicks_on_one_view_are_one_action() -> None:
    obj = rollout_in("AwaitingApproval")
    assert ArgoCD(now=10).act(obj, "promote") == ArgoCD(now=10).act(obj, "promote")


def test_a_token_of_before_is_replaced_and_other_annotations_stay() -> None:
    obj = rollout_in("AwaitingApproval")
    noted = {"edgecanary.dev/promote": "monday", "example.com/owner": "line-3"}
    obj["metadata"] = {**cast("JsonObject", obj["metadata"]), **cast("JsonObject", {"annotations": noted})}
    assert token(ArgoCD(now=10).act(obj, "promote"), "promote").startswith("argocd-")


def test_only_a_full_promotion_skips_the_gates() -> None:
    obj = rollout_in("AwaitingApproval")
    assert token(ARGO.act(obj, "promote-full"), "promote-full").startswith("full-argocd-")
    assert not token(ARGO.act(obj, "promote"), "promote").startswith("full")


def test_an_abort_is_never_refused() -> None:
    """The status may lag behind what is rolling: an abort that finds nothing does nothing."""
    for reason in ROLLOUTS:
        assert token(ARGO.act(rollout_in(reason), "abort"), "abort")
    new = served(stage_in("Baking").rollout.model_copy(update={"status": stage_in("Promoted").status}))
    changed = {**new, "metadata": {**cast("JsonObject", new["metadata"]), "generation": 9}}
    assert "abort" in ARGO.enabled(changed)
    assert not ARGO.enabled(changed) & {"promote", "promote-full", "retry"}


def test_a_status_that_lags_behind_offers_no_promotion() -> None:
    obj = rollout_in("AwaitingApproval")
    changed = {**obj, "metadata": {**cast("JsonObject", obj["metadata"]), "generation": 9}}
    assert ARGO.enabled(changed) == {"abort", "pause"}
    with pytest.raises(ScriptError, match="promote: the operator has not taken in the current spec yet"):
        ARGO.act(changed, "promote")


def declared_by(obj: JsonObject, fields: JsonObject, operation: str = "Apply") -> JsonObject:
    """The object as the server gives it when Git declares the fields."""
    entry = {"manager": "argocd-controller", "operation": operation, "fieldsV1": fields}
    metadata = {**cast("JsonObject", obj["metadata"]), **cast("JsonObject", {"managedFields": [entry]})}
    return {**obj, "metadata": metadata}


TOKEN_IN_GIT: JsonObject = {"f:metadata": {"f:annotations": {"f:edgecanary.dev/promote": {}}}}


def test_an_action_whose_token_is_in_git_is_refused() -> None:
    """The next sync would set Git's token again: a new token for the operator, which would promote the next step."""
    obj = declared_by(rollout_in("AwaitingApproval"), TOKEN_IN_GIT)
    assert ARGO.enabled(obj) == {"abort", "pause"}
    with pytest.raises(ScriptError, match=r"edgecanary\.dev/promote is set in Git; set another token there"):
        ARGO.act(obj, "promote")
    by_hand = declared_by(rollout_in("AwaitingApproval"), TOKEN_IN_GIT, operation="Update")
    assert "promote" in ARGO.enabled(by_hand)


def test_a_pause_that_a_sync_would_take_back_says_so() -> None:
    obj = declared_by(rollout_in("Baking"), {"f:spec": {"f:paused": {}}})
    assert ARGO.actions(obj)["pause"]["displayName"] == "Pause (set in Git: a sync takes it back)"
    assert ARGO.actions(rollout_in("Baking"))["pause"]["displayName"] == "Pause"


@pytest.mark.parametrize("gone", ["os", "io", "string", "math", "debug", "coroutine", "dofile", "loadfile"])
def test_the_scripts_run_without_what_argo_cd_closes(gone: str) -> None:
    argo = ArgoCD({"resource.customizations.health.edgecanary.dev_Rollout": f"return {gone}.x"})
    with pytest.raises(ScriptError, match=gone):
        argo.health(rollout_in("Promoted"))


def test_strings_have_no_methods_there() -> None:
    argo = ArgoCD({"resource.customizations.health.edgecanary.dev_Rollout": 'return ("x"):len()'})
    with pytest.raises(ScriptError, match="index"):
        argo.health(rollout_in("Promoted"))


def test_a_merge_patch_turns_one_object_into_the_other() -> None:
    before: JsonObject = {"a": {"b": 1, "c": [1]}, "d": 1, "e": {}}
    after: JsonObject = {"a": {"b": 1, "c": [1, 2]}, "e": {"f": None}, "g": {}}
    assert merge_patch(before, after) == {"a": {"c": [1, 2]}, "d": None, "e": {"f": None}, "g": {}}
    assert merge_patch(before, before) == {}
