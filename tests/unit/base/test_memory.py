"""What is remembered, for how long, and how much of it."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from edgecanary.base.memory import Memory


def test_what_was_put_is_found_and_what_was_not_is_none() -> None:
    memory: Memory[str] = Memory(10)
    assert memory.get("a") is None
    assert memory.put("a", "A", size=1) == "A"
    assert memory.get("a") == "A"


def test_beyond_the_limit_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory: Memory[str] = Memory(10)
    for key in "abc":
        memory.put(key, key, size=3)
    assert memory.get("a") == "a"
    memory.put("d", "d", size=4)
    assert [memory.get(key) for key in "abcd"] == ["a", None, "c", "d"]


def test_a_value_in_the_place_of_another_counts_once() -> None:
    memory: Memory[str] = Memory(10)
    for number in range(100):
        memory.put("a", str(number), size=6)
    assert memory.get("a") == "99"
    assert len(memory) == 1


def test_what_is_larger_than_the_limit_is_returned_and_not_kept() -> None:
    memory: Memory[str] = Memory(10)
    memory.put("a", "a", size=1)
    assert memory.put("huge", "huge", size=11) == "huge"
    assert memory.get("huge") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=60))
def test_the_sizes_kept_never_exceed_the_limit(puts: list[tuple[str, int]]) -> None:
    memory: Memory[int] = Memory(20)
    for key, size in puts:
        memory.put(key, size, size=size)
        kept = [found for name in "abcdef" if (found := memory.get(name)) is not None]
        assert sum(kept) <= 20


def test_several_threads_may_use_it_together() -> None:
    memory: Memory[int] = Memory(50)
    wrong: list[int] = []

    def work() -> None:
        for number in range(3000):
            key = number % 70
            found = memory.get(key)
            if found not in (None, key):
                wrong.append(key)
            memory.put(key, key, size=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(memory) == 50
