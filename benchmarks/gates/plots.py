"""The plots of the page, as small SVG files that do not change when the figures do not."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gates.cells import GOOD, Onset, Regression
from benchmarks.gates.figures import full_delay
from benchmarks.gates.ours import PRODUCT_NAME, STUDY_NAME
from benchmarks.gates.peers import Z_TEST_NAME
from benchmarks.gates.tables import GOAL_PERCENT, LONGEST, Book

_COLOURS = ("#0b6e4f", "#6cae75", "#8bbd8b", "#b3541e", "#d98e04", "#7d5ba6", "#444444", "#c1121f")


def false_rollbacks(book: Book, file: Path) -> None:
    """The worst cell of each fleet, by method."""
    methods = book.methods(book.of_fleet("100x5")[0].name)
    figure, axes = _figure(7.5, 3.4)
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        shares = [book.worst(fleet, method, LONGEST) for fleet in book.fleets]
        places = [place for place, share in enumerate(shares) if share is not None]
        heights = np.array([share.percent for share in shares if share is not None])
        bounds = np.array([share.interval for share in shares if share is not None]).T
        axes.bar(
            np.array(places) + (number + 0.5) * width - 0.4,
            heights,
            width,
            label=method,
            color=_COLOURS[number],
            yerr=np.abs(bounds - heights),
            error_kw={"lw": 0.8},
        )
    axes.axhline(GOAL_PERCENT, color="black", lw=0.8, ls="--")
    axes.set_xticks(range(len(book.fleets)), book.fleets)
    axes.set_ylabel("false rollbacks in the worst cell, %")
    axes.set_xlabel("nodes x canaries; the line is the goal of 5 %")
    axes.set_ylim(0, 100)
    figure.legend(loc="outside upper center", fontsize=7, ncol=4)
    _save(figure, file)


def found_over_time(book: Book, file: Path) -> None:
    """The share taken back, by look, of 2x from the start on and of a good revision, for the smaller fleets."""
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    methods = ((PRODUCT_NAME, _COLOURS[0]), (STUDY_NAME, _COLOURS[5]), (Z_TEST_NAME, _COLOURS[3]))
    for number, fleet in enumerate(("12x1", "12x3", "100x5")):
        cell = next(c for c in book.hard() if str(c.fleet) == fleet)
        axes = figure.add_subplot(1, 3, number + 1)
        for method, colour in methods:
            for regression, style, name in ((Regression(2.0), "-", "2x worse"), (GOOD, ":", "good")):
                alarm = book.result(cell.name, method, regression).alarm[-1].astype(int)
                share = 100 * np.cumsum(np.bincount(alarm, minlength=LONGEST + 1)[1:]) / alarm.size
                label = f"{method}: {name}" if number == 0 else None
                axes.plot(np.arange(1, LONGEST + 1), share, style, color=colour, label=label, lw=1.3)
        axes.set_title(cell.name, fontsize=8)
        axes.set_ylim(0, 100)
        axes.set_xlabel("looks")
        if number == 0:
            axes.set_ylabel("taken back, %")
    figure.legend(loc="outside lower center", fontsize=7, ncol=3)
    _save(figure, file)


def onsets(book: Book, file: Path) -> None:
    """The median delay of a regression that comes late or slowly against that of one from the start on."""
    figure, axes = _figure(5.0, 3.6)
    for colour, method in zip((_COLOURS[0], _COLOURS[3]), (PRODUCT_NAME, STUDY_NAME), strict=True):
        for onset, marker in ((Onset.MIDDLE, "o"), (Onset.SLOW, "^")):
            points = [
                (
                    full_delay(book.result(cell.name, method, Regression(ratio)), Regression(ratio)),
                    full_delay(
                        book.result(cell.name, method, Regression(ratio, onset)), Regression(ratio, onset)
                    ),
                )
                for cell in book.hard()
                for ratio in (1.5, 2.0, 3.0)
            ]
            kept = np.array([point for point in points if np.isfinite(point).all()]).reshape(-1, 2)
            label = f"{method}: {'late' if onset is Onset.MIDDLE else 'slow'}"
            axes.plot(kept[:, 0], kept[:, 1], marker, color=colour, label=label, ms=4, alpha=0.8)
    line = np.array([1, LONGEST])
    axes.plot(line, line, color="black", lw=0.8)
    axes.plot(line, 1.5 * line, color="black", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("delay from the start on, looks")
    axes.set_ylabel("delay late or slow; dashed: 1.5x")
    axes.legend(fontsize=6)
    _save(figure, file)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, file: Path) -> None:
    with mpl.rc_context():
        mpl.rcParams["svg.fonttype"] = "none"
        mpl.rcParams["svg.hashsalt"] = "gates"
        figure.savefig(file, metadata={"Date": None})
    # Lines end without blanks, as the repository wants it.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
