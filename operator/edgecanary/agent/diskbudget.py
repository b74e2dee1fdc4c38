"""What a node may spend of its disk, and whether a revision fits into it beside what has to stay."""

from dataclasses import dataclass

from edgecanary.agent.record import Target, Verdict
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.quantities import human_bytes


@dataclass(frozen=True)
class DiskBudget:
    """What a node may spend of its disk."""

    margin_bytes: int = 64 * 2**20
    """What must stay free on the disk after an installation."""
    limit_bytes: int | None = None
    """The most that the data directory may take; None: what the disk has."""


def shortage(store: Store, target: Target, needed: int, budget: DiskBudget) -> Verdict | None:
    """Why the node has no room for the target, which brings `needed` new bytes; None when it has.

    Active and previous revisions of all models stay, so what they take is not counted as room. Raises OSError.
    """
    return _free_space(store, target, needed, budget) or _disk_budget(store, target, needed, budget)


def has_room(store: Store, needed: int, budget: DiskBudget) -> bool:
    """Whether so many more bytes fit for a while. Raises OSError."""
    if needed + budget.margin_bytes > store.free_bytes():
        return False
    return budget.limit_bytes is None or store.used_bytes() + needed <= budget.limit_bytes


def _free_space(store: Store, target: Target, needed: int, budget: DiskBudget) -> Verdict | None:
    free, margin = store.free_bytes(), budget.margin_bytes
    if needed + margin <= free:
        return None
    return _verdict(
        "DiskTooSmall",
        f"{target.statement.version} needs {human_bytes(needed)} and {human_bytes(margin)} must stay free "
        f"(--disk-margin), but only {human_bytes(free)} are free in {store.root}; make room there",
    )


def _disk_budget(store: Store, target: Target, needed: int, budget: DiskBudget) -> Verdict | None:
    if budget.limit_bytes is None:
        return None
    used = store.used_bytes()
    if used + needed <= budget.limit_bytes:
        return None
    return _verdict(
        "DiskBudgetExceeded",
        f"{target.statement.version} needs {human_bytes(needed)} and {store.root} takes {human_bytes(used)} with what "
        f"is active and previous, together more than --disk-budget allows ({human_bytes(budget.limit_bytes)}); raise "
        "it, or withdraw a model from this node",
    )


def _verdict(reason: str, message: str) -> Verdict:
    return Verdict(result=ModelResult.PRECHECK_FAILED, reason=reason, message=message)
