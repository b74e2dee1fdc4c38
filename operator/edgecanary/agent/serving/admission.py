"""How many requests may be in progress, on the node and for each model."""

from collections import Counter
from dataclasses import dataclass, field

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.serving.messages import HttpFault

_RETRY_SECONDS = 1


@dataclass
class Admission:
    """Counts what is in progress, and refuses more with 503 and `Retry-After`.

    A model with nothing in progress is always let in, so that busy or slow models never shut it out; the requests in
    progress are therefore at most `node` and one for each model.
    """

    node: int
    model: int
    _models: Counter[ModelKey | None] = field(default_factory=Counter)
    _all: int = 0

    @property
    def busy(self) -> bool:
        """Whether anything is in progress."""
        return self._all > 0

    def enter(self, key: ModelKey | None) -> None:
        """One more request, of a model or (None) of none. Raises HttpFault 503."""
        mine = self._models[key]
        if key is not None and mine >= self.model:
            raise HttpFault(
                503,
                f"{mine} requests to model {key} are in progress, try again",
                retry_after_seconds=_RETRY_SECONDS,
            )
        if self._all >= self.node and (key is None or mine > 0):
            raise HttpFault(
                503, f"{self._all} requests are in progress, try again", retry_after_seconds=_RETRY_SECONDS
            )
        self.admit(key)

    def admit(self, key: ModelKey | None) -> None:
        """One more request, which is in progress already."""
        self._models[key] += 1
        self._all += 1

    def leave(self, key: ModelKey | None) -> None:
        """The request is answered."""
        self._all -= 1
        self._models[key] -= 1
        if not self._models[key]:
            del self._models[key]
