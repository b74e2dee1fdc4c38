"""`edgecanary rollout history`: a Rollout's last ten revisions and how each ended."""

import argparse
import sys
from datetime import datetime

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import HistoryEntry
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_seconds
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.objects import print_body, print_table
from edgecanary.cli.rollout_find import find_rollout
from edgecanary.rollout.returning import earlier

_HEAD = ("VERSION", "REVISION", "OUTCOME", "REASON", "ATTEMPT", "STARTED", "ENDED", "TOOK")


def run(options: argparse.Namespace) -> int:
    """Prints the history, the newest first; returns the exit code."""
    with session(options) as cluster:
        rollout = find_rollout(cluster.kube, cluster.namespace, options.name)
    entries = tuple(reversed(rollout.status.history))
    if options.output in ("json", "yaml"):
        items: list[JsonObject] = [entry.to_json() for entry in entries]
        print_body(
            {"namespace": rollout.metadata.namespace, "name": options.name, "items": [*items]}, options.output
        )
    elif options.output == "name":
        sys.stdout.write("".join(f"{entry.revision}\n" for entry in entries))
    elif not entries:
        sys.stderr.write(f"Rollout {options.name} has no history yet.\n")
    else:
        print_table(*to_table(rollout, wide=options.output == "wide"))
    return Exit.DONE


def to_table(rollout: Rollout, *, wide: bool) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows, the newest first; wide ones with whole digests and what each revision is now."""
    rows = []
    for entry in reversed(rollout.status.history):
        digest = entry.revision if wide else entry.revision[:12]
        began, ended = entry.start_time, entry.end_time
        row = (
            entry.version or "-",
            digest,
            entry.outcome.value,
            entry.reason or "-",
            str(entry.attempt),
            _moment(began),
            _moment(ended),
            human_seconds((ended - began).total_seconds()) if began else "-",
        )
        rows.append((*row, *((_now(rollout, entry),) if wide else ())))
    return _HEAD + (("NOW",) if wide else ()), rows


def _now(rollout: Rollout, entry: HistoryEntry) -> str:
    """What the revision is to the Rollout now."""
    status = rollout.status
    if status.stable is not None and status.stable.revision == entry.revision:
        return "stable"
    if status.canary is not None and status.canary.revision == entry.revision:
        return "canary"
    rejected = next((known for known in status.rejected if known.revision == entry.revision), None)
    if rejected is not None:
        return f"rejected: {rejected.message}"
    before = earlier(status.history, status.stable.revision) if status.stable else ()
    at_once = entry.revision in before[: rollout.spec.strategy.rollback_window_revisions]
    return "the EdgeModel may return to it at once" if at_once else "-"


def _moment(moment: datetime | None) -> str:
    return to_rfc3339(moment.replace(microsecond=0)) if moment else "-"
