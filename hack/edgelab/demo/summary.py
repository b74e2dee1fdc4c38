"""The report as tables."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from edgelab.demo.report import Report, TakingBack


def summary(report: Report) -> RenderableType:
    """What happened when, what it cost, how fast a bad version went away, what clients saw."""
    parts: list[RenderableType] = [_happened(report), _writes(report)]
    if report.taking_back is not None:
        parts.append(_taking_back(report.taking_back))
    parts.append(_requests(report))
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _happened(report: Report) -> Table:
    table = _table("What happened when", "s", "", "what")
    for item in report.happened:
        table.add_row(f"{item.at_seconds:.1f}", item.scenario, item.what)
    return table


def _writes(report: Report) -> Table:
    table = _table(
        f"Writes to the API server, {report.nodes} nodes",
        "version", "by nodes", "per node", "most by one", "by the operator",
    )  # fmt: skip
    for item in report.api_writes:
        operator = ", ".join(f"{count} {resource}" for resource, count in item.by_operator.items())
        table.add_row(
            item.version,
            str(item.by_agents),
            f"{item.by_agents_per_node:.2f}",
            str(item.most_by_a_node),
            operator,
        )
    return table


def _taking_back(item: TakingBack) -> Table:
    table = _table(f"Taking back {item.version}", "seconds", "from … to")
    for what, seconds in (
        ("first wrong answer to release withdrawn", item.first_wrong_answer_to_withdrawn),
        ("release withdrawn to last node reverted", item.withdrawn_to_last_node_reverted),
        ("first wrong answer to last node reverted", item.first_wrong_answer_to_last_node_reverted),
    ):
        table.add_row("-" if seconds is None else f"{seconds:.2f}", what)
    return table


def _requests(report: Report) -> Table:
    requests = report.requests
    table = _table("Requests", "count", "what")
    kinds = ", ".join(f"{count} {kind}" for kind, count in requests.failed_by_kind.items())
    versions = ", ".join(f"{count} by {version}" for version, count in requests.by_version.items())
    table.add_row(str(requests.answered), f"answered: {versions}")
    table.add_row(str(requests.incorrect), "of these wrong, as the model's mistake")
    table.add_row(str(requests.failed), f"failed{': ' if kinds else ''}{kinds}")
    table.add_row(
        str(requests.answered_by_a_wrong_revision), "answered by a revision that was not, or no longer, meant"
    )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
