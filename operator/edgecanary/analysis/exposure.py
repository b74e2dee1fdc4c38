"""How much a comparison can know: what a declared effect needs, and when it will be reached."""

import math

import numpy as np

from edgecanary.analysis.counts import Floats

EXPOSURE_FACTOR = 16.0
"""Exposure that clears a ratio, times the square of the ratio's logarithm."""


def needed_exposure(detect_ratio: float) -> float:
    """The exposure at which a canary without that increase may be promoted; the ratio is above 1."""
    return EXPOSURE_FACTOR / math.log(detect_ratio) ** 2


def detectable_ratio(exposure: Floats) -> Floats:
    """The increase that this exposure would have found; infinite without exposure."""
    seen = exposure > 0
    return np.where(
        seen, np.exp(np.sqrt(EXPOSURE_FACTOR / np.where(seen, np.maximum(exposure, 1e-4), 1.0))), np.inf
    )
