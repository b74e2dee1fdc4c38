"""`edgecanary rollout wait`: until a Rollout is where a script wants it, or cannot come there any more."""

import argparse
import sys
import time

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import NotFound, Unavailable, WrongAnswer
from edgecanary.cli.cluster import Cluster, session
from edgecanary.cli.exits import Exit
from edgecanary.cli.feed import Feed
from edgecanary.cli.objects import qualified
from edgecanary.cli.rollout_find import find_rollout
from edgecanary.clients.follow import Absent, Broken, Followed, Happening, Present, follow
from edgecanary.clients.kube import Forbidden
from edgecanary.clients.resources import EDGE_MODELS, ROLLOUTS
from edgecanary.controller.views import parse
from edgecanary.rollout.goals import Goal, GoalKind, Look, Reach, look, parse_goal

_LOOK_AGAIN_SECONDS = 2.0
"""The EdgeModel is looked at again so often while it is not as far as the Rollout should be."""


def run(options: argparse.Namespace) -> int:
    """Waits; returns the exit code."""
    goal = parse_goal(options.goal)
    with session(options) as cluster:
        rollout = find_rollout(cluster.kube, cluster.namespace, options.name)
        return _Waiting(cluster, goal, options).run(rollout)


class _Waiting:
    """One wait."""

    def __init__(self, cluster: Cluster, goal: Goal, options: argparse.Namespace) -> None:
        self._cluster = cluster
        self._goal = goal
        self._options = options
        self._end = time.monotonic() + options.timeout if options.timeout >= 0 else None
        self._noted = False

    def run(self, rollout: Rollout) -> int:
        """Looks whenever the Rollout changes."""
        meta = rollout.metadata
        what = Followed(ROLLOUTS, meta.namespace, meta.name)
        with Feed[Happening]() as feed:
            feed.read(follow(self._cluster.kube, what, sleep=feed.sleep))
            return self._until(rollout, feed)

    def _until(self, rollout: Rollout, feed: Feed[Happening]) -> int:
        meta = rollout.metadata
        while True:
            found = self._look(rollout)
            if found.reach is not Reach.NOT_YET:
                return self._told(found)
            left = None if self._end is None else self._end - time.monotonic()
            if left is not None and left <= 0:
                return self._too_late(found)
            match feed.next(_LOOK_AGAIN_SECONDS if left is None else min(left, _LOOK_AGAIN_SECONDS)):
                case Present(body):
                    rollout = parse(Rollout, body)
                case Broken(why):
                    sys.stderr.write(f"edgecanary: the watch broke: {why}\n")
                case Absent():
                    raise NotFound(
                        "RolloutDeleted", f"Rollout {meta.name} in namespace {meta.namespace} was deleted"
                    )

    def _look(self, rollout: Rollout) -> Look:
        """What counts is what the EdgeModel declares now; who cannot read it goes by what the operator saw last."""
        if self._goal.kind in (GoalKind.CONDITION, GoalKind.HEALTHY):
            return look(self._goal, rollout)
        meta, name = rollout.metadata, rollout.spec.model_ref.name
        try:
            body = self._cluster.kube.get(EDGE_MODELS, name, namespace=meta.namespace)
            return look(self._goal, rollout, parse(EdgeModel, body))
        except NotFound:
            found = look(self._goal, rollout)
            gone = Look(Reach.NOT_YET, f"there is no EdgeModel {name}")
            return gone if found.reach is Reach.MET else found
        except Forbidden as error:
            if not self._noted:
                self._noted = True
                text = (
                    f"what the operator saw last counts, since the EdgeModel cannot be read: {error.message}"
                )
                sys.stderr.write(f"edgecanary: {text}\n")
            return look(self._goal, rollout)
        except (Unavailable, WrongAnswer) as error:
            return Look(Reach.NOT_YET, error.message)

    def _told(self, found: Look) -> Exit:
        name = qualified(ROLLOUTS, self._options.name)
        if found.reach is Reach.MET:
            sys.stdout.write(f"{name}: {self._goal} met: {found.message}\n")
            return Exit.DONE
        sys.stderr.write(
            f"edgecanary: EndedOtherwise: {name}: {self._goal} cannot come any more: {found.message}\n"
        )
        return Exit.ENDED_OTHERWISE

    def _too_late(self, found: Look) -> Exit:
        text = f"{self._goal} not met within {self._options.timeout:g} s: {found.message}"
        sys.stderr.write(f"edgecanary: TimedOut: {qualified(ROLLOUTS, self._options.name)}: {text}\n")
        return Exit.TIMED_OUT
