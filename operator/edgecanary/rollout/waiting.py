"""What a rollout waits for, since when, and what ends it: `status.waiting`."""

from collections.abc import Mapping
from datetime import datetime

from edgecanary.api.rollout_status import StepStatus, Waiting
from edgecanary.rollout.conditions import Situation

ENDS_WITH: Mapping[str, str] = {
    "AnalysisInconclusive": "a verdict of the gates, or the step's deadline",
    "AwaitingApproval": "edgecanary.dev/promote, or the step's deadline",
    "AwaitingRollback": "edgecanary.dev/abort takes it back; a full promotion goes on all the same",
    "Baking": "time: the end of the bake; edgecanary.dev/promote ends it now",
    "DeadlineExceeded": "edgecanary.dev/promote gives the step the same time again; edgecanary.dev/abort takes it back",
    "InvalidSpec": "another spec of the Rollout",
    "ModelConflict": "the other Rollout being deleted or naming another EdgeModel, or another spec.modelRef here",
    "ModelInvalid": "another spec of the EdgeModel",
    "ModelNotFound": "the EdgeModel being created, or another spec.modelRef",
    "ModelPending": "the end of the EdgeModel's check",
    "NoMatchingNodes": "nodes that spec.nodeSelector matches and a variant fits, or another spec",
    "NodesOffline": "one of the step's nodes coming online, or the step's deadline",
    "NodesUpdating": "the quorum of the step's online nodes running the revision, or the step's deadline",
    "Paused": "spec.paused set to false",
    "Progressing": "the next plan: at once",
    "RolledBack": "another revision in the EdgeModel, or edgecanary.dev/retry",
    "StableLost": "the EdgeModel set back to the stable version, and forward again afterwards",
    "StragglersPending": "the nodes that are missing coming online and taking the revision",
    "TooManyStrata": "another spec.strategy.stratifyBy, or other labels on the nodes",
}
"""What ends the waiting, by the Ready condition's reason. `Promoted` waits for nothing."""

_NOTHING = frozenset({"Promoted"})


def waiting(
    before: Waiting | None,
    situation: Situation,
    *,
    steps: tuple[StepStatus | None, StepStatus | None],
    now: datetime,
) -> Waiting | None:
    """What is waited for now. `since` stays while reason and step (before and now) stay the same."""
    if situation.reason in _NOTHING:
        return None
    old, new = ((step.start_time if step else None) for step in steps)
    same = before is not None and before.reason == situation.reason and old == new
    return Waiting(
        reason=situation.reason,
        since=before.since if before is not None and same else now,
        until=situation.until,
        ends_with=ENDS_WITH.get(situation.reason, "another spec of the Rollout"),
    )
