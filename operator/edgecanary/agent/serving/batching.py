"""Running the rows of several requests together: which may be, how they are joined, and how parted again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from edgecanary.agent import golden
from edgecanary.agent.runtime.base import Array, Feeds, Run, RunFault
from edgecanary.agent.serving.agreement import differing
from edgecanary.agent.serving.worker import Ticket
from edgecanary.agent.tensors import ANY, TensorType

T = TypeVar("T")


class SharedRun:
    """One run for several tickets: it is ended when nobody waits for any of them."""

    def __init__(self, run: Run, tickets: Sequence[Ticket]) -> None:
        self._run = run
        self._tickets = tickets

    def interrupt(self) -> None:
        """One more ticket expired."""
        if all(ticket.expired for ticket in self._tickets):
            self._run.interrupt()


def groups(items: Sequence[T], feeds_of: Callable[[T], Feeds], max_rows: int) -> Iterator[list[T]]:
    """The items in groups that can be run together, each of at most `max_rows` rows.

    Together means: every input has the same number of rows, and rows of the same shape in all requests. An item
    that does not fit any group, or is too large, is a group by itself.
    """
    open_groups: dict[object, tuple[list[T], int]] = {}
    for item in items:
        feeds = feeds_of(item)
        rows = rows_of(feeds)
        if rows is None or rows >= max_rows:
            yield [item]
            continue
        form = tuple(sorted((name, array.shape[1:]) for name, array in feeds.items()))
        group, count = open_groups.get(form, ([], 0))
        if count + rows > max_rows:
            yield group
            group, count = [], 0
        group.append(item)
        open_groups[form] = (group, count + rows)
    for group, _ in open_groups.values():
        yield group


def rows_of(feeds: Feeds) -> int | None:
    """The length of the first axis of every input; None when there is no such one."""
    lengths = {array.shape[0] if array.ndim else None for array in feeds.values()}
    return lengths.pop() if len(lengths) == 1 else None


def joined(requests: Sequence[Feeds]) -> dict[str, Array]:
    """The inputs of all requests below each other."""
    return {name: np.concatenate([feeds[name] for feeds in requests]) for name in requests[0]}


def split(given: Mapping[str, Array], requests: Sequence[Feeds]) -> list[dict[str, Array]]:
    """What belongs to each request. Raises RunFault when an output has another number of rows than the inputs."""
    ends = np.cumsum([rows_of(feeds) for feeds in requests])
    for name, array in given.items():
        if array.ndim == 0 or array.shape[0] != ends[-1]:
            raise RunFault(f"output {name!r} has shape {list(array.shape)} for {ends[-1]} rows")
    starts = [0, *ends[:-1]]
    return [
        {name: array[start:end] for name, array in given.items()}
        for start, end in zip(starts, ends, strict=True)
    ]


def doubt(
    inputs: Sequence[TensorType],
    outputs: Sequence[TensorType],
    case: "Feeds | None",
    run: Callable[[Feeds], Mapping[str, Array]],
) -> str | None:
    """Why rows of several requests must not be run together; None when they may.

    The first axis of every tensor must accept any length, and three rows must get the same answers
    together as each by itself: a model may mix its rows.
    """
    for tensor in (*inputs, *outputs):
        if not tensor.shape or tensor.shape[0] != ANY:
            return f"the first axis of {tensor.name!r} is not -1"
    base = case if case is not None and rows_of(case) is not None else golden.zero_feeds(inputs)
    rows = [_changed(base, step) for step in range(3)]
    try:
        alone = [run(feeds) for feeds in rows]
        together = split(run(joined(rows)), rows)
    except RunFault as fault:
        return f"a trial failed: {fault}"
    for one, other in zip(alone, together, strict=True):
        name = differing(one, other)
        if name is not None:
            return f"output {name!r} of a row depends on the rows beside it"
    return None


def _changed(feeds: Feeds, step: int) -> dict[str, Array]:
    """Inputs that differ from these where numbers may: fractions are nudged, everything else stays valid as it is."""
    return {
        name: (array + np.asarray(step / 8, array.dtype) if array.dtype.kind == "f" else array.copy())
        for name, array in feeds.items()
    }
