"""The exit codes of `edgecanary rollout` and `edgecanary node`, for scripts."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    """It is done, or here is the answer."""
    FAILED = 1
    """The cluster cannot be asked or changed: no server, no permission, versions that do not fit."""
    WRONG_INPUT = 2
    """Wrong usage, or a file that breaks a rule; nothing was done."""
    NOT_FOUND = 3
    """There is no such Rollout or node, or the cluster has no CRDs."""
    ENDED_OTHERWISE = 4
    """What was waited for cannot come any more: the revision was taken back, or the Rollout is stalled."""
    TIMED_OUT = 5
    """The time given with --timeout is over."""
    REFUSED = 6
    """The action means nothing in the Rollout's state; nothing was written."""
    WAITS = 10
    """With --exit-code: `why`: it waits for something; `plan`: there are warnings."""
    STALLED = 11
    """With --exit-code: `why`: it is stalled until a person changes something."""
    INTERRUPTED = 130
    """Ctrl-C."""
