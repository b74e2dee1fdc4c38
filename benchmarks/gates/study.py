"""The figures of the study that the default comparison comes from, to be reproduced before any better are claimed.

1,000 runs a cell, 150 with 1,000 nodes; looks after every tick; its gate is our `NegativeBinomial` in its plain
form. The traces here are written anew.
"""

from dataclasses import dataclass

from benchmarks.gates.cells import Noise

RATIOS = (1.5, 2.0, 3.0)

WORST_FALSE_ROLLBACK = {
    "12x1": (1.6, 3.3, 4.2),
    "12x3": (1.9, 2.7, 3.0),
    "100x5": (1.5, 2.6, 3.1),
    "1000x50": (2.0, 2.7, 3.3),
}
"""Percent at 10, 60 and 240 looks, in the worst cell of its grid."""

LATE_FOUND = {"12x1": 84.0, "12x3": 97.0, "100x5": 99.0}
"""Percent: 2x from tick 60 of 240 on, 5 % of 500 requests, medium noise."""

LATE_DELAY = {"12x1": 65, "12x3": 44, "100x5": 28}
"""Median ticks after its begin."""

# false rollback clean, hard | found: clean 10 | clean 240 with median delay | hard 10 | hard 60 | hard 240 with delay
_TABLE = """
12x1 0.5%/20    1.1 1.3 | 1 3 10     | 18@81 58@79 95@41   | 1 2 8     | 6 15 41    | 13@75 35@71 65@43
12x1 0.5%/500   1.7 2.9 | 24 66 92   | 96@23 100@7 100@3   | 8 23 55   | 29 68 93   | 49@48 89@26 98@9
12x1 5%/20      0.7 2.9 | 10 35 73   | 79@46 99@16 100@6   | 5 15 42   | 22 56 86   | 41@56 81@34 95@12
12x1 5%/500     0.4 2.2 | 84 95 96   | 100@4 100@1 100@1   | 10 32 73  | 32 83 99   | 58@52 98@18 100@6
12x3 0.5%/20    1.3 2.0 | 2 7 29     | 43@87 95@50 100@17  | 1 4 19    | 9 35 78    | 25@78 66@56 96@26
12x3 0.5%/500   1.0 2.8 | 56 95 100  | 100@9 100@3 100@1   | 15 46 88  | 51 94 100  | 80@42 100@12 100@4
12x3 5%/20      1.2 2.3 | 27 72 98   | 100@20 100@6 100@2  | 10 32 73  | 41 88 100  | 69@46 99@17 100@6
12x3 5%/500     0.1 1.0 | 100 100 100 | 100@2 100@1 100@1  | 19 62 94  | 61 98 100  | 86@31 100@8 100@3
100x5 0.5%/20   1.8 2.6 | 7 26 67    | 85@62 100@21 100@7  | 7 20 54   | 29 72 97   | 56@57 95@29 100@9
100x5 0.5%/500  0.4 2.2 | 86 100 100 | 100@4 100@2 100@1   | 35 83 100 | 89 100 100 | 100@17 100@4 100@2
100x5 5%/20     1.4 2.3 | 54 95 100  | 100@10 100@3 100@1  | 24 70 96  | 76 100 100 | 97@26 100@7 100@2
100x5 5%/500    0.1 1.1 | 100 100 100 | 100@1 100@1 100@1  | 51 95 100 | 96 100 100 | 100@10 100@3 100@1
1000x50 0.5%/20 1.3 0.0 | 63 99 100  | 100@8 100@3 100@1   | 47 89 100 | 99 100 100 | 100@11 100@4 100@1
"""


@dataclass(frozen=True)
class Figure:
    """One percentage of the study; `ratio` 1 is a false rollback. `delay` is the median in ticks where it is given."""

    cell: str
    ratio: float
    looks: int
    percent: float
    delay: float | None
    runs: int


def figures() -> list[Figure]:
    """All that the table has."""
    return [figure for line in _TABLE.strip().splitlines() for figure in _row(line)]


def _row(line: str) -> list[Figure]:
    head, *groups = (part.split() for part in line.split("|"))
    fleet, traffic, *rollbacks = head
    runs = 150 if fleet == "1000x50" else 1000
    names = {noise: f"{fleet} {traffic} {noise}" for noise in Noise}
    found = [
        Figure(names[noise], 1.0, 240, float(percent), None, runs)
        for noise, percent in zip((Noise.CLEAN, Noise.HARD), rollbacks, strict=True)
    ]
    columns = ((Noise.CLEAN, 10), (Noise.CLEAN, 240), (Noise.HARD, 10), (Noise.HARD, 60), (Noise.HARD, 240))
    for (noise, looks), group in zip(columns, groups, strict=True):
        for ratio, text in zip(RATIOS, group, strict=True):
            percent, _, delay = text.partition("@")
            found.append(
                Figure(names[noise], ratio, looks, float(percent), float(delay) if delay else None, runs)
            )
    return found
