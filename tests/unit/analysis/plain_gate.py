"""Gate G written out node by node in plain Python, from its formulas, as a second opinion on the fast one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Row = Sequence[float]


@dataclass(frozen=True)
class PlainFleet:
    """One fleet: sums before, ticks before (rows of nodes), and n, x and online ticks since the switch."""

    before_total: Row
    before_bad: Row
    ticks_total: Sequence[Row]
    ticks_bad: Sequence[Row]
    total: Row
    bad: Row
    online: Row
    canaries: frozenset[int]
    ticks: float


@dataclass(frozen=True)
class Prior:
    a0: float
    b0: float
    a: list[float]
    rate: list[float]


def clip(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def prior(fleet: PlainFleet) -> Prior:
    r0 = (sum(fleet.before_bad) + 0.5) / (sum(fleet.before_total) + 1)
    numerator = denominator = 0.0
    for n, x in zip(fleet.before_total, fleet.before_bad, strict=True):
        u = r0 * n
        g = (1 + u / 4) ** -2
        numerator += g * ((x - u) ** 2 - u)
        denominator += g * u * u
    spread = clip(numerator / denominator, 0.05, 2) if denominator > 0 else 2.0
    a0 = 1 / spread
    b0 = a0 / r0
    a = [x + a0 for x in fleet.before_bad]
    rate = [shape / (n + b0) for shape, n in zip(a, fleet.before_total, strict=True)]
    return Prior(a0, b0, a, rate)


def terms(x: Row, m: Row, a: Row, pilot: float) -> tuple[float, float]:
    whole = sum(m)
    numerator = denominator = 0.0
    for xi, mi, ai in zip(x, m, a, strict=True):
        share = min(mi / whole, 0.8) if whole > 0 else 0.0
        h = (1 + pilot * mi + mi / ai) ** -2
        numerator += h * ((xi - mi) ** 2 / (1 - share) - mi - mi * mi / ai)
        denominator += h * mi * mi
    return numerator, denominator


def window_begins(ticks: int, length: int) -> list[int]:
    count = ticks // length
    few = min(count, 24)
    places = [round(i * (count - 1) / (few - 1)) if few > 1 else 0 for i in range(few)]
    return [ticks - (count - place) * length for place in dict.fromkeys(places)]


def left_out(fleet: PlainFleet, known: Prior, begin: int, length: int) -> tuple[list[float], ...]:
    xs, es, shapes = [], [], []
    for i, (row_n, row_x) in enumerate(zip(fleet.ticks_total, fleet.ticks_bad, strict=True)):
        n_w, x_w = sum(row_n[begin : begin + length]), sum(row_x[begin : begin + length])
        shape = fleet.before_bad[i] - x_w + known.a0
        xs.append(x_w)
        shapes.append(shape)
        es.append(n_w * shape / (fleet.before_total[i] - n_w + known.b0))
    total = sum(es)
    factor = sum(xs) / total if total > 0 else 1.0
    return xs, [factor * e for e in es], shapes


def history_variance(fleet: PlainFleet, known: Prior) -> list[tuple[float, float, float]]:
    """(V, den, pilot) for windows of 1, 2, 4 … ticks."""
    ticks = len(fleet.ticks_total[0])
    found = []
    length = 1
    while length <= ticks // 2:
        windows = [left_out(fleet, known, begin, length) for begin in window_begins(ticks, length)]
        pilot, value, information = 0.1, 0.0, 0.0
        first = 0.1
        for round_number in range(2):
            sums = [terms(x, m, a, pilot) for x, m, a in windows]
            information = sum(d for _, d in sums)
            value = sum(n for n, _ in sums) / information if information > 0 else 0.0
            if round_number == 0:
                first = pilot = clip(value, 0.01, 2)
        found.append((value, information, first))
        length *= 2
    return found


def interpolate(table: Sequence[tuple[float, float, float]], ticks: float) -> tuple[float, float, float]:
    place = clip(math.log2(max(ticks, 1.0)), 0, len(table) - 1)
    low = min(int(place), max(len(table) - 2, 0))
    high = min(low + 1, len(table) - 1)
    part = place - low
    one, other = table[low], table[high]
    return (
        one[0] + part * (other[0] - one[0]),
        one[1] + part * (other[1] - one[1]),
        one[2] + part * (other[2] - one[2]),
    )


def log_likelihood(x: Row, m: Row, phi: Row, c: float) -> float:
    return sum(
        xi * math.log(c) - (xi + 1 / pi) * math.log((1 + pi * mi * c) / (1 + pi * mi))
        for xi, mi, pi in zip(x, m, phi, strict=True)
    )


def quadrature(canaries: int) -> list[tuple[float, float]]:
    if canaries > 5:
        return [(0, 2 / 3), (-1.73205, 1 / 6), (1.73205, 1 / 6)]
    points = [(0.0, 0.53333), (1.35563, 0.22208), (2.85697, 0.01126)]
    return [points[0], *((sign * z, w) for z, w in points[1:] for sign in (-1, 1))]


def gate(fleet: PlainFleet) -> tuple[float, float]:
    """E and the exposure I."""
    known = prior(fleet)
    table = history_variance(fleet, known)
    controls = [i for i in range(len(fleet.total)) if i not in fleet.canaries]
    e = [rate * n for rate, n in zip(known.rate, fleet.total, strict=True)]
    y = sum(fleet.bad[j] for j in controls)
    tau = (y + 2) / (sum(e[j] for j in controls) + 2)
    m = [tau * value for value in e]
    v_h, d_h, pilot = interpolate(table, fleet.ticks)
    n_c, d_c = terms(
        [fleet.bad[j] for j in controls], [m[j] for j in controls], [known.a[j] for j in controls], pilot
    )
    variance = clip((v_h * d_h + n_c) / (d_h + d_c) + 0.5 * math.sqrt(2 / (d_h + d_c)), 0.005, 4)
    whole = sum(m[j] for j in controls)
    s2 = 1 / (y + 2) + sum(m[j] ** 2 * (variance + 1 / known.a[j]) for j in controls) / whole**2
    canaries = sorted(fleet.canaries)
    x = [fleet.bad[i] for i in canaries]
    mean = [m[i] for i in canaries]
    phi = []
    for i in canaries:
        own = max(0.005, interpolate(table, max(fleet.online[i], 1))[0])
        phi.append(variance * max(1, own / max(0.005, v_h)) + 1 / known.a[i])
    s = math.sqrt(s2)
    points = quadrature(len(canaries))

    def integrated(theta: float) -> float:
        return sum(w * math.exp(log_likelihood(x, mean, phi, theta * math.exp(s * z))) for z, w in points)

    value = sum(integrated(theta) for theta in (1.5, 2, 3, 6)) / 4 / integrated(1)
    own_information = sum(mi / (1 + pi * mi) for mi, pi in zip(mean, phi, strict=True))
    return value, 1 / (1 / own_information + s2)
