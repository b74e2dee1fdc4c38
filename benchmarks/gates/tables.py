"""The rows of the page's tables."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from benchmarks.gates import study
from benchmarks.gates.bound import most_found
from benchmarks.gates.cells import (
    FLEETS,
    GOOD,
    HORIZONS,
    RATIOS,
    Cell,
    Fleet,
    Noise,
    Onset,
    Regression,
    Scope,
    cell_name,
    grid,
    late_cells,
    stress_cells,
)
from benchmarks.gates.figures import Detection, Share, detection, differ, false_rollback, full_delay, promoted
from benchmarks.gates.harness import Result, Results
from benchmarks.gates.ours import CLEARED, OURS, PRODUCT_NAME, STUDY_NAME

Row = Sequence[str]

GOAL_PERCENT = 5.0
GOAL_FOUND = 95.0
GOAL_DELAY = 1.5
LONGEST = HORIZONS[-1]


class Book:
    """All results, by cell."""

    def __init__(self, cells: Sequence[Cell], results: Mapping[str, Results]) -> None:
        self._results = results
        self.runs = cells[0].runs
        self.fleets = [str(fleet) for fleet in FLEETS]
        named = {cell.name: cell for cell in cells}
        self.grid = [named[cell.name] for cell in grid()]
        self.late = [named[cell.name] for cell in late_cells()]
        self.stress = [named[cell.name] for cell in stress_cells()]

    def result(self, cell: str, method: str, regression: Regression = GOOD) -> Result:
        return self._results[cell][method, regression]

    def methods(self, cell: str, regression: Regression = GOOD) -> list[str]:
        """Those that judged it, ours first."""
        found = [method for method, judged in self._results[cell] if judged == regression]
        return sorted(
            found, key=lambda name: (name not in OURS, OURS.index(name) if name in OURS else 0, name)
        )

    def hard(self) -> list[Cell]:
        return [cell for cell in self.grid if cell.name.endswith(Noise.HARD)]

    def of_fleet(self, fleet: str) -> list[Cell]:
        return [cell for cell in self.grid if str(cell.fleet) == fleet]

    def worst(self, fleet: str, method: str, horizon: int) -> Share | None:
        """The most false rollbacks in any cell of the grid; nothing where the method cannot be used."""
        shares = [
            false_rollback(self.result(cell.name, method), horizon)
            for cell in self.of_fleet(fleet)
            if method in self.methods(cell.name)
        ]
        return max(shares, key=lambda share: share.percent, default=None)


def goals(book: Book) -> Iterable[Row]:
    """Each goal, what was measured, and whether it is met."""
    yield _rollback_goal(book)
    yield from _hard_goal(book)
    for onset in (Onset.MIDDLE, Onset.SLOW):
        yield _delay_goal(book, onset)
    yield _warmup_goal(book)


def _rollback_goal(book: Book) -> Row:
    cells = [(false_rollback(book.result(cell.name, PRODUCT_NAME), LONGEST), cell.name) for cell in book.grid]
    share, name = max(cells, key=lambda found: found[0].percent)
    text = f"worst: {share} % in {name}"
    return ("false rollbacks at most 5 % in every cell, 240 looks", text, _met(share.percent <= GOAL_PERCENT))


def _hard_goal(book: Book) -> Iterable[Row]:
    for cell in book.hard():
        if str(cell.fleet) == "100x5":
            found = _detection(book, cell, Regression(2.0), 60).found
            most = 100 * most_found(cell.conditions, 2.0, 60)
            text = f"{found} %; no gate can find more than {most:.0f} %"
            met = _met(found.percent >= GOAL_FOUND)
            yield (f"2x found in at least 95 % within 60 looks: {cell.name}", text, met)


def _delay_goal(book: Book, onset: Onset) -> Row:
    ratios = []
    for cell in book.grid:
        for ratio in RATIOS:
            start, late = (_full_delay(book, cell, Regression(ratio, when)) for when in (Onset.START, onset))
            if np.isfinite(start):
                ratios.append((late / start, f"{ratio:g}x in {cell.name}"))
    within = Share(sum(ratio <= GOAL_DELAY for ratio, _ in ratios), len(ratios))
    middle = float(np.median([ratio for ratio, _ in ratios]))
    text = f"{within.count} of {within.of} cells and ratios within; median {middle:.2f}x"
    name = "late" if onset is Onset.MIDDLE else "slow"
    return (
        f"{name} regressions within 1.5x of the delay of one from the start",
        text,
        _met(within.count == within.of),
    )


def _warmup_goal(book: Book) -> Row:
    cells = [cell for cell in book.stress if cell.name.startswith("warm-up")]
    found = [(false_rollback(book.result(cell.name, PRODUCT_NAME), LONGEST), cell.name) for cell in cells]
    share, name = max(found, key=lambda item: item[0].percent)
    text = f"worst: {share} % in {name.partition(': ')[2]}"
    return (
        "a longer warm-up (x3 for 3 ticks more) does not roll back",
        text,
        _met(share.percent <= GOAL_PERCENT),
    )


def _met(met: bool) -> str:
    return "met" if met else "**not met**"


def worst_rollbacks(book: Book) -> Iterable[Row]:
    """By method and fleet, at all horizons; the interval is that of the longest."""
    for method in book.methods(book.of_fleet("100x5")[0].name):
        yield (method, *(_worst(book, fleet, method) for fleet in book.fleets))


def _worst(book: Book, fleet: str, method: str) -> str:
    shares = [book.worst(fleet, method, horizon) for horizon in HORIZONS]
    known = [share for share in shares if share is not None]
    if not known:
        return "-"
    return " / ".join([*(f"{share.percent:.1f}" for share in known[:-1]), str(known[-1])])


def beside_peers(book: Book) -> Iterable[Row]:
    """2x from the start on, in the hard cells with the fewest events."""
    for fleet in FLEETS:
        cell = _cell(book, fleet, 0.005, 20.0, Noise.HARD)
        for method in book.methods(cell.name, Regression(2.0)):
            false = false_rollback(book.result(cell.name, method), LONGEST)
            found = detection(
                book.result(cell.name, method, Regression(2.0)), Regression(2.0), fleet, LONGEST
            )
            yield (
                str(fleet),
                method,
                str(false),
                f"{100 - found.found.percent:.1f}",
                _number(found.delay),
                f"{found.requests:,.0f}" if np.isfinite(found.requests) else "-",
                f"{found.exposed:.1f}",
            )


def found_from_start(book: Book) -> Iterable[Row]:
    """A row for each cell of the grid."""
    for cell in book.grid:
        false = false_rollback(book.result(cell.name, PRODUCT_NAME), LONGEST)
        yield (cell.name, str(false), *(_found(book, cell, Regression(ratio)) for ratio in RATIOS))


def found_in_class(book: Book) -> Iterable[Row]:
    """A row for each hard cell with more than one canary."""
    for cell in book.hard():
        if cell.fleet.canaries > 1:
            regressions = [Regression(ratio, Onset.START, Scope.CLASS) for ratio in RATIOS]
            yield (cell.name, *(_found(book, cell, regression) for regression in regressions))


def onsets(book: Book) -> Iterable[Row]:
    """2x and 3x in the hard cells; the product beside the plain statistic."""
    for cell in book.hard():
        for ratio in (2.0, 3.0):
            row = [cell.name, f"{ratio:g}x"]
            for method in (PRODUCT_NAME, STUDY_NAME):
                delays = [
                    _full_delay(book, cell, Regression(ratio, onset), method)
                    for onset in (Onset.START, Onset.MIDDLE, Onset.SLOW)
                ]
                row += [_number(delays[0]), *(_multiple(delay, delays[0]) for delay in delays[1:])]
            yield row


def promotions(book: Book) -> Iterable[Row]:
    """Medium and hard cells of the smaller fleets, and the largest."""
    for cell in book.grid:
        if cell.name.endswith(Noise.CLEAN):
            continue
        row = [cell.name]
        for position, ratio in enumerate(CLEARED):
            bad, waiting = promoted(book.result(cell.name, PRODUCT_NAME, Regression(ratio)), position)
            row += [str(bad) if bad.of else "-", f"{waiting.percent:.0f}"]
        yield row


def stress(book: Book) -> Iterable[Row]:
    """A row for each condition: for each fleet and method the worse of the two traffics."""
    for name, cells in groupby(book.stress, key=lambda cell: cell.name.partition(": ")[0]):
        members = list(cells)
        yield (
            name,
            *(
                _stressed(book, [cell for cell in members if str(cell.fleet) == fleet])
                for fleet in book.fleets[:3]
            ),
        )


def _stressed(book: Book, cells: Sequence[Cell]) -> str:
    if not cells:
        return "-"
    shares = []
    for method in OURS:
        if method in book.methods(cells[0].name):
            found = [false_rollback(book.result(cell.name, method), LONGEST) for cell in cells]
            shares.append(max(found, key=lambda share: share.percent))
    return " / ".join((str(shares[0]), *(f"{share.percent:.1f}" for share in shares[1:])))


def agreement(book: Book) -> tuple[int, int]:
    """How many figures of the study were compared, and how many differ."""
    known = study.figures()
    return len(known), sum(_differs(book, figure) for figure in known)


def against_study(book: Book) -> Iterable[Row]:
    """Each figure of the study with ours behind it."""
    rows: dict[tuple[str, int], dict[float, str]] = {}
    for figure in study.figures():
        rows.setdefault((figure.cell, figure.looks), {})[figure.ratio] = _compared(book, figure)
    for (cell, looks), found in sorted(rows.items(), key=lambda item: _place(book, item[0])):
        yield (cell, str(looks), *(found.get(ratio, "") for ratio in (1.0, *study.RATIOS)))


def _place(book: Book, key: tuple[str, int]) -> tuple[int, int]:
    return [cell.name for cell in book.grid].index(key[0]), key[1]


def _compared(book: Book, figure: study.Figure) -> str:
    share = _our_share(book, figure)
    theirs, ours = f"{figure.percent:g}", f"{share.percent:.1f}"
    if figure.delay is not None:
        regression = Regression(figure.ratio)
        cell = next(cell for cell in book.grid if cell.name == figure.cell)
        delay = detection(
            book.result(cell.name, STUDY_NAME, regression), regression, cell.fleet, figure.looks
        ).delay
        theirs, ours = f"{theirs}@{figure.delay:g}", f"{ours}@{_number(delay)}"
    mark = " **!**" if _differs(book, figure) else ""
    return f"{theirs} : {ours}{mark}"


def _our_share(book: Book, figure: study.Figure) -> Share:
    return false_rollback(book.result(figure.cell, STUDY_NAME, Regression(figure.ratio)), figure.looks)


def _differs(book: Book, figure: study.Figure) -> bool:
    theirs = Share(round(figure.percent * figure.runs / 100), figure.runs)
    return differ(theirs, _our_share(book, figure))


def study_summary(book: Book) -> Iterable[Row]:
    """The worst cells, and the late regression."""
    late = {str(cell.fleet): cell for cell in book.late}
    for fleet in book.fleets:
        theirs = " / ".join(f"{percent:.1f}" for percent in study.WORST_FALSE_ROLLBACK[fleet])
        row = [fleet, theirs, _worst(book, fleet, STUDY_NAME)]
        if fleet not in late:
            yield [*row, "", "", ""]
            continue
        regression = Regression(2.0, Onset.LATE)
        found = [
            _detection(book, late[fleet], regression, LONGEST, method)
            for method in (STUDY_NAME, PRODUCT_NAME)
        ]
        shown = [f"{item.found}@{_number(item.delay)}" for item in found]
        yield [*row, f"{study.LATE_FOUND[fleet]:g}@{study.LATE_DELAY[fleet]}", *shown]


def _detection(
    book: Book, cell: Cell, regression: Regression, horizon: int, method: str = PRODUCT_NAME
) -> Detection:
    return detection(book.result(cell.name, method, regression), regression, cell.fleet, horizon)


def _full_delay(book: Book, cell: Cell, regression: Regression, method: str = PRODUCT_NAME) -> float:
    return full_delay(book.result(cell.name, method, regression), regression)


def _found(book: Book, cell: Cell, regression: Regression) -> str:
    found = [_detection(book, cell, regression, horizon) for horizon in HORIZONS]
    return " ".join(f"{item.found.percent:.0f}" for item in found) + f"@{_number(found[-1].delay)}"


def _cell(book: Book, fleet: Fleet, rate: float, requests: float, noise: Noise) -> Cell:
    name = cell_name(fleet, rate, requests, noise)
    return next(cell for cell in book.grid if cell.name == name)


def _number(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "-"


def _multiple(value: float, of: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.0f} ({value / of:.1f}x)" if np.isfinite(of) else f"{value:.0f}"
