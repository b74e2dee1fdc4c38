"""How a share of the fleet is spread over strata, and the bounds that yield it."""

from hypothesis import given
from hypothesis import strategies as st

from edgecanary.rollout.cohort import (
    Share,
    Strata,
    Stratum,
    cutoffs,
    quotas,
    stratum_of,
    to_bounds,
    to_cutoffs,
)
from edgecanary.rollout.rank import RANK_SPACE, rank

SIZES = st.dictionaries(
    st.tuples(st.text("abc", min_size=1, max_size=3)), st.integers(1, 60), min_size=1, max_size=6
)


def members(sizes: dict[Stratum, int]) -> dict[Stratum, list[str]]:
    return {stratum: [f"{stratum[0]}-{i}" for i in range(size)] for stratum, size in sizes.items()}


def covered(
    sizes: dict[Stratum, int], bounds: dict[Stratum, int], salt: str = "s"
) -> dict[Stratum, set[str]]:
    return {s: {n for n in names if rank(salt, n) < bounds.get(s, 0)} for s, names in members(sizes).items()}


def test_a_stratum_is_the_tuple_of_label_values_with_missing_ones_empty() -> None:
    assert stratum_of({"hardware": "vnni", "site": "b1"}, ("site", "hardware", "zone")) == ("b1", "vnni", "")


def test_without_keys_the_whole_fleet_is_one_stratum() -> None:
    assert stratum_of({"hardware": "vnni"}, ()) == ()


@given(SIZES, st.integers(1, 100))
def test_percent_gives_every_stratum_at_least_one_node_and_never_more_than_it_has(
    sizes: dict[Stratum, int], percent: int
) -> None:
    given_ = quotas(sizes, Share(percent=percent))
    assert all(1 <= given_[stratum] <= size for stratum, size in sizes.items())


@given(SIZES, st.integers(1, 100))
def test_percent_is_met_to_within_the_one_node_minimum(sizes: dict[Stratum, int], percent: int) -> None:
    total, given_ = sum(sizes.values()), sum(quotas(sizes, Share(percent=percent)).values())
    exact = total * percent / 100
    assert abs(given_ - max(exact, len(sizes))) <= max(0.5, len(sizes) - min(exact, len(sizes)))


@given(SIZES, st.integers(1, 400))
def test_nodes_is_exact_in_all(sizes: dict[Stratum, int], nodes: int) -> None:
    assert sum(quotas(sizes, Share(nodes=nodes)).values()) == min(nodes, sum(sizes.values()))


@given(SIZES, st.integers(1, 400))
def test_nodes_reach_every_stratum_while_they_suffice(sizes: dict[Stratum, int], nodes: int) -> None:
    given_ = quotas(sizes, Share(nodes=nodes))
    assert all(count <= sizes[stratum] for stratum, count in given_.items())
    if nodes >= len(sizes):
        assert all(count >= 1 for count in given_.values())


def test_the_largest_strata_come_first_when_nodes_do_not_suffice() -> None:
    assert quotas({("small",): 2, ("large",): 9, ("mid",): 5}, Share(nodes=2)) == {
        ("large",): 1,
        ("mid",): 1,
        ("small",): 0,
    }


def test_percent_follows_the_sizes_of_the_strata() -> None:
    assert quotas({("a",): 60, ("b",): 30, ("c",): 10}, Share(percent=50)) == {
        ("a",): 30,
        ("b",): 15,
        ("c",): 5,
    }


@given(SIZES, st.integers(1, 100))
def test_bounds_cover_just_the_quota(sizes: dict[Stratum, int], percent: int) -> None:
    bounds = cutoffs(members(sizes), Share(percent=percent), salt="s", current={})
    wanted = quotas(sizes, Share(percent=percent))
    assert {s: len(names) for s, names in covered(sizes, bounds).items()} == wanted


@given(SIZES, st.lists(st.integers(1, 100), min_size=2, max_size=5))
def test_bounds_only_grow_whatever_the_shares(sizes: dict[Stratum, int], percents: list[int]) -> None:
    bounds: dict[Stratum, int] = {}
    for percent in percents:
        grown = cutoffs(members(sizes), Share(percent=percent), salt="s", current=bounds)
        assert all(grown[s] >= bound for s, bound in bounds.items())
        bounds = grown


COVERED = st.dictionaries(
    st.tuples(st.text("abc", min_size=1, max_size=3)), st.integers(0, 60), min_size=0, max_size=6
)
SHARES = st.one_of(
    st.integers(1, 100).map(lambda percent: Share(percent=percent)),
    st.integers(1, 400).map(lambda nodes: Share(nodes=nodes)),
)


def within(covered: dict[Stratum, int], sizes: dict[Stratum, int]) -> dict[Stratum, int]:
    """What can be covered: no more than there is."""
    return {stratum: min(covered.get(stratum, 0), size) for stratum, size in sizes.items()}


@given(SIZES, SHARES, COVERED)
def test_no_stratum_loses_what_it_has(
    sizes: dict[Stratum, int], share: Share, covered: dict[Stratum, int]
) -> None:
    floors = within(covered, sizes)
    given_ = quotas(sizes, share, floors)
    assert all(floors[stratum] <= given_[stratum] <= size for stratum, size in sizes.items())


@given(SIZES, SHARES, COVERED)
def test_a_stratum_that_has_more_than_its_part_leaves_the_others_less(
    sizes: dict[Stratum, int], share: Share, covered: dict[Stratum, int]
) -> None:
    floors = within(covered, sizes)
    alone = sum(quotas(sizes, share).values())
    given_ = quotas(sizes, share, floors)
    least = sum(max(floors[s], share.percent is not None) for s in sizes)  # percent: one of each
    assert sum(given_.values()) <= max(alone, least)
    if share.nodes is not None:
        assert sum(given_.values()) == max(alone, sum(floors.values()))


def test_a_share_that_is_used_up_elsewhere_still_reaches_one_node_of_each_stratum() -> None:
    sizes: dict[Stratum, int] = {("a",): 10, ("b",): 10, ("c",): 10}
    assert quotas(sizes, Share(percent=20), {("a",): 6}) == {("a",): 6, ("b",): 1, ("c",): 1}
    assert quotas(sizes, Share(nodes=6), {("a",): 6}) == {("a",): 6, ("b",): 0, ("c",): 0}


@given(SIZES, st.lists(SHARES, min_size=1, max_size=5))
def test_widening_never_covers_more_than_the_widest_share_alone(
    sizes: dict[Stratum, int], shares: list[Share]
) -> None:
    bounds: dict[Stratum, int] = {}
    widest = 0
    for share in shares:
        before = {stratum: len(names) for stratum, names in covered(sizes, bounds).items()}
        bounds = cutoffs(members(sizes), share, salt="s", current=bounds)
        widest = max(widest, sum(quotas(sizes, share).values()))
        reached = sum(len(names) for names in covered(sizes, bounds).values())
        one_of_each = sum(max(count, share.percent is not None) for count in before.values())
        assert reached <= max(widest, one_of_each)


def test_a_node_that_leaves_and_comes_back_does_not_pull_further_ones_in() -> None:
    names = [f"a-{number}" for number in range(20)]
    first = min(names, key=lambda name: rank("s", name))
    bounds = cutoffs({("a",): names}, Share(nodes=1), salt="s", current={})
    for _ in range(10):
        gone = [name for name in names if name != first]
        bounds = cutoffs({("a",): gone}, Share(nodes=1), salt="s", current=bounds)
        bounds = cutoffs({("a",): names}, Share(nodes=1), salt="s", current=bounds)
    assert sum(rank("s", name) < bounds[("a",)] for name in names) == 2


def test_strata_that_are_asked_again_answer_as_new_ones_do() -> None:
    sizes: dict[Stratum, int] = {("a",): 30, ("b",): 7}
    kept = Strata(members(sizes))
    for salt in ("s", "t", "u", "v", "w", "s"):
        for percent in (5, 50):
            share = Share(percent=percent)
            assert cutoffs(kept, share, salt=salt, current={}) == cutoffs(
                members(sizes), share, salt=salt, current={}
            )


def test_all_of_the_fleet_includes_nodes_that_join_later() -> None:
    bounds = cutoffs({("a",): ["n1"]}, Share(percent=100), salt="s", current={("gone",): 5})
    assert bounds == {("a",): RANK_SPACE, ("gone",): RANK_SPACE}


@given(SIZES, st.integers(1, 100))
def test_bounds_survive_being_written_into_a_release(sizes: dict[Stratum, int], percent: int) -> None:
    bounds = cutoffs(members(sizes), Share(percent=percent), salt="s", current={})
    assert to_bounds(to_cutoffs(bounds)) == bounds


def test_an_empty_fleet_has_no_bounds() -> None:
    assert cutoffs({}, Share(nodes=3), salt="s", current={}) == {}
