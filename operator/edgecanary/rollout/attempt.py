"""One attempt at a revision: what stays the same from step to step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from edgecanary.api.modelrelease import CanaryStatement, RevisionStatement
from edgecanary.rollout.cohort import Share, Stratum, cutoffs, quotas, to_bounds
from edgecanary.rollout.context import Context
from edgecanary.rollout.fleet import StepView, Targets, targets, view_step
from edgecanary.rollout.statement import without_urls

KEPT_TIMES = 20


@dataclass(frozen=True)
class Attempt:
    """An attempt, and how far the release lets it reach.

    `keys` and `salt` are those that it began with: who comes first does not change on the way. `bounds` are the
    release's; they only grow. `times` are when its steps so far began, the first one first.
    """

    context: Context
    statement: RevisionStatement
    number: int
    keys: tuple[str, ...]
    salt: str
    found: Targets
    bounds: Mapping[Stratum, int]
    times: tuple[datetime, ...] = ()

    def grown(self, position: int) -> dict[Stratum, int]:
        """The bounds that reach as far as the step says, and nowhere less far than they do."""
        members = self.found.by_stratum(self.keys)
        return cutoffs(members, self._share(position), salt=self.salt, current=self.bounds)

    def view(self, bounds: Mapping[Stratum, int]) -> StepView:
        """The nodes within the bounds, by how far they are."""
        return view_step(
            self.found,
            self.keys,
            dict(bounds),
            salt=self.salt,
            revision=self.statement.revision,
            attempt=self.number,
        )

    def widest_enough(self) -> int:
        """The first step whose share is not below what the canary covers already, or the last step."""
        covered = len(self.view(self.bounds).nodes)
        sizes = {stratum: len(names) for stratum, names in self.found.by_stratum(self.keys).items()}
        last = len(self.context.spec.strategy.steps) - 1
        wide = (
            position
            for position in range(last)
            if sum(quotas(sizes, self._share(position)).values()) >= covered
        )
        return next(wide, last)

    def reaching(self, bounds: Mapping[Stratum, int]) -> "Attempt":
        """The attempt with these bounds."""
        return replace(self, bounds=bounds)

    def entering(self, moment: datetime) -> "Attempt":
        """The attempt with one more step begun; of too many, the first and the last ones are known."""
        times = (*self.times, moment)
        return replace(
            self, times=times if len(times) <= KEPT_TIMES else (times[0], *times[1 - KEPT_TIMES :])
        )

    def _share(self, position: int) -> Share:
        step = self.context.spec.strategy.steps[position]
        return Share(percent=step.percent, nodes=step.nodes)


def new_attempt(context: Context, target: RevisionStatement) -> Attempt:
    """The next attempt at the revision, which reaches nobody yet."""
    return Attempt(
        context=context,
        statement=target,
        number=context.attempts(target.revision) + 1,
        keys=context.spec.strategy.stratify_by,
        salt=context.salt(target.revision),
        found=targets(context.spec, context.snapshot.fleet, target),
        bounds={},
    )


def current_attempt(context: Context, canary: CanaryStatement, target: RevisionStatement | None) -> Attempt:
    """The attempt that is under way, with the order of nodes that it began with."""
    statement = target if target and target.revision == canary.revision else without_urls(canary)
    release, strategy = context.release, context.spec.strategy
    attempt = Attempt(
        context=context,
        statement=statement,
        number=canary.attempt,
        keys=release.stratify_by if release else strategy.stratify_by,
        salt=release.salt if release else context.salt(canary.revision),
        found=targets(context.spec, context.snapshot.fleet, statement),
        bounds=to_bounds(canary.cutoffs),
        times=_times(context, canary),
    )
    if release is None:  # deleted: no step so far may have reached further than the bounds that are made anew
        for position in range(min(canary.step + 1, len(strategy.steps))):
            attempt = attempt.reaching(attempt.grown(position))
    return attempt


def _times(context: Context, canary: CanaryStatement) -> tuple[datetime, ...]:
    status = context.status
    if not context.knows(canary):
        return ()
    if status.analysis is not None and status.analysis.step_times:
        return status.analysis.step_times
    began = status.step.start_time if status.step else context.now
    return tuple(dict.fromkeys((status.start_time or began, began)))
