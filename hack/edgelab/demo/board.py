"""What there is to see of a rollout: the state of each node, and of the Rollout, from the live copy."""

from collections.abc import Callable

from rich.table import Table

from edgecanary.api.edgenode import ModelState, NodeModelStatus
from edgelab.fleet import Subject
from edgelab.fleet.subject import ready_of
from edgelab.modelzoo.counts import AgentCount, TrafficReport

_STYLES = {ModelState.ACTIVE: "green", ModelState.PENDING: "yellow", ModelState.REVERTED: "red"}
_MESSAGE_WIDTH = 150


class Board:
    """The state of one model's rollout on a fleet.

    Args:
        subject: the model and its Rollout.
        traffic: gives the traffic's counts so far.
        name_of: gives a revision's version.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        traffic: Callable[[], TrafficReport],
        name_of: Callable[[str], str],
    ) -> None:
        self._subject = subject
        self._traffic = traffic
        self._name_of = name_of

    def version(self, revision: str | None) -> str:
        """The revision's version, or a dash when there is none."""
        return self._name_of(revision) if revision else "-"

    def lines(self) -> dict[str, str]:
        """One line for the Rollout and one for each node; a line changes when something happens."""
        lines = {"rollout": self._rollout_line()}
        reports = self._subject.reports()
        for node, report in sorted(reports.items()):
            lines[node] = f"{node}: {self._report(report)}"
        return lines

    def table(self) -> Table:
        """All of it as a table."""
        reports = self._subject.reports()
        counts = self._traffic().agents
        title = f"{self._subject.namespace}/{self._subject.name}"
        table = Table(title=title, caption=self._rollout_line(), expand=True)
        for column in ("node", "hardware", "version", "state", "answered", "wrong", "failed"):
            table.add_column(column, no_wrap=True)
        for name, plan in self._subject.fleet.plans.items():
            report = reports.get(name)
            running = self._subject.fleet.agents[name].running
            state = self._state(report) if running else "[dim]offline[/dim]"
            version = self.version(report.active) if report else "-"
            table.add_row(name, plan.hardware, version, state, *_figures(counts.get(name)))
        return table

    def _rollout_line(self) -> str:
        status = self._subject.status()
        ready = ready_of(status)
        if ready is None:
            return "Rollout: the operator has not looked at it yet"
        step = f", step {status.step.display}" if status.step else ""
        return f"Rollout: {ready.reason}{step}, nodes {status.nodes.display}: {_cut(ready.message)}"

    def _state(self, report: NodeModelStatus | None) -> str:
        if report is None:
            return "[dim]silent[/dim]"
        why = f" ({report.reason})" if report.reason not in ("", report.state) else ""
        style = _STYLES.get(report.state, "white")
        return f"[{style}]{report.state}{why}[/{style}]"

    def _report(self, report: NodeModelStatus) -> str:
        why = f" ({report.reason}: {_cut(report.message)})" if report.message else ""
        if report.state is ModelState.ACTIVE:
            return f"runs {self.version(report.active)}"
        return f"{report.state} {self.version(report.desired)}, runs {self.version(report.active)}{why}"


def _figures(count: AgentCount | None) -> tuple[str, str, str]:
    if count is None:
        return "-", "-", "-"
    answered = sum(revision.answered for revision in count.revisions.values())
    wrong = sum(revision.incorrect for revision in count.revisions.values())
    return str(answered), str(wrong), str(sum(count.failed.values()))


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_WIDTH else f"{text[: _MESSAGE_WIDTH - 1]}…"
