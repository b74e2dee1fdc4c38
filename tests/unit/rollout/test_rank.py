"""A node's place in the order of a revision."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.rollout.rank import RANK_SPACE, format_bound, parse_bound, rank, ranks, salt_for


def test_the_rank_is_the_first_eight_bytes_of_the_digest_of_salt_slash_node() -> None:
    digest = hashlib.sha256(b"some-salt/node-7").hexdigest()
    assert rank("some-salt", "node-7") == int(digest[:16], 16)


def test_the_rank_of_a_known_node_never_changes_between_releases_of_the_program() -> None:
    assert f"{rank('uid-1abc', 'node-01'):016x}" == "7959c6a4678e238a"


@given(st.text(max_size=20), st.lists(st.text(max_size=20)))
def test_many_ranks_at_once_are_the_ranks_of_each(salt: str, nodes: list[str]) -> None:
    plain = [int.from_bytes(hashlib.sha256(f"{salt}/{node}".encode()).digest()[:8], "big") for node in nodes]
    assert ranks(salt, nodes) == plain


def test_the_order_differs_from_revision_to_revision() -> None:
    nodes = [f"node-{i}" for i in range(100)]
    orders = [
        sorted(nodes, key=lambda n: rank(salt_for("uid", digest), n)) for digest in ("a" * 64, "b" * 64)
    ]
    assert orders[0] != orders[1]


@given(st.integers(0, RANK_SPACE))
def test_bounds_survive_being_written(bound: int) -> None:
    assert parse_bound(format_bound(bound)) == bound


@given(st.integers(0, RANK_SPACE), st.integers(0, RANK_SPACE))
def test_written_bounds_order_as_numbers_do(a: int, b: int) -> None:
    assert (format_bound(a) < format_bound(b)) == (a < b)


@pytest.mark.parametrize("bound", [-1, RANK_SPACE + 1])
def test_a_bound_outside_the_ranks_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="within 0 and"):
        format_bound(bound)
