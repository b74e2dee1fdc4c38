"""One kind's part of the cache: whatever comes in whatever order, the newest wins."""

from hypothesis import given
from hypothesis import strategies as st

from edgecanary.controller.store import Change, Store
from edgecanary.controller.views import ObjectKey

A, B = ObjectKey("plant", "a"), ObjectKey("plant", "b")


def contents(store: Store[str]) -> dict[ObjectKey, str]:
    return {key: entry.record for key, entry in store.records.items()}


def test_a_new_record_is_a_change_and_the_same_again_is_none() -> None:
    store: Store[str] = Store()
    assert store.put(A, 1, "x") == Change(A, None, "x")
    assert store.put(A, 2, "x") is None
    assert store.put(A, 3, "y") == Change(A, "x", "y")


def test_an_older_version_is_ignored() -> None:
    store: Store[str] = Store()
    store.put(A, 5, "new")
    assert store.put(A, 4, "old") is None
    assert store.remove(A, 4) is None
    assert store.get(A) == "new"


def test_a_deleted_record_does_not_come_back_by_a_late_event() -> None:
    store: Store[str] = Store()
    store.put(A, 5, "x")
    assert store.remove(A, 6) == Change(A, "x", None)
    assert store.put(A, 5, "x") is None
    assert store.get(A) is None


def test_an_object_made_again_under_its_name_is_taken_in() -> None:
    store: Store[str] = Store()
    store.remove(A, 6)
    assert store.put(A, 7, "again") == Change(A, None, "again")


def test_a_list_removes_ghosts() -> None:
    store: Store[str] = Store()
    store.put(A, 1, "a")
    store.put(B, 2, "ghost")
    assert store.replace([(A, 1, "a")], version=9) == [Change(B, "ghost", None)]
    assert contents(store) == {A: "a"}


def test_what_came_by_the_watch_after_the_list_was_read_stays() -> None:
    store: Store[str] = Store()
    store.put(A, 12, "newer than the list")
    assert store.replace([], version=9) == []
    assert contents(store) == {A: "newer than the list"}


def test_what_was_deleted_after_the_list_was_read_stays_deleted() -> None:
    store: Store[str] = Store()
    store.put(A, 3, "a")
    store.remove(A, 12)
    assert store.replace([(A, 3, "a")], version=9) == []
    assert contents(store) == {}


def test_a_list_gives_only_the_differences() -> None:
    store: Store[str] = Store()
    store.put(A, 1, "a")
    store.put(B, 2, "b")
    assert store.replace([(A, 1, "a"), (B, 4, "b2")], version=9) == [Change(B, "b", "b2")]


def test_after_a_restore_from_backup_the_list_alone_counts() -> None:
    store: Store[str] = Store()
    store.replace([(A, 900, "a"), (B, 950, "b")], version=1000)
    changes = store.replace([(A, 90, "older a")], version=100)
    assert sorted(changes, key=lambda change: change.key) == [
        Change(A, "a", "older a"),
        Change(B, "b", None),
    ]
    assert store.put(A, 101, "next") == Change(A, "older a", "next")


def test_deletions_are_forgotten_once_a_list_is_newer() -> None:
    store: Store[str] = Store()
    for number in range(100):
        store.remove(ObjectKey("plant", str(number)), number + 1)
    store.replace([], version=200)
    assert not store._deleted


EVENTS = st.permutations(
    [(1, "ADDED"), (2, "MODIFIED"), (3, "MODIFIED"), (4, "DELETED"), (5, "ADDED"), (6, "MODIFIED")]
)


@given(EVENTS)
def test_events_in_any_order_end_in_the_newest_state(events: list[tuple[int, str]]) -> None:
    store: Store[str] = Store()
    for version, kind in events:
        if kind == "DELETED":
            store.remove(A, version)
        else:
            store.put(A, version, f"v{version}")
    assert contents(store) == {A: "v6"}


@given(EVENTS, st.integers(0, 6), st.integers(0, 6))
def test_a_list_in_the_midst_of_events_changes_nothing_in_the_end(
    events: list[tuple[int, str]], place: int, listed_at: int
) -> None:
    truth = {1: "v1", 2: "v2", 3: "v3", 5: "v5", 6: "v6"}
    store: Store[str] = Store()
    for number, (version, kind) in enumerate(events):
        if number == place and listed_at > 0:
            store.replace([(A, listed_at, truth[listed_at])] if listed_at in truth else [], version=listed_at)
        if kind == "DELETED":
            store.remove(A, version)
        else:
            store.put(A, version, f"v{version}")
    assert contents(store) == {A: "v6"}
