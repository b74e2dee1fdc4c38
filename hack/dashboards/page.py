"""A dashboard's JSON and Prometheus's answers as one page of HTML. Not Grafana, and it says so."""

import html
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.answers import Answers, Found
from dashboards.drawing import PALETTE, Frame, Series, bands, color, lines
from dashboards.units import shown
from dashboards.variables import fill
from edgelab.api import JsonObject

WIDTH = 1200
_UNIT, _ROW, _GAP, _TITLE, _LEGEND = WIDTH / 24, 34, 8, 30, 24

_STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 13px "DejaVu Sans", sans-serif; }
svg text { font-family: "DejaVu Sans", sans-serif; }
header { padding: 10px 12px; height: 20px; white-space: nowrap; }
header b { font-size: 16px; margin-right: 18px; } header span { margin-right: 16px; color: #9fa7b3; }
main { position: relative; } section { position: absolute; box-sizing: border-box; overflow: hidden; }
section.panel { background: #181b1f; border: 1px solid #2c3235; border-radius: 3px; }
h2 { font-size: 13px; font-weight: 600; margin: 0; padding: 8px 10px 0; height: 22px; }
h3 { font-size: 15px; margin: 7px 4px; font-weight: 600; }
.stat { display: flex; align-items: center; justify-content: center; height: 84px; font-size: 28px; gap: 24px;
  white-space: nowrap; text-align: center; }
.stat small { display: block; font-size: 12px; color: #9fa7b3; }
.legend { padding: 2px 10px; height: 20px; overflow: hidden; white-space: nowrap; font-size: 11px; }
.legend i { display: inline-block; width: 10px; height: 3px; margin: 0 5px 3px 0; }
.legend span { margin-right: 14px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 5px 10px;
  border-bottom: 1px solid #2c3235; } th { color: #8ab8ff; font-weight: 500; }
.bar { display: flex; align-items: center; margin: 7px 10px; } .bar label { width: 92px; }
.bar div { height: 17px; margin-right: 8px; border-radius: 2px; min-width: 2px; }
.none { color: #9fa7b3; text-align: center; padding-top: 60px; }
footer { padding: 8px 12px; color: #9fa7b3; font-size: 11px; }
"""


@dataclass(frozen=True)
class Place:
    """Where a panel is, in pixels."""

    x: int
    y: int
    width: int
    height: int


def page(
    dashboard: JsonObject, answers: Answers, values: Mapping[str, str], chosen: Mapping[str, str]
) -> tuple[str, int]:
    """The page, and its height in pixels. `values` are for all variables, `chosen` those that are shown."""
    panels = [(_place(panel), _panel(panel, answers, values)) for panel in dashboard["panels"]]
    height = max(place.y + place.height for place, _ in panels) + 8
    picked = "".join(f"<span>{name}: {html.escape(value)}</span>" for name, value in chosen.items())
    window = " to ".join(time.strftime("%H:%M:%S", time.gmtime(t)) for t in (answers.begin, answers.end))
    body = "".join(_section(place, panel) for place, panel in panels)
    text = (
        f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>"
        f"<header><b>{html.escape(dashboard['title'])}</b>{picked}<span>{window} UTC</span></header>"
        f'<main style="height:{height}px">{body}</main>'
        "<footer>Drawn by hack/dashboards from this dashboard's JSON and a real Prometheus. Not Grafana.</footer>"
    )
    return text, height + 40 + 31


def _place(panel: JsonObject) -> Place:
    grid = panel["gridPos"]
    return Place(
        x=round(grid["x"] * _UNIT) + _GAP // 2,
        y=grid["y"] * _ROW,
        width=round(grid["w"] * _UNIT) - _GAP,
        height=grid["h"] * _ROW - _GAP,
    )


def _section(place: Place, content: tuple[str, str]) -> str:
    kind, inside = content
    style = f"left:{place.x}px;top:{place.y}px;width:{place.width}px;height:{place.height}px"
    return f'<section class="{kind}" style="{style}">{inside}</section>'


def _panel(panel: JsonObject, answers: Answers, values: Mapping[str, str]) -> tuple[str, str]:
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return "row", f"<h3>{title}</h3>"
    over_time = panel["type"] in {"timeseries", "state-timeline"}
    found: list[Found] = []
    for target in panel["targets"]:
        expression = fill(target["expr"], values)
        asked = answers.over_time(expression) if over_time else answers.now(expression)
        found += [one.named(target.get("legendFormat", "")) for one in asked]
    if not found:
        none = html.escape(str(panel["fieldConfig"]["defaults"].get("noValue", "no data")))
        return "panel", f'<h2>{title}</h2><div class="none" style="padding-top:24px">{none}</div>'
    draw = {"stat": _stat, "bargauge": _bars, "table": _table}.get(panel["type"])
    body = draw(panel, found) if draw else _chart(panel, found, answers)
    return "panel", f"<h2>{title}</h2>{body}"


def _stat(panel: JsonObject, found: Sequence[Found]) -> str:
    look, mode = panel["fieldConfig"]["defaults"], panel["options"].get("textMode", "auto")
    parts = []
    for one in found[:4]:
        if mode == "name":
            parts.append(f'<div style="color:#73bf69">{html.escape(one.name or "none")}</div>')
            continue
        name = f"<small>{html.escape(one.name)}</small>" if one.name and len(found) >= 1 else ""
        tone = color(_threshold(look, one.last))
        parts.append(f'<div style="color:{tone}">{shown(one.last, look.get("unit", "short"))}{name}</div>')
    return f'<div class="stat">{"".join(parts)}</div>'


def _threshold(look: JsonObject, value: float) -> str:
    chosen = "green"
    for step in look["thresholds"]["steps"]:
        if step.get("value") is None or value >= step["value"]:
            chosen = step["color"]
    return chosen


def _bars(panel: JsonObject, found: Sequence[Found]) -> str:
    tones = _overrides(panel)
    most = max((one.last for one in found), default=0) or 1
    width = round(panel["gridPos"]["w"] * _UNIT) - 180
    parts = []
    for number, one in enumerate(found):
        tone = tones.get(one.name, PALETTE[number % len(PALETTE)])
        size = round(width * one.last / most)
        name = html.escape(one.name)
        parts.append(
            f'<div class="bar"><label>{name}</label><div style="width:{size}px;background:{tone}"></div>'
            f"{one.last:g}</div>"
        )
    return "".join(parts)


def _table(panel: JsonObject, found: Sequence[Found]) -> str:
    hidden = panel["transformations"][0]["options"]["excludeByName"]
    names = sorted({name for one in found for name in one.labels if name not in hidden})
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(one.labels.get(name, ''))}</td>" for name in names) + "</tr>"
        for one in found
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _chart(panel: JsonObject, found: Sequence[Found], answers: Answers) -> str:
    place, tones = _place(panel), _overrides(panel)
    series = [
        Series(one.name, tones.get(one.name, PALETTE[number % len(PALETTE)]), one.points)
        for number, one in enumerate(found)
    ]
    frame = Frame(place.width - 4, place.height - _TITLE - _LEGEND, answers.begin, answers.end)
    look = panel["fieldConfig"]["defaults"]
    if panel["type"] == "state-timeline":
        states = look["mappings"][0]["options"]
        tones = {value: color(state["color"]) for value, state in states.items()}
        picture = bands(series, frame, tones, step=answers.step)
        legend = [(state["text"], color(state["color"])) for state in states.values()]
    else:
        stacked = look["custom"].get("stacking", {}).get("mode") == "normal"
        picture = lines(series, frame, unit=look.get("unit", "short"), stacked=stacked, step=answers.step)
        legend = [(one.name, one.color) for one in series]
    shown_names = "".join(
        f'<span><i style="background:{tone}"></i>{html.escape(name)}</span>' for name, tone in legend
    )
    return f'{picture}<div class="legend">{shown_names}</div>'


def _overrides(panel: JsonObject) -> Mapping[str, str]:
    return {
        override["matcher"]["options"]: color(override["properties"][0]["value"]["fixedColor"])
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName" and re.match("color", override["properties"][0]["id"])
    }
