"""The interpreter's own habits, as far as answers wait for them."""

import gc
import sys

SWITCH_SECONDS = 0.001
"""How long a thread may hold the interpreter's lock while another one waits for it."""


def share_fairly() -> None:
    """Lets a model's thread have the lock soon when another thread computes.

    Python's own 5 ms are several answers of a small model; a switch costs microseconds.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def set_aside() -> None:
    """Takes what there is now out of all later garbage collections.

    Modules and their tables are most of the heap and stay for good, yet a full collection looks at each of them, for
    tens of milliseconds in which no thread answers. To be called while there is no model: what is set aside and then
    dropped in a cycle would never be freed.
    """
    gc.freeze()
