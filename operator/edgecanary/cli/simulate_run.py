"""Plays the runs of `edgecanary simulate` and prints what they say."""

import argparse
import sys
from pathlib import Path
from typing import Protocol, cast

from edgecanary.base.errors import InvalidInput
from edgecanary.base.quantities import human_seconds
from edgecanary.cli import lazy
from edgecanary.cli.output import columns, paragraph, print_data
from edgecanary.cli.simulate_case import prepare
from edgecanary.simulator.report import SimulationReport, StepReport, summarize
from edgecanary.simulator.runs import Case, RunResult, play


class _Plotter(Protocol):
    """What the module that needs matplotlib offers."""

    def draw(self, report: SimulationReport, results: list[RunResult], path: Path) -> None:
        """Writes the picture. Raises OSError."""
        ...


def run(options: argparse.Namespace) -> int:
    """Plays and prints; returns the exit code."""
    plotter = _plotter(options.plot)
    prepared = prepare(options)
    results = []
    for number in range(options.runs):
        result, simulation = play(prepared.case, options.seed + number)
        results.append(result)
        if options.log and number == 0:
            sys.stdout.write(simulation.journal.text() + "\n")
    report = summarize(prepared.case, results, prepared.left_out)
    if plotter is not None:
        _draw(plotter, report, results, Path(options.plot))
    if options.output == "table":
        sys.stdout.write(to_table(report, prepared.case))
    else:
        print_data(report, options.output)
    return 0


def to_table(report: SimulationReport, case: Case) -> str:
    """The report for a person."""
    runs = "1 run" if report.runs == 1 else f"{report.runs} runs"
    title = f"{report.rollout} on {report.nodes} nodes, {runs} of at most {report.days:g} days: {report.regression}."
    lines = [*paragraph(title), ""]
    lines += columns([("STEP", "BEGINS", "TAKES", "NODES", "PASSED", "REJECTED", "OPEN"), *_steps(report)])
    lines += ["", *columns([("OUTCOME", "REASON", "RUNS", "SHARE", "AFTER"), *_outcomes(report)]), ""]
    lines += columns(_figures(report, case))
    for name in report.left_out:
        lines += ["", *paragraph(f"Left out: the gate {name}, whose own query nothing answers here.")]
    return "\n".join(lines) + "\n"


def _steps(report: SimulationReport) -> list[tuple[str, ...]]:
    count = len(report.steps)
    return [
        (
            f"{index}/{count} {step.name}",
            _time(step.begin_seconds),
            _time(step.length_seconds),
            "-" if step.nodes is None else f"{step.nodes:g}",
            *_verdicts(step),
        )
        for index, step in enumerate(report.steps, start=1)
    ]


def _verdicts(step: StepReport) -> tuple[str, str, str]:
    return tuple(str(number) if number else "-" for number in (step.passed, step.rejected, step.open))  # type: ignore[return-value]


def _outcomes(report: SimulationReport) -> list[tuple[str, ...]]:
    return [
        (item.outcome, item.reason, str(item.runs), f"{item.share:.0%}", _time(item.seconds))
        for item in report.outcomes
    ]


def _figures(report: SimulationReport, case: Case) -> list[tuple[str, str]]:
    found = "-" if report.detection_seconds is None else _time(report.detection_seconds)
    rows = [
        ("nodes exposed", f"{report.nodes_exposed:g} of {report.nodes}"),
        ("bad answers", f"{report.bad_answers:g}, {report.bad_answers_more:+g} against the version before"),
    ]
    if case.version.regression.times != 1:
        since = "it became worse" if case.version.regression.from_seconds else "it was set"
        rows.insert(0, ("taken back", f"{found} after {since}" if found != "-" else "never"))
    return [(f"{name} (median)" if report.runs > 1 else name, value) for name, value in rows]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else human_seconds(seconds)


def _plotter(path: str | None) -> _Plotter | None:
    """The plotter, before anything is played: a missing package or folder is told at once."""
    if path is None:
        return None
    folder = Path(path).parent
    if not folder.is_dir():
        raise InvalidInput(
            "--plot", f"must be in a folder that exists, got {path!r}", reason="InvalidSetting"
        )
    return cast("_Plotter", lazy.load("simulate_plot", extra="plots"))


def _draw(plotter: _Plotter, report: SimulationReport, results: list[RunResult], path: Path) -> None:
    try:
        plotter.draw(report, results, path)
    except OSError as error:
        text = f"cannot be written: {error.strerror or error}"
        raise InvalidInput("--plot", text, reason="InvalidSetting") from error
