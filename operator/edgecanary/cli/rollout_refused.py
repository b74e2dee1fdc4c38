"""An action that means nothing in the Rollout's state."""

from edgecanary.base.errors import EdgecanaryError


class Refused(EdgecanaryError):
    """Nothing was written: the message says why, and what would help."""
