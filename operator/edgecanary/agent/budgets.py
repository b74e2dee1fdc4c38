"""What a node may spend on models, and whether a revision fits into it beside what has to stay."""

from collections.abc import Iterable
from dataclasses import dataclass

from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record, Target, Verdict
from edgecanary.agent.store import Store
from edgecanary.api.artifacts import Variant
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.quantities import human_bytes, parse_bytes


@dataclass(frozen=True)
class Budgets:
    """What a node may spend. None: what there is."""

    disk_margin_bytes: int
    """What must stay free on the disk after an installation."""
    disk_bytes: int | None = None
    """The most that the data directory may take."""
    memory_bytes: int | None = None
    """The most that all served models together may take at their peaks."""


def shortage(store: Store, target: Target, needed: int, budgets: Budgets) -> Verdict | None:
    """Why the node has no room for the target, which brings `needed` new bytes; None when it has.

    Active and previous revisions of all models stay, so what they take is not counted as room. Raises OSError.
    """
    return (
        _free_space(store, target, needed, budgets)
        or _disk_budget(store, target, needed, budgets)
        or _memory_budget(store, target, budgets)
    )


def _free_space(store: Store, target: Target, needed: int, budgets: Budgets) -> Verdict | None:
    free, margin = store.free_bytes(), budgets.disk_margin_bytes
    if needed + margin <= free:
        return None
    return _verdict(
        "DiskTooSmall",
        f"{target.statement.version} needs {human_bytes(needed)} and {human_bytes(margin)} must stay free "
        f"(--disk-margin), but only {human_bytes(free)} are free in {store.root}; make room there",
    )


def _disk_budget(store: Store, target: Target, needed: int, budgets: Budgets) -> Verdict | None:
    if budgets.disk_bytes is None:
        return None
    used = store.used_bytes()
    if used + needed <= budgets.disk_bytes:
        return None
    return _verdict(
        "DiskBudgetExceeded",
        f"{target.statement.version} needs {human_bytes(needed)} and {store.root} takes {human_bytes(used)} with what "
        f"is active and previous, together more than --disk-budget allows ({human_bytes(budgets.disk_bytes)}); raise "
        "it, or withdraw a model from this node",
    )


def _memory_budget(store: Store, target: Target, budgets: Budgets) -> Verdict | None:
    """While a switch lasts, the new and the active revision of a model are both loaded."""
    needed = _declared(target.variant)
    if budgets.memory_bytes is None or not needed or not target.statement.serve:
        return None
    records = [store.load(key) for key in store.models()]
    taken = sum(_peak(store.files_of(record.key), record) for record in records)
    if taken + needed <= budgets.memory_bytes:
        return None
    return _verdict(
        "MemoryBudgetExceeded",
        f"{target.statement.version} may take {human_bytes(needed)} (budget.peakMemory) and what is served here takes "
        f"{human_bytes(taken)} at its peaks ({_names(records)}), together more than --memory-budget allows "
        f"({human_bytes(budgets.memory_bytes)}); raise it, or withdraw a model from this node",
    )


def _peak(home: ModelFiles, record: Record) -> int:
    """Bytes that the active revision takes at its peak: as declared, else as its probe measured them."""
    if record.active is None:
        return 0
    try:
        installed = home.installed(record.active)
    except StoreFailure:
        return 0
    if not installed.serve:
        return 0
    probe = record.outcome.probe if record.outcome.desired == record.active else None
    return _declared(installed.variant) or (probe.peak_memory_bytes if probe else 0)


def _declared(variant: Variant) -> int:
    budget = variant.budget
    if budget is None or budget.peak_memory is None:
        return 0
    return parse_bytes(budget.peak_memory, field="budget.peakMemory")


def _names(records: Iterable[Record]) -> str:
    keys: list[ModelKey] = [record.key for record in records if record.active]
    return ", ".join(str(key) for key in keys) or "nothing"


def _verdict(reason: str, message: str) -> Verdict:
    return Verdict(result=ModelResult.PRECHECK_FAILED, reason=reason, message=message)
