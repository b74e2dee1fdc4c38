"""Charts as SVG: lines, stacked areas and bands of states."""

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dashboards.units import shown

PALETTE = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c0d8ff", "#96d98d")
NAMED: Mapping[str, str] = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "blue": "#5794f2",
    "purple": "#b877d9",
}
"""Grafana's names of colors."""

_LEFT, _BOTTOM, _TOP = 80, 20, 8
_GRID, _TEXT = "#2c3235", "#9fa7b3"


@dataclass(frozen=True)
class Series:
    """Values over time; a gap where there was none."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """The size of a picture in pixels, and the time that it covers."""

    width: int
    height: int
    begin: float
    end: float

    def x(self, moment: float) -> float:
        """Where a time is."""
        return _LEFT + (moment - self.begin) / (self.end - self.begin) * (self.width - _LEFT - 8)

    @property
    def bottom(self) -> int:
        """Where the axis of time is."""
        return self.height - _BOTTOM


def color(name: str) -> str:
    """A color of Grafana's, as CSS."""
    return NAMED.get(name, name)


def lines(series: Sequence[Series], frame: Frame, *, unit: str, stacked: bool, step: float) -> str:
    """Lines, or areas on top of each other; points further apart than three steps are not joined."""
    drawn = _stack(series) if stacked else [(one, None) for one in series]
    values = [value for one, _ in drawn for _, value in one.points]
    top = _ceiling(max(values, default=0.0), unit)
    low = -_ceiling(-min(values), unit) if values and min(values) < -top / 10 else 0.0

    def y(value: float) -> float:
        return frame.bottom - (max(value, low) - low) / (top - low) * (frame.bottom - _TOP)

    parts = [_axes(frame, [(low + (top - low) * share / 4) for share in range(5)], y, unit)]
    for one, below in reversed(drawn):
        for run in _runs(one.points, 3 * step):
            path = " ".join(f"{frame.x(moment):.1f},{y(value):.1f}" for moment, value in run)
            if below is not None:
                floor = [(moment, below.get(moment, 0.0)) for moment, _ in reversed(run)]
                back = " ".join(f"{frame.x(moment):.1f},{y(value):.1f}" for moment, value in floor)
                parts.append(f'<polygon points="{path} {back}" fill="{one.color}" fill-opacity="0.55"/>')
            parts.append(f'<polyline points="{path}" fill="none" stroke="{one.color}" stroke-width="1.6"/>')
    return _svg(frame, parts)


def bands(series: Sequence[Series], frame: Frame, colors: Mapping[str, str], *, step: float) -> str:
    """One row for each series, in the color of its value at each time."""
    parts = [_axes(frame, [], lambda value: value, "")]
    height = (frame.bottom - _TOP) / max(1, len(series))
    for number, one in enumerate(series):
        top = _TOP + number * height
        middle = top + height / 2 + 4
        name = html.escape(one.name)
        parts.append(f'<text x="{_LEFT - 6}" y="{middle:.0f}" text-anchor="end" fill="#ccccdc">{name}</text>')
        for moment, value in one.points:
            left, right = frame.x(moment - step), frame.x(moment)
            fill = colors.get(f"{value:g}", "#5a5a5a")
            parts.append(
                f'<rect x="{left:.1f}" y="{top + 4:.1f}" width="{right - left + 0.4:.1f}"'
                f' height="{height - 8:.1f}" fill="{fill}" fill-opacity="0.85"/>'
            )
    return _svg(frame, parts)


def _svg(frame: Frame, parts: Sequence[str]) -> str:
    size = f'width="{frame.width}" height="{frame.height}" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def _axes(frame: Frame, marks: Sequence[float], y: Callable[[float], float], unit: str) -> str:
    parts = []
    for mark in marks:
        height = f"{y(mark):.1f}"
        parts.append(
            f'<line x1="{_LEFT}" x2="{frame.width - 8}" y1="{height}" y2="{height}" stroke="{_GRID}"/>'
        )
        text = html.escape(shown(mark, unit))
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end" fill="{_TEXT}">{text}</text>'
        )
    ticks = 3 if frame.width < 300 else 4 if frame.width < 500 else 7
    for number in range(ticks):
        moment = frame.begin + (frame.end - frame.begin) * (number + 0.5) / ticks
        text = time.strftime("%H:%M:%S", time.gmtime(moment))
        parts.append(
            f'<text x="{frame.x(moment):.0f}" y="{frame.height - 4}" text-anchor="middle" fill="{_TEXT}">{text}</text>'
        )
    return "".join(parts)


def _stack(series: Sequence[Series]) -> list[tuple[Series, dict[float, float] | None]]:
    """Each series on top of those before it, with where it begins."""
    floor: dict[float, float] = {}
    found: list[tuple[Series, dict[float, float] | None]] = []
    for one in series:
        below = dict(floor)
        points = [(moment, below.get(moment, 0.0) + value) for moment, value in one.points]
        floor.update(points)
        found.append((replace(one, points=points), below))
    return found


def _runs(points: Sequence[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = []
    for point in points:
        if not runs or point[0] - runs[-1][-1][0] > gap:
            runs.append([])
        runs[-1].append(point)
    return runs


def _ceiling(value: float, unit: str) -> float:
    """A round number above the value; powers of two for bytes."""
    if value <= 0:
        return 1.0
    base = {"bytes": 2.0**20, "Bps": 2.0**10}.get(unit, 1.0)
    size = 1e-9
    while True:
        for factor in (1, 2, 4, 5, 8):
            if size * factor * base >= value * 1.02:
                return size * factor * base
        size *= 10
