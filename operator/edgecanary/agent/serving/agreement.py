"""When two answers to the same input are the same answer."""

from collections.abc import Mapping

import numpy as np

from edgecanary.agent.runtime.base import Array

RELATIVE = 1e-2
ABSOLUTE = 1e-3
"""How far numbers may be apart where there is no class to compare: `ABSOLUTE` + `RELATIVE` times the larger."""
_SUM = 1e-2
"""How far the chances of a row may add up to something else than 1."""
_ROUNDING = {"e": 1e-2, "f": 1e-4, "d": 1e-9}
"""How far the order of additions moves a value, by type."""


def agree(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether two revisions gave the same answer, judged by the outputs that both gave.

    Fractions whose rows (the last axis) are 0 or more and add up to 1 are chances of classes: the largest must be
    at the same place in each row. Other fractions must be close. Whole numbers, booleans and texts must be equal.
    """
    names = one.keys() & other.keys()
    return bool(names) and all(_same(one[name], other[name]) for name in names)


def differing(one: Mapping[str, Array], other: Mapping[str, Array]) -> str | None:
    """The first output in which two runs of one model differ by more than rounding does."""
    for name, array in one.items():
        second = other[name]
        if array.shape != second.shape:
            return name
        rounding = _ROUNDING.get(array.dtype.char)
        if rounding is None:
            same = np.array_equal(array, second)
        else:
            same = bool(np.allclose(array, second, rtol=rounding, atol=rounding, equal_nan=True))
        if not same:
            return name
    return None


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    first, second = one.astype(np.float64), other.astype(np.float64)
    if _are_chances(first) and _are_chances(second):
        return np.array_equal(np.argmax(first, axis=-1), np.argmax(second, axis=-1))
    allowed = ABSOLUTE + RELATIVE * np.maximum(np.abs(first), np.abs(second))
    return bool(np.all(np.abs(first - second) <= allowed))


def _are_chances(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> bool:
    if not values.ndim or values.shape[-1] < 2:
        return False
    return bool(np.all(values >= 0) and np.all(np.abs(values.sum(axis=-1) - 1) <= _SUM))
