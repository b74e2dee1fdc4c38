"""The page is written from results, whatever they are."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gates import page, tables
from benchmarks.gates.cells import Cell, Onset, Regression, everything
from benchmarks.gates.harness import Result, Results, judges
from benchmarks.gates.ours import OURS, PRODUCT_NAME
from benchmarks.gates.peers import PEERS, at_horizons

RUNS = 40
CELLS = [replace(cell, runs=RUNS) for cell in everything()]

Alarms = Callable[[Cell, str, Regression], int]


def results(alarms: Alarms) -> dict[str, Results]:
    """All runs of a cell, a method and a regression give alarm at the same look."""
    return {cell.name: _results(cell, alarms) for cell in CELLS}


def _results(cell: Cell, alarms: Alarms) -> Results:
    found = {}
    for method in (*OURS, *PEERS):
        for regression in (known for known in cell.regressions if judges(method, cell, known)):
            looks = np.full(RUNS, alarms(cell, method, regression), np.int16)
            cleared = np.full((3, RUNS), 50, np.int16)
            found[method, regression] = Result(at_horizons(looks), cleared, np.ones(RUNS, np.float32))
    return found


def perfect(_: Cell, __: str, regression: Regression) -> int:
    if regression.ratio == 1:
        return 0
    return {"start": 20, "tick 60": 80, "middle": 145, "slow": 80}[regression.onset]


def goals(alarms: Alarms) -> list[str]:
    """The last column of the goals."""
    return [row[-1] for row in tables.goals(tables.Book(CELLS, results(alarms)))]


def test_every_table_is_whole_and_every_image_is_there(tmp_path: Path) -> None:
    page.write(tmp_path, CELLS, results(perfect))
    text = (tmp_path / "benchmarks-gates.md").read_text()
    blocks = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(blocks) >= 9
    for lines in blocks:
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1, lines[0]
    images = re.findall(r"\]\((images/[^)]+)\)", text)
    assert len(images) == 3
    for image in images:
        assert (tmp_path / image).stat().st_size < 200_000
    assert "nan" not in text.replace("nano", "")


def test_the_same_results_give_the_same_page_and_images(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        page.write(tmp_path / name, CELLS, results(perfect))
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_goals_that_are_reached_are_met() -> None:
    assert set(goals(perfect)) == {"met"}


@pytest.mark.parametrize(
    ("cells", "regressions", "unmet"),
    [
        ("12x3 5%/20 hard", (1.0,), [0]),
        ("100x5 0.5%/20 hard", (2.0,), [1]),
        ("warm-up", (1.0,), [7]),
    ],
)
def test_a_goal_that_one_cell_misses_is_not_met(
    cells: str, regressions: tuple[float, ...], unmet: list[int]
) -> None:
    def alarms(cell: Cell, method: str, regression: Regression) -> int:
        if method == PRODUCT_NAME and cell.name.startswith(cells) and regression.ratio in regressions:
            return 0 if regression.ratio > 1 else 9
        return perfect(cell, method, regression)

    found = goals(alarms)
    assert [number for number, text in enumerate(found) if text != "met"] == unmet


def test_a_late_delay_beyond_one_and_a_half_is_not_met() -> None:
    def alarms(cell: Cell, method: str, regression: Regression) -> int:
        late = regression == Regression(3.0, Onset.MIDDLE)
        return 160 if late and method == PRODUCT_NAME else perfect(cell, method, regression)

    assert [number for number, text in enumerate(goals(alarms)) if text != "met"] == [5]
