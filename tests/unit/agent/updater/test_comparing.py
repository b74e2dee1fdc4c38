"""Which revision sees a share of another's inputs, and with what memory."""

from pathlib import Path

from edgecanary.agent.memory import Claim, MemoryBudget
from edgecanary.agent.ports import ModelKey
from edgecanary.api.modelrelease import RevisionStatement
from tests.unit.agent.nodeplay import node, quiet, running
from tests.unit.agent.releasing import everywhere, rejected, until

PUMP, FAN = ModelKey("plant", "pump"), ModelKey("plant", "fan")


async def test_a_new_revision_is_compared_with_the_one_before_and_again_after_a_restart(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        assert edge.server.compared == []
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        assert edge.server.compared == [a.version]

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == b.revision)
        await quiet()
        assert edge.server.compared == [a.version]


async def test_a_revision_that_was_taken_back_sees_no_inputs(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        edge.hear(releases.next(stable=a, taken_back=(rejected(b),)))
        await edge.settles(a)
        assert edge.server.compared == [a.version]

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        await quiet()
        assert edge.server.compared == []


def claim(key: ModelKey, count: int, revision: str = "a", priority: int = 0) -> Claim:
    return Claim(key, revision, priority, count)


async def test_memory_for_comparisons_is_given_back_as_soon_as_a_model_needs_it() -> None:
    budget = MemoryBudget(100)
    ended: list[str] = []

    async def no_eviction(key: ModelKey, why: str) -> None:
        raise AssertionError(f"{key} was unloaded: {why}")

    await budget.admit(claim(PUMP, 40), no_eviction)
    assert budget.lend(claim(PUMP, 40, "b"), lambda: ended.append("pump"))
    assert not budget.lend(claim(FAN, 21), lambda: None)
    await budget.admit(claim(FAN, 20), no_eviction)
    assert ended == []
    await budget.admit(claim(FAN, 30, "b"), no_eviction)
    assert ended == ["pump"]


async def test_without_a_budget_memory_is_lent_freely_and_a_switch_ends_the_loan() -> None:
    assert MemoryBudget().lend(claim(PUMP, 2**60), lambda: None)
    budget = MemoryBudget(100)
    assert budget.lend(claim(PUMP, 100), lambda: None)
    budget.keep(PUMP, "b")
    assert budget.lend(claim(FAN, 100), lambda: None)
