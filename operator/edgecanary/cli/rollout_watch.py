"""`edgecanary rollout watch`: one Rollout live, in its place on a terminal, else one block for each change."""

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.rollout import Rollout
from edgecanary.base.clock import SystemClock, to_rfc3339
from edgecanary.base.errors import NotFound
from edgecanary.cli import terminal
from edgecanary.cli.cluster import Cluster, session
from edgecanary.cli.exits import Exit
from edgecanary.cli.feed import Feed
from edgecanary.cli.fleet_look import look_at_fleet
from edgecanary.cli.live import LiveText
from edgecanary.cli.rollout_find import find_rollout
from edgecanary.cli.rollout_picture import NO_FLEET, Fleet, Manner, Picture, draw, picture
from edgecanary.cli.screen import Line, Style, plain, wrapped
from edgecanary.clients.follow import Absent, Broken, Followed, Happening, Present, follow
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.views import parse
from edgecanary.rollout.why import Explanation, Standing

_REDRAW_SECONDS = 1.0
_SETTLE_SECONDS = 0.5
"""A change of the Rollout and what the nodes say of it come one after the other: shown together."""
_LONGEST_SETTLE_SECONDS = 5.0

_LABEL = 11


@dataclass(frozen=True)
class _Seen:
    """What is known at one moment."""

    rollout: Rollout
    fleet: Fleet = NO_FLEET
    fleet_known: bool = False
    trouble: str = ""

    @property
    def picture(self) -> Picture:
        return picture(self.rollout, self.fleet)


def run(options: argparse.Namespace) -> int:
    """Shows the Rollout until it ends, if that is asked for, or until Ctrl-C; returns the exit code."""
    with session(options) as cluster:
        first = find_rollout(cluster.kube, cluster.namespace, options.name)
        with Feed[Happening | Fleet]() as feed:
            watch = _Watch(cluster, first, options, feed)
            return watch.live() if terminal.is_terminal() else watch.blocks()


def ended(told: Explanation, *, fresh: bool) -> Exit | None:
    """How the rollout ended, None while it goes on. `fresh`: the operator has seen the spec as it is."""
    if not fresh or told.standing is Standing.WAITING:
        return None
    return Exit.DONE if told.standing is Standing.DONE else Exit.ENDED_OTHERWISE


class _Watch:
    """One Rollout being followed."""

    def __init__(
        self,
        cluster: Cluster,
        first: Rollout,
        options: argparse.Namespace,
        feed: Feed[Happening | Fleet],
    ) -> None:
        self._options = options
        self._seen = _Seen(first)
        self._signs = terminal.signs()
        self._feed = feed

        def look() -> tuple[Fleet, float]:
            found = look_at_fleet(cluster, self._seen.rollout, options.system_namespace)
            return found.fleet, found.pause_seconds

        self._refresher = feed.refresh(look)
        meta = first.metadata
        what = Followed(ROLLOUTS, meta.namespace, meta.name)
        feed.read(follow(cluster.kube, what, sleep=feed.sleep))
        self._refresher.ask()

    def live(self) -> int:
        """Draws once a second, and at once when something changes."""
        colour = terminal.has_colour(refused=self._options.no_color)
        with LiveText(sys.stdout, colour=colour) as screen:
            while True:
                screen.draw(self._lines(SystemClock().now()))
                if (code := self._end()) is not None:
                    return code
                self._take(_REDRAW_SECONDS)

    def blocks(self) -> int:
        """Prints what it looks like whenever that has changed, and on standard error what happens to the watch."""
        shown = trouble = ""
        while True:
            self._settle()
            if self._seen.trouble != trouble:
                trouble = self._seen.trouble
                sys.stderr.write(f"edgecanary: {trouble or 'the watch goes on'}\n")
            text = plain(draw(self._seen.picture, self._manner(None)))
            if text != shown and self._seen.fleet_known:
                shown = text
                sys.stdout.write(f"--- {to_rfc3339(SystemClock().now().replace(microsecond=0))}\n{text}\n")
                sys.stdout.flush()
            if self._seen.fleet_known and (code := self._end()) is not None:
                return code

    def _settle(self) -> None:
        """Waits for news, and until no more comes for a moment."""
        self._take(None)
        end = time.monotonic() + _LONGEST_SETTLE_SECONDS
        while self._take(_SETTLE_SECONDS) and time.monotonic() < end:
            pass

    def _take(self, seconds: float | None) -> bool:
        """Takes in the next piece of news. Raises NotFound when the Rollout is deleted."""
        news = self._feed.next(seconds)
        seen = self._seen
        match news:
            case Present(body):
                rollout = parse(Rollout, body)
                self._seen = _Seen(rollout, seen.fleet, seen.fleet_known)
                self._refresher.ask()
            case Broken(why, wait):
                again = f"; next try in {wait:.0f} s" if wait >= 1 else ""
                self._seen = _Seen(
                    seen.rollout, seen.fleet, seen.fleet_known, f"the watch broke: {why}{again}"
                )
            case Absent():
                meta = seen.rollout.metadata
                raise NotFound(
                    "RolloutDeleted", f"Rollout {meta.name} in namespace {meta.namespace} was deleted"
                )
            case Fleet():
                self._seen = _Seen(seen.rollout, news, fleet_known=True, trouble=seen.trouble)
        return news is not None

    def _end(self) -> Exit | None:
        if not self._options.exit_on_end:
            return None
        rollout = self._seen.rollout
        fresh = rollout.status.observed_generation >= rollout.metadata.generation
        return ended(self._seen.picture.explanation, fresh=fresh)

    def _lines(self, now: datetime) -> list[Line]:
        lines = draw(self._seen.picture, self._manner(now))
        if self._seen.trouble:
            lines += [(), *_careful(wrapped("Watch", self._seen.trouble, width=_LABEL))]
        return lines

    def _manner(self, now: datetime | None) -> Manner:
        return Manner(now, self._signs, wide=self._options.output == "wide")


def _careful(lines: list[Line]) -> list[Line]:
    return [tuple(type(span)(span.text, Style.CAREFUL) for span in spans) for spans in lines]
