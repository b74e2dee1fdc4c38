"""How the evidence of a comparison is weighed."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The parts that evidence is made of, and the increases it is weighed for.

    `ratios` are the increases, each with the same weight. `whole` is the weight of the evidence since the
    rollout began. `restarted` is shared by the evidence since each later moment that is a boundary of blocks
    (0: none): a regression that comes late is not diluted by the good time before it.

    The first `early_ticks` of each node's time as canary are doubted (0: not), as its warm-up may last longer
    than was said: the evidence without them, to the power `sureness`, must cross the limit too. Doubt ends
    above `warmup_ratio`: no warm-up is that bad.

    With `each_block` each block has a common factor of its own; without, only those in which nodes changed sides.
    With `ahead` nodes are expected to vary as much as they did ahead of what was known of them. Where the squared
    error that the canary nodes share is more than `most_shared` times that of their own, as where stable nodes
    are few, they are judged by their sum.

    `past` is the weight of the evidence of blocks without stable nodes, against the fleet's own past.
    """

    ratios: tuple[float, ...] = (1.5, 2.0, 3.0, 6.0)
    whole: float = 1.0
    restarted: float = 0.0
    early_ticks: float = 0.0
    sureness: float = 1.0
    warmup_ratio: float = 4.0
    past: float = 0.0
    each_block: bool = False
    ahead: bool = False
    most_shared: float = math.inf


AS_WRITTEN = Settings()
"""The plain statistic: all counts since the beginning, one likelihood ratio."""

PRODUCT = Settings(
    whole=0.6,
    restarted=0.7,
    early_ticks=4.0,
    sureness=1.25,
    past=0.1,
    each_block=True,
    ahead=True,
    most_shared=0.5,
)
"""What the product uses. The weights may add up to more than one, for the doubt and the restarts' likeness to each
other lower the false alarms: how far was measured, see docs/guides/gate-statistics.md.
"""


def restart_weight(start: float) -> float:
    """The share of `restarted` for the evidence since a tick, counted from the rollout's begin.

    All ticks' shares add up to one, so that no length of the rollout has to be known. Each doubling of time has
    a share; within it, a tick's share grows with the power of two that divides it, since the boundaries with
    large ones are kept longest and serve for slow findings. Only whole ticks from 4 on have a share.
    """
    tick = int(start)
    if tick != start or tick < 4:
        return 0.0
    octave = tick.bit_length() - 3
    fineness = tick.bit_length() - (tick & -tick).bit_length()
    of_octave = 0.1 if octave < 8 else 0.04 * math.pow(0.8, octave - 8)
    ticks = 1 << max(fineness - 1, 0)
    return of_octave / ((fineness + 1) * (fineness + 2) * ticks)
