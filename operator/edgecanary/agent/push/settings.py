"""How the agent pushes its metrics."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgecanary.base.errors import InvalidInput
from edgecanary.clients.remotewrite import WriteTarget

JOB = "edgecanary-agent"
_MIN_BYTES = 2**20
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_MAX_LABELS, _MAX_VALUE = 16, 512


@dataclass(frozen=True)
class PushSettings:
    """Where to, how often, and what may wait on disk."""

    target: WriteTarget
    interval_seconds: float = 30.0
    max_bytes: int = 64 * 2**20
    max_age_seconds: float = 86400.0
    """Older samples are not sent any more: Prometheus's `out_of_order_time_window`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Added to every series besides `node`, `instance` and `job`, or in place of the last two."""
    retry_first_seconds: float = 1.0
    retry_cap_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.max_bytes < _MIN_BYTES:
            raise InvalidInput(
                "--remote-write-max-bytes", f"must be at least 1Mi, got {self.max_bytes} bytes"
            )

    def series_labels(self, node: str) -> dict[str, str]:
        """What a scrape of this node would add."""
        return {"job": JOB, "instance": node, **self.labels, "node": node}


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels from `NAME=VALUE` texts. Raises InvalidInput naming the flag."""
    field, labels = "--remote-write-label", {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not _LABEL.fullmatch(name) or name == "node" or len(value) > _MAX_VALUE:
            rule = f"of letters, digits and _, not node, and a value of at most {_MAX_VALUE} characters"
            raise InvalidInput(field, f"must be NAME=VALUE with a name {rule}, got {text[:80]!r}")
        labels[name] = value
    if len(labels) > _MAX_LABELS:
        raise InvalidInput(field, f"must be given at most {_MAX_LABELS} times, got {len(labels)}")
    return labels
