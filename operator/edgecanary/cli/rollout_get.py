"""`edgecanary rollout get`: one Rollout as it stands."""

import argparse
import sys

from edgecanary.api.rollout import Rollout
from edgecanary.base.clock import SystemClock
from edgecanary.cli import rollout_watch, terminal
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.fleet_look import look_at_fleet
from edgecanary.cli.objects import print_names, print_objects
from edgecanary.cli.rollout_find import find_rollout_body
from edgecanary.cli.rollout_picture import Manner, draw, picture
from edgecanary.cli.screen import plain, styled
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.views import parse

_UNCUT = 1_000_000


def run(options: argparse.Namespace) -> int:
    """Prints the Rollout; returns the exit code."""
    if options.watch:
        return rollout_watch.run(options)
    with session(options) as cluster:
        body = find_rollout_body(cluster.kube, cluster.namespace, options.name)
        if options.output == "name":
            print_names(ROLLOUTS, [options.name])
        elif options.output in ("json", "yaml"):
            print_objects([body], options.output, as_list=False)
        else:
            rollout = parse(Rollout, body)
            fleet = look_at_fleet(cluster, rollout, options.system_namespace).fleet
            manner = Manner(SystemClock().now(), terminal.signs(), wide=options.output == "wide")
            lines = draw(picture(rollout, fleet), manner)
            if terminal.has_colour(refused=options.no_color):
                sys.stdout.write("".join(f"{styled(one, columns=_UNCUT, colour=True)}\n" for one in lines))
            else:
                sys.stdout.write(plain(lines))
    return Exit.DONE
