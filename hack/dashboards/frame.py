"""What all dashboards share: variables, links between them, time range; and numbers for their panels."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panels import DATASOURCE

TAG = "edgecanary"


def frame(name: str, title: str, about: str) -> builders.Dashboard:
    """A dashboard without panels, with the variable `datasource`."""
    return (
        builders.Dashboard(title)
        .uid(f"edgecanary-{name}")
        .description(about)
        .tags([TAG])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def variable(name: str, label: str, query: str, *, hidden: bool = False) -> builders.QueryVariable:
    """A variable whose values are those of a label, read anew with the time range."""
    built = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return built.hide(models.VariableHide.HIDE_VARIABLE) if hidden else built


def with_rows(
    dashboard: builders.Dashboard, rows: Sequence[tuple[str, Sequence[Builder[models.Panel]]]]
) -> models.Dashboard:
    """The dashboard with its panels in rows under headings, each with a number of its own."""
    for heading, panels in rows:
        dashboard = dashboard.with_row(builders.Row(heading))
        for panel in panels:
            dashboard = dashboard.with_panel(panel)
    built = dashboard.build()
    for number, numbered in enumerate(built.panels or (), start=1):
        numbered.id_val = number
    return built


def _links() -> builders.DashboardLink:
    return (
        builders.DashboardLink("edgecanary")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )
