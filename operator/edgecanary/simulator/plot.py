"""A picture of many runs: how far the new version reached, and how each run ended."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgecanary.simulator.report import SimulationReport
from edgecanary.simulator.runs import RunResult
from edgecanary.simulator.settings import HOUR

COLOURS = {"Promoted": "#2a7f3f", "RolledBack": "#c0392b", "InProgress": "#7f8c8d"}
OTHER = "#8e6c00"


def draw(report: SimulationReport, results: Sequence[RunResult], path: Path) -> None:
    """Writes a PNG: nodes that run the new version over time, one line for each run. Raises OSError."""
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown: set[str] = set()
    for run in results:
        hours = [moment / HOUR for moment, _ in run.reach] + [run.seconds / HOUR]
        nodes = [count for _, count in run.reach] + [run.reach[-1][1] if run.reach else 0]
        label = run.outcome if run.outcome not in shown else None
        shown.add(run.outcome)
        colour = COLOURS.get(run.outcome, OTHER)
        axes.step(hours, nodes, where="post", color=colour, alpha=0.6, linewidth=1.2, label=label)
    for step in report.steps:
        if step.begin_seconds is not None:
            axes.axvline(step.begin_seconds / HOUR, color="#bbbbbb", linewidth=0.8, zorder=0)
            axes.annotate(
                step.name, (step.begin_seconds / HOUR, 1.0), xycoords=("data", "axes fraction"),
                rotation=90, va="top", fontsize=8, color="#666666",
            )  # fmt: skip
    axes.set_title(f"{report.rollout} on {report.nodes} nodes: {report.regression}", fontsize=10)
    axes.set_xlabel("hours since the new version was set")
    axes.set_ylabel("nodes that run it")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, format="png", dpi=120)
