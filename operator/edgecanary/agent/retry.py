"""When a delivery that failed is tried again."""

import time
from collections.abc import Callable

from edgecanary.agent.record import Target


class Retry:
    """Holds for a target as it was, whatever wakes the node meanwhile.

    A step of the rollout wakes every node: those that wait for the store must not all try again then. Another
    address, attempt or revision makes another target, which does not wait.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._target: Target | None = None
        self._at = 0.0

    def put_off(self, target: Target | None, seconds: float) -> None:
        """Nothing is tried for the target for so long."""
        self._target, self._at = target, self._clock() + seconds

    def seconds_left(self, target: Target | None) -> float:
        """How long the target has to wait still; 0 when it may be tried."""
        if target is None or target != self._target:
            return 0.0
        return max(0.0, self._at - self._clock())
