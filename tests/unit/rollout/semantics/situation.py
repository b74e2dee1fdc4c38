"""The mark of a test that decides a situation: it becomes a row of docs/guides/rollout-semantics.md."""

from collections.abc import Callable
from typing import TypeVar

from edgelab.generate.semantics import TOPICS

F = TypeVar("F", bound=Callable[..., None])


def situation(topic: str, *, when: str, then: str) -> Callable[[F], F]:
    """Marks a test. All texts must be plain strings, since the page is made from the file's text.

    `topic` is one of `edgelab.generate.semantics.TOPICS`. A test may carry several marks.
    """
    if topic not in TOPICS:
        raise ValueError(f"topic: must be one of {', '.join(TOPICS)}, got {topic!r}")
    if not when or not then:
        raise ValueError("when and then must say something")

    def mark(test: F) -> F:
        return test

    return mark
