"""The operator's part: the real planner on the simulated cluster, woken as the real work queue is woken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from edgecanary.analysis.query import Answer
from edgecanary.rollout.gates import next_measurement, window_seconds
from edgecanary.rollout.planner import due_queries, plan
from edgecanary.rollout.snapshot import Plan, Snapshot
from edgecanary.simulator.answers import Look, Prometheus
from edgecanary.simulator.clockwork import Clockwork, Timer, seconds_at
from edgecanary.simulator.cluster import Cluster
from edgecanary.simulator.counts import AttemptCounts, tick_of
from edgecanary.simulator.journal import Journal
from edgecanary.simulator.settings import Pace
from edgecanary.simulator.telemetry import Telemetry

WAKE_SECONDS = 0.2


@dataclass
class SimOperator:
    """Looks at the Rollout whenever something changed, at the operator's pace, and when time alone may change it."""

    clockwork: Clockwork
    cluster: Cluster
    telemetry: Telemetry
    prometheus: Prometheus
    journal: Journal
    pace: Pace
    running: bool = True
    dies_after_release: bool = False
    """The next time it writes a release it ends before it writes the status."""
    looks: int = 0
    last_plan: Plan | None = None
    _timer: Timer | None = None
    _last: float = field(default=float("-inf"))
    _attempt: tuple[str, int] | None = None

    def wake(self) -> None:
        """Something changed: it looks soon, and not more often than its pace allows."""
        pause = self.pace.rolling if self._is_rolling() else self.pace.settled
        self._schedule(max(self.clockwork.now + WAKE_SECONDS, self._last + pause))

    def wake_soon(self) -> None:
        """A person changed something: it looks at once."""
        self._schedule(self.clockwork.now + WAKE_SECONDS)

    def stop(self) -> None:
        """The process ends."""
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def start(self) -> None:
        """A new process remembers nothing and looks at once."""
        self.running = True
        self._last = float("-inf")
        self.wake_soon()

    def _schedule(self, moment: float) -> None:
        if not self.running or (self._timer is not None and self._timer.moment <= moment):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.clockwork.at(moment, self._look)

    def _is_rolling(self) -> bool:
        release = self.cluster.release
        return release is None or release.spec.canary is not None

    def _look(self) -> None:
        self._timer = None
        self._last = self.clockwork.now
        self.looks += 1
        snapshot = self._observe()
        made = plan(self._with_answers(snapshot), self.clockwork.time)
        self.last_plan = made
        self._carry_out(made)
        if self.running and made.requeue_seconds is not None:
            self._schedule(self.clockwork.now + max(0.05, made.requeue_seconds))

    def _observe(self, answers: Mapping[str, Answer] | None = None) -> Snapshot:
        return Snapshot(
            rollout=self.cluster.rollout,
            model=self.cluster.model,
            release=self.cluster.release,
            fleet=tuple(self.cluster.views.values()),
            answers=answers or {},
        )

    def _with_answers(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with Prometheus's answers where a look is due."""
        now, status = self.clockwork.time, snapshot.rollout.status
        release, step, analysis = snapshot.release, status.step, snapshot.rollout.spec.analysis
        if analysis is None or next_measurement(analysis, status.analysis, now) > now:
            return snapshot
        due = due_queries(snapshot, now)
        if not due or release is None or release.spec.canary is None:
            return snapshot
        self.telemetry.advance(self.clockwork.now)
        begin = now - timedelta(seconds=window_seconds(step, now)) if step else now
        stable = release.spec.stable.revision if release.spec.stable else ""
        look = Look(release.spec.canary.revision, stable, seconds_at(begin))
        metrics = {metric.name: metric for metric in analysis.metrics}
        answers = {query.metric: self.prometheus.answer(query, metrics[query.metric], look) for query in due}
        return self._observe(answers)

    def _carry_out(self, made: Plan) -> None:
        """As the real one: what is decided is told, then written to the release, then to the status."""
        moment = self.clockwork.now
        for event in made.events:
            self.journal.tell(moment, event.reason, event.message, made.status)
        wrote = made.release is not None and self.cluster.write_release(made.release)
        if wrote:
            self._follow_attempt()
        if wrote and self.dies_after_release:
            self.dies_after_release = False
            self.stop()
            self.journal.note(moment, "operator", "dies", "after the release, before the status")
            return
        self.cluster.write_status(made.status)
        self.journal.stand(moment, made.status)

    def _follow_attempt(self) -> None:
        """Prometheus keeps counts from the moment a new attempt begins."""
        release = self.cluster.release
        canary = release.spec.canary if release else None
        attempt = (canary.revision, canary.attempt) if canary else None
        if release is None or attempt == self._attempt:
            if canary is not None and self.prometheus.attempt is not None:
                self.prometheus.attempt.begin_step(canary.step, self.clockwork.now)
            return
        self._attempt = attempt
        self.telemetry.advance(self.clockwork.now)
        stable, analysis = release.spec.stable, self.cluster.rollout.spec.analysis
        counts = None
        if canary is not None and stable is not None and analysis is not None:
            counts = AttemptCounts(
                self.telemetry, canary.revision, stable.revision, self.clockwork.now, tick_of(analysis)
            )
        self.telemetry.follow(counts)
        self.prometheus.attempt = counts
