"""The pictures in the guide: drawn from the dashboards' own JSON, small, and there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from dashboards.answers import Answers, Found
from dashboards.page import page as drawn
from dashboards.pictures import IMAGES, MOST_BYTES
from dashboards.units import shown
from tests.unit.docs.pages import page
from tests.unit.monitoring.dashboard_files import dashboards, panels

VALUES = {"namespace": "plant", "rollout": "pump", "model": "pump", "node": "edge-01"}


@dataclass(frozen=True)
class Told(Answers):
    """Answers every question with the same series."""

    series: tuple[Found, ...] = ()

    def now(self, expression: str) -> list[Found]:
        return list(self.series)

    def over_time(self, expression: str) -> list[Found]:
        return list(self.series)


def answers(*values: float) -> Told:
    points: Sequence[tuple[float, float]] = [(float(moment), value) for moment, value in enumerate(values)]
    labels = {"version": "2.4.0", "state": "<b>", "gate": "errors"}
    series = (Found(labels, points),) if values else ()
    return Told("http://127.0.0.1:1", 0.0, 10.0, series)


@pytest.mark.parametrize("name", ["fleet", "node", "rollout"])
@pytest.mark.parametrize("values", [(), (0.0,), (1.0, -2.5, 3e9)])
def test_every_panel_is_drawn_whatever_the_answers_are(name: str, values: tuple[float, ...]) -> None:
    dashboard = dashboards()[name]
    text, height = drawn(dashboard, answers(*values), VALUES, {"Node": "edge-01"})
    assert text.count("<section") == len(list(panels(dashboard)))
    assert height > 500
    assert "<b>," not in text
    assert "Not Grafana" in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "short", "0"),
        (12, "short", "12"),
        (1530, "short", "1.53 k"),
        (0.25, "percentunit", "25 %"),
        (0.0042, "s", "4.2 ms"),
        (90, "s", "1.5 min"),
        (31_536_000, "s", "365 d"),
        (-600, "s", "-10 min"),
        (67_108_864, "bytes", "64 MiB"),
        (2048, "Bps", "2 KiB/s"),
        (4.5, "reqps", "4.5 req/s"),
    ],
)
def test_numbers_are_shown_with_units_that_a_person_reads(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_the_guides_pictures_are_there_and_small() -> None:
    named = set(re.findall(r"\.\./images/(monitoring-\w+\.png)", page("docs/guides/monitoring.md")))
    assert named == {f"monitoring-{name}.png" for name in ("alerts", "fleet", "node", "rollout")}
    for name in named:
        content = (IMAGES / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert 10_000 < len(content) <= MOST_BYTES
