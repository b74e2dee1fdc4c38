"""`edgecanary rollout list`: the Rollouts of a namespace or of all."""

import argparse
import sys
from datetime import datetime

from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RevisionReference
from edgecanary.base.clock import SystemClock
from edgecanary.base.quantities import human_seconds
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.objects import print_names, print_objects, print_table
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.views import parse
from edgecanary.rollout.conditions import find_condition

_HEAD = ("NAME", "STABLE", "CANARY", "STEP", "UPDATED", "GATES", "READY", "REASON", "AGE")


def run(options: argparse.Namespace) -> int:
    """Prints the Rollouts; returns the exit code."""
    with session(options) as cluster:
        namespace = None if options.all_namespaces else cluster.namespace
        bodies = cluster.kube.list_all(ROLLOUTS, _body, namespace=namespace, labels=options.selector).items
        if options.output in ("json", "yaml"):
            print_objects(bodies, options.output, as_list=True)
            return Exit.DONE
        rollouts = [parse(Rollout, body) for body in bodies]
    if options.output == "name":
        print_names(ROLLOUTS, [rollout.metadata.name for rollout in rollouts])
    elif not rollouts:
        where = "" if namespace is None else f" in namespace {namespace}"
        sys.stderr.write(f"No Rollouts found{where}.\n")
    else:
        now = SystemClock().now()
        head, rows = to_table(rollouts, now, everywhere=namespace is None, wide=options.output == "wide")
        print_table(head, rows)
    return Exit.DONE


def to_table(
    rollouts: list[Rollout], now: datetime, *, everywhere: bool, wide: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: what `kubectl get rollouts` shows; wide ones with the model, the attempt and the message."""
    head = (("NAMESPACE",) if everywhere else ()) + _HEAD + (("MODEL", "ATTEMPT", "MESSAGE") if wide else ())
    rows = []
    for rollout in rollouts:
        place = (rollout.metadata.namespace,) if everywhere else ()
        rows.append((*place, *_row(rollout, now), *(_more(rollout) if wide else ())))
    return head, rows


def _row(rollout: Rollout, now: datetime) -> tuple[str, ...]:
    status, created = rollout.status, rollout.metadata.creation_timestamp
    ready = find_condition(status.conditions, ConditionType.READY)
    return (
        rollout.metadata.name,
        _version(status.stable),
        _version(status.canary),
        (status.step.display or status.step.name) if status.step else "-",
        status.nodes.display or "-",
        (status.analysis.display if status.analysis else "") or "-",
        ready.status if ready else "-",
        ready.reason if ready else "NotObserved",
        human_seconds((now - created).total_seconds()) if created else "-",
    )


def _more(rollout: Rollout) -> tuple[str, ...]:
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    message = ready.message if ready else "no operator has looked at it yet"
    return rollout.spec.model_ref.name, str(rollout.status.attempt or "-"), message


def _version(reference: RevisionReference | None) -> str:
    return (reference.version or reference.revision[:12]) if reference else "-"


def _body(body: JsonObject) -> JsonObject:
    # Items of a list come without what they are.
    return {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind, **body}
