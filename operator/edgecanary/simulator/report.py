"""What many runs of one rollout say together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from edgecanary.api.fields import ApiModel
from edgecanary.base.quantities import human_seconds
from edgecanary.simulator.runs import Case, RunResult
from edgecanary.simulator.settings import Regression


class StepReport(ApiModel):
    """A step over all runs. Times are medians, in seconds since the new version was set."""

    name: str
    reached: int
    begin_seconds: float | None
    length_seconds: float | None
    nodes: float | None
    passed: int
    rejected: int
    open: int


class OutcomeReport(ApiModel):
    """How runs ended: how many, for which reason, after which median time in seconds."""

    outcome: str
    reason: str
    runs: int
    share: float
    seconds: float


class RunReport(ApiModel):
    """One run in short."""

    seed: int
    outcome: str
    reason: str
    seconds: float
    nodes_exposed: int
    answers: int
    bad_answers: int
    bad_answers_more: float


class SimulationReport(ApiModel):
    """What a rollout did on a simulated fleet. `detection_seconds` is from the regression's onset, the median."""

    rollout: str
    nodes: int
    runs: int
    days: float
    regression: str
    left_out: tuple[str, ...]
    steps: tuple[StepReport, ...]
    outcomes: tuple[OutcomeReport, ...]
    detection_seconds: float | None
    nodes_exposed: float
    bad_answers: float
    bad_answers_more: float
    each: tuple[RunReport, ...]


def summarize(case: Case, results: Sequence[RunResult], left_out: Sequence[str] = ()) -> SimulationReport:
    """The report on at least one run."""
    worse = case.version.regression
    taken_back = [run.seconds for run in results if run.outcome == "RolledBack"]
    late = [max(0.0, seconds - worse.from_seconds) for seconds in taken_back]
    return SimulationReport(
        rollout=case.rollout.metadata.name or case.rollout.spec.model_ref.name,
        nodes=len(case.nodes),
        runs=len(results),
        days=case.days,
        regression=describe(worse),
        left_out=tuple(left_out),
        steps=tuple(_step(step.name, results) for step in case.rollout.spec.strategy.steps),
        outcomes=tuple(_outcomes(results)),
        detection_seconds=median(late) if late and worse.times != 1 else None,
        nodes_exposed=median(run.exposed for run in results),
        bad_answers=median(run.bad for run in results),
        bad_answers_more=_rounded(median(run.excess for run in results)),
        each=tuple(_run(run) for run in results),
    )


def describe(worse: Regression) -> str:
    """A regression for a person."""
    if worse.times == 1:
        return "the new version is as good as the one before"
    where = f" with {worse.on[0]}={worse.on[1]}" if worse.on else ""
    who = f"{worse.share:.0%} of the nodes{where}" if worse.share < 1 else f"every node{where}"
    when = f", from {human_seconds(worse.from_seconds)} on" if worse.from_seconds else ""
    return f"the new version has {worse.times:g} times the bad answers on {who}{when}"


def _step(name: str, results: Iterable[RunResult]) -> StepReport:
    found = [step for run in results for step in run.steps if step.name == name]
    verdicts = Counter(step.verdict for step in found)
    lengths = [step.end - step.begin for step in found if step.end is not None]
    return StepReport(
        name=name,
        reached=len(found),
        begin_seconds=median(step.begin for step in found) if found else None,
        length_seconds=median(lengths) if lengths else None,
        nodes=median(step.nodes for step in found) if found else None,
        passed=verdicts["passed"],
        rejected=verdicts["rejected"],
        open=verdicts["open"],
    )


def _outcomes(results: Sequence[RunResult]) -> Iterable[OutcomeReport]:
    kinds = Counter((run.outcome, run.reason) for run in results)
    for (outcome, reason), count in kinds.most_common():
        seconds = [run.seconds for run in results if (run.outcome, run.reason) == (outcome, reason)]
        yield OutcomeReport(
            outcome=outcome, reason=reason, runs=count, share=count / len(results), seconds=median(seconds)
        )


def _run(run: RunResult) -> RunReport:
    return RunReport(
        seed=run.seed,
        outcome=run.outcome,
        reason=run.reason,
        seconds=run.seconds,
        nodes_exposed=run.exposed,
        answers=round(run.answers),
        bad_answers=round(run.bad),
        bad_answers_more=_rounded(run.excess),
    )


def _rounded(number: float) -> float:
    """One decimal, and no minus before nothing."""
    return round(number, 1) + 0.0
