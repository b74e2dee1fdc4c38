"""`edgecanary rollout promote`, `abort` and `retry`: a token in an annotation, once it means something."""

import argparse
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import Rollout
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import Conflict, EdgecanaryError
from edgecanary.cli.cluster import Cluster, session
from edgecanary.cli.exits import Exit
from edgecanary.cli.feed import Feed
from edgecanary.cli.objects import print_names, print_objects, qualified
from edgecanary.cli.rollout_find import find_rollout_body
from edgecanary.cli.rollout_refused import Refused
from edgecanary.clients.follow import Absent, Followed, Happening, Present, follow
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.views import parse
from edgecanary.rollout.asking import Ask, handled, pending_token, refusal
from edgecanary.rollout.conditions import find_condition

MANAGER = "kubectl-edgecanary"
"""Whom the API server names as the writer of what people ask for."""

_TRIES = 5
_DONE = {Ask.PROMOTE: "promoted", Ask.ABORT: "abort asked for", Ask.RETRY: "retry asked for"}


@dataclass(frozen=True)
class Change:
    """What is to be written into a Rollout. `patch` is a merge patch without a version; None: it is so already."""

    said: str
    patch: JsonObject | None


@dataclass(frozen=True)
class Changed:
    """What came of it: the object as it is now."""

    change: Change
    body: JsonObject


def run(options: argparse.Namespace) -> int:
    """Asks for it; returns the exit code."""
    ask, full = Ask(options.action), getattr(options, "full", False)
    with session(options) as cluster:

        def wanted(rollout: Rollout) -> Change:
            if pending := pending_token(rollout, ask, full=full):
                return Change(f"asked for already by {pending}, and not acted on yet", None)
            if (why := refusal(rollout, ask, full=full)) is not None:
                raise Refused(why.reason, f"{options.name}: {why.message}")
            token = new_token(SystemClock().now(), full=full)
            return Change(_said(ask, full=full), {"metadata": {"annotations": {ask.annotation: token}}})

        changed = change(cluster, options, wanted)
        print_changed(changed, options)
        token = parse(Rollout, changed.body).metadata.annotations.get(ask.annotation, "")
        if options.wait and options.dry_run == "none":
            return wait_for_echo(cluster, options, lambda rollout: handled(rollout, ask, token))
    return Exit.DONE


def new_token(now: datetime, *, full: bool) -> str:
    """A token that nobody has used: when, and a random part. One for a full promotion begins with `full`."""
    begin = "full-" if full else ""
    return f"{begin}{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def change(cluster: Cluster, options: argparse.Namespace, wanted: Callable[[Rollout], Change]) -> Changed:
    """Writes what is wanted of the Rollout as it is; when somebody else writes meanwhile, it is looked at anew.

    Raises Conflict when that goes on and on, NotFound, and whatever `wanted` raises.
    """
    conflict: Conflict | None = None
    for _ in range(_TRIES):
        body = find_rollout_body(cluster.kube, cluster.namespace, options.name)
        rollout = parse(Rollout, body)
        asked = wanted(rollout)
        if asked.patch is None or options.dry_run == "client":
            return Changed(asked, body if asked.patch is None else _merged(body, asked.patch))
        version: JsonObject = {"metadata": {"resourceVersion": rollout.metadata.resource_version}}
        try:
            written = cluster.kube.merge(
                ROLLOUTS,
                options.name,
                _merged(version, asked.patch),
                namespace=rollout.metadata.namespace,
                manager=MANAGER,
                dry_run=options.dry_run == "server",
            )
        except Conflict as error:
            conflict = error
            continue
        return Changed(asked, written)
    text = f"{options.name} was written by others {_TRIES} times meanwhile; nothing was changed: try again"
    raise Conflict("Conflict", text) from conflict


def print_changed(changed: Changed, options: argparse.Namespace) -> None:
    """Says what was written, or gives the object."""
    if options.output in ("json", "yaml"):
        print_objects([changed.body], options.output, as_list=False)
    elif options.output == "name":
        print_names(ROLLOUTS, [options.name])
    else:
        how = "" if options.dry_run == "none" else f" ({options.dry_run} dry run)"
        sys.stdout.write(f"{qualified(ROLLOUTS, options.name)} {changed.change.said}{how}\n")
        sys.stdout.flush()


def wait_for_echo(cluster: Cluster, options: argparse.Namespace, seen: Callable[[Rollout], bool]) -> Exit:
    """Waits until the status shows that the operator has acted, and says what it says then."""
    what = Followed(ROLLOUTS, cluster.namespace, options.name)
    with Feed[Happening]() as feed:
        feed.read(follow(cluster.kube, what, sleep=feed.sleep))
        return _until(feed, options, seen)


def _until(feed: Feed[Happening], options: argparse.Namespace, seen: Callable[[Rollout], bool]) -> Exit:
    end = time.monotonic() + options.timeout if options.timeout >= 0 else None
    while True:
        news = feed.next(None if end is None else max(0.0, end - time.monotonic()))
        if isinstance(news, Absent):
            raise EdgecanaryError("RolloutDeleted", f"Rollout {options.name} was deleted meanwhile")
        if isinstance(news, Present):
            rollout = parse(Rollout, news.body)
            if seen(rollout):
                ready = find_condition(rollout.status.conditions, ConditionType.READY)
                if ready is not None and options.output == "text":
                    sys.stdout.write(f"{ready.reason}: {ready.message}\n")
                return Exit.DONE
        if end is not None and time.monotonic() >= end:
            text = f"the operator has not acted on it within {options.timeout:g} s; it does so once it runs"
            sys.stderr.write(f"edgecanary: TimedOut: {options.name}: {text}\n")
            return Exit.TIMED_OUT


def _said(ask: Ask, *, full: bool) -> str:
    return "promoted to all nodes, past bakes and gates" if full else _DONE[ask]


def _merged(body: JsonObject, patch: JsonObject) -> JsonObject:
    """The object with a merge patch that deletes nothing."""
    found = dict(body)
    for key, value in patch.items():
        before = found.get(key)
        found[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found
