"""From the agent's registry to one entry of the outbox: all samples of a moment, and marks for series that end."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from edgecanary.agent.push.segments import Entry
from edgecanary.agent.push.wire import STALE, encode_labels, encode_series, encode_value, join

Key = tuple[str, tuple[tuple[str, str], ...]]


class Sample(Protocol):
    """One sample of the metrics library."""

    @property
    def name(self) -> str:
        """The metric's name."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """The series's labels."""
        ...

    @property
    def value(self) -> float:
        """The value."""
        ...


class Sampler:
    """Remembers which series there were, to say so when one is gone."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        """`labels` are added to every series, as a scrape would; a series's own label wins."""
        self._labels = dict(labels)
        self._known: dict[Key, bytes] = {}

    def sample(self, samples: Iterable[Sample], *, now_ms: int) -> Entry:
        """The samples as of now. A series that was there the last time and is not any more ends."""
        present: dict[Key, bytes] = {}
        parts = []
        for item in samples:
            key = (item.name, tuple(sorted(item.labels.items())))
            labels = self._known.get(key) or self._encode(item)
            present[key] = labels
            parts.append(encode_series(labels, now_ms, encode_value(item.value)))
        gone = [labels for key, labels in self._known.items() if key not in present]
        parts += [encode_series(labels, now_ms, STALE) for labels in gone]
        self._known = present
        return Entry(now_ms, len(parts), compress(join(parts)))

    def _encode(self, item: Sample) -> bytes:
        return encode_labels({**self._labels, **item.labels, "__name__": item.name})


def compress(request: bytes) -> bytes:
    """A WriteRequest as it goes over the wire."""
    from cramjam import snappy  # noqa: PLC0415 - only agents that push pay for it

    return bytes(snappy.compress_raw(request))


def decompress(payload: bytes) -> bytes:
    """What `compress` was given. Raises ValueError."""
    from cramjam import DecompressionError, snappy  # noqa: PLC0415

    try:
        return bytes(snappy.decompress_raw(payload))
    except DecompressionError as error:
        raise ValueError(str(error)) from error
