"""What Argo CD and Flux have to show of each state; the guides' tables are held to it."""

from dataclasses import dataclass

from tests.unit.gitops.kstatus import Kstatus

PROMOTE = frozenset({"promote", "promote-full", "abort", "pause"})


@dataclass(frozen=True)
class Shown:
    """Argo CD's health, kstatus, and the actions that can be chosen."""

    argo: str
    flux: Kstatus
    actions: frozenset[str] = frozenset({"pause"})


_HEALTHY = Shown("Healthy", Kstatus.CURRENT)
_STEP = Shown("Progressing", Kstatus.IN_PROGRESS, PROMOTE)
_ASKS = Shown("Suspended", Kstatus.IN_PROGRESS, PROMOTE)
_STUCK = Shown("Degraded", Kstatus.FAILED)

ROLLOUTS = {
    "Promoted": _HEALTHY,
    "StragglersPending": _HEALTHY,
    "NodesUpdating": _STEP,
    "NodesOffline": _STEP,
    "Baking": _STEP,
    "Progressing": _STEP,
    "ModelPending": Shown("Progressing", Kstatus.IN_PROGRESS),
    "AwaitingApproval": _ASKS,
    "AnalysisInconclusive": _ASKS,
    "DeadlineExceeded": _ASKS,
    "AwaitingRollback": Shown(
        "Suspended", Kstatus.IN_PROGRESS, frozenset({"promote-full", "abort", "pause"})
    ),
    "Paused": Shown("Suspended", Kstatus.IN_PROGRESS, frozenset({"abort", "resume"})),
    "NoMatchingNodes": Shown("Suspended", Kstatus.IN_PROGRESS),
    "RolledBack": Shown("Degraded", Kstatus.FAILED, frozenset({"retry", "pause"})),
    "ModelNotFound": _STUCK,
    "ModelInvalid": _STUCK,
    "ModelConflict": _STUCK,
    "StableLost": Shown("Degraded", Kstatus.FAILED, frozenset({"abort", "pause"})),
    "TooManyStrata": _STUCK,
    "InvalidSpec": _STUCK,
}
"""By the reason of a Rollout's Ready condition, in the situations of tests/unit/rollout/semantics/test_status.py."""

MODELS = {
    "True": Shown("Healthy", Kstatus.CURRENT),
    "Unknown": Shown("Progressing", Kstatus.IN_PROGRESS),
    "False": Shown("Degraded", Kstatus.IN_PROGRESS),
    "False, Stalled": Shown("Degraded", Kstatus.FAILED),
}
"""By what an EdgeModel's conditions say, as in the table of docs/guides/models.md."""
