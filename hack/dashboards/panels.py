"""Panels of a few kinds that look alike on all dashboards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"

COLORS: Mapping[str, str] = {
    "Active": GREEN,
    "updated": GREEN,
    "Promoted": GREEN,
    "reporting": GREEN,
    "Adopted": GREEN,
    "Pending": BLUE,
    "pending": BLUE,
    "Progressing": BLUE,
    "Suspended": YELLOW,
    "Superseded": GREY,
    "Withdrawn": GREY,
    "later": GREY,
    "incompatible": "#5a5a5a",
    "offline": ORANGE,
    "straggling": ORANGE,
    "silent": YELLOW,
    "Aborted": YELLOW,
    "failed": RED,
    "Reverted": RED,
    "RolledBack": RED,
    "Failing": "dark-red",
    "Invalid": "purple",
}
"""One color for a state, wherever it is shown."""


@dataclass(frozen=True)
class Query:
    """PromQL, and what each of its series is called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Look:
    """How values are shown. `steps` are a color for what is above each value, the first one for all below."""

    unit: str = "short"
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    mappings: Mapping[str, tuple[str, str]] | None = None
    """Text and color in place of a value."""
    decimals: int | None = None


def number(title: str, about: str, *queries: Query, look: Look | None = None, width: int = 4) -> stat.Panel:
    """Large numbers, one for each series."""
    shown = look or Look()
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(shown.unit)
        .thresholds(_thresholds(shown))
        .color_mode(options.BigValueColorMode.VALUE)
        .graph_mode(options.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text_mode(
            options.BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else options.BigValueTextMode.AUTO
        )
        .no_value("none")
        .height(4)
        .span(width)
    )
    if shown.decimals is not None:
        panel = panel.decimals(shown.decimals)
    if shown.mappings:
        panel = panel.mappings(_mappings(shown.mappings))
    return panel.targets(_targets(queries, instant=True))


def names(title: str, about: str, query: Query, *, width: int = 4) -> stat.Panel:
    """The names of the series that there are, such as a version."""
    panel = number(title, about, query, width=width)
    return panel.text_mode(options.BigValueTextMode.NAME)


def bars(title: str, about: str, query: Query, *, width: int = 8, height: int = 7) -> bargauge.Panel:
    """One bar for each series, as of now."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit("short")
        .min(0)
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(height)
        .span(width)
        .targets(_targets([query], instant=True))
    )
    for name, color in COLORS.items():
        panel = panel.override_by_name(name, [_fixed(color)])
    return panel


def lines(
    title: str,
    about: str,
    *queries: Query,
    look: Look | None = None,
    stacked: bool = False,
    width: int = 8,
) -> timeseries.Panel:
    """Values over time; stacked where the series add up to a whole."""
    shown = look or Look()
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(shown.unit)
        .min(0)
        .line_width(1)
        .fill_opacity(60 if stacked else 8)
        .show_points(options.VisibilityMode.NEVER)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))
        .height(8)
        .span(width)
        .targets(_targets(queries, instant=False))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
        for name, color in COLORS.items():
            panel = panel.override_by_name(name, [_fixed(color)])
    return panel


def timeline(
    title: str, about: str, query: Query, states: Mapping[str, tuple[str, str]], *, width: int = 12
) -> statetimeline.Panel:
    """One row for each series, colored by its state; `states` has text and color of each value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .mappings(_mappings(states))
        .show_value(options.VisibilityMode.NEVER)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(80)
        .legend(_legend())
        .height(8)
        .span(width)
        .targets(_targets([query], instant=False))
    )


def rows(
    title: str, about: str, query: Query, hidden: Sequence[str] = (), *, width: int = 12, unit: str = "short"
) -> table.Panel:
    """A table of the series there are now: their labels, and their values unless they are hidden."""
    renamed: dict[str, object] = {"excludeByName": dict.fromkeys(["Time", *hidden], True)}
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(unit)
        .show_header(True)
        .height(8)
        .span(width)
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=renamed))
        .targets(_targets([query], instant=True, form=PromQueryFormat.TABLE))
    )


def _targets(
    queries: Sequence[Query], *, instant: bool, form: PromQueryFormat = PromQueryFormat.TIME_SERIES
) -> list[Builder[variants.Dataquery]]:
    built: list[Builder[variants.Dataquery]] = []
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).format(form)
        target = target.instant() if instant else target.range()
        built.append(target.legend_format(query.legend or "__auto"))
    return built


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _thresholds(look: Look) -> builders.ThresholdsConfig:
    steps = [models.Threshold(value=value, color=color) for value, color in look.steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _mappings(states: Mapping[str, tuple[str, str]]) -> list[models.ValueMapping]:
    results = {
        value: models.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(states.items())
    }
    return [models.ValueMap(options=results)]


def _fixed(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
