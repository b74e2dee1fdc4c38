"""`edgecanary simulate`: what a rollout would do on a fleet that is not there, when the new version is worse.

The planner, the gates and the nodes' decisions are the real ones; the fleet, its requests and its troubles are
drawn from the seed, on simulated time. Exit codes: 0 for an answer, 2 for wrong usage or a file that breaks a
rule.
"""

import argparse
import re
import sys
from typing import Protocol, cast

from edgecanary.base.errors import InvalidInput
from edgecanary.cli import lazy

EXIT_WRONG_INPUT = 2
MOST_NODES = 100_000
MOST_RUNS = 10_000
_TIME = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(s|m|h|d)$")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LABEL = re.compile(r"^([^=\s]+)=([^=\s]*)$")


class _Runner(Protocol):
    """What the module that needs the operator's packages offers."""

    def run(self, options: argparse.Namespace) -> int:
        """Plays and prints; returns the exit code."""
        ...


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags."""
    text = (__doc__ or "").partition("\n\n")
    parser = subparsers.add_parser(
        "simulate",
        help="play a rollout on a simulated fleet",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_subject(parser)
    _add_new_version(parser)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="seed of the first run; the next run has the next seed")
    add("--runs", type=_runs, default=1, help="how many runs", metavar="R")
    add("--days", type=_days, default=30.0, help="the longest time that a run takes, in days")
    add("-o", "--output", choices=("table", "json", "yaml"), default="table", help="how to print it")
    add("--plot", help="write a picture of the runs; needs the extra 'plots'", metavar="FILE.png")
    add("--log", action="store_true", help="print what happened in the first run, line by line")


def run(options: argparse.Namespace) -> int:
    """Plays and prints; returns the exit code."""
    runner = cast("_Runner", lazy.load("simulate_run", extra="operator"))
    try:
        return runner.run(options)
    except InvalidInput as error:
        sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
        return EXIT_WRONG_INPUT


def _add_subject(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-f", "--filename", required=True, help="YAML with a Rollout and, best, its EdgeModel; - is stdin",
        metavar="FILE",
    )  # fmt: skip
    add("--nodes", type=_nodes, help="how many nodes to make up", metavar="N")
    add("--fleet", help="YAML with Nodes, such as kubectl get nodes -o yaml gives", metavar="FILE")
    add(
        "--requests-per-hour",
        type=_positive,
        default=60.0,
        help="of a median node (default: 60)",
        metavar="X",
    )
    add(
        "--error-rate", type=_share, default=0.01, help="share of failed answers today (default: 0.01)",
        metavar="SHARE",
    )  # fmt: skip


def _add_new_version(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--worse",
        type=_positive,
        default=1.0,
        help="times the bad answers of today (default: 1)",
        metavar="K",
    )
    add(
        "--share", type=_share, default=1.0, help="share of the nodes on which it is worse (default: 1)",
        metavar="SHARE",
    )  # fmt: skip
    add("--on", type=_label, help="it is worse only on nodes with this label", metavar="LABEL=VALUE")
    add(
        "--from", dest="start", type=_time, default=0.0, metavar="TIME",
        help="it becomes worse so long after it was set, such as 36h (s, m, h, d)",
    )  # fmt: skip


def _nodes(text: str) -> int:
    return _whole(text, MOST_NODES)


def _runs(text: str) -> int:
    return _whole(text, MOST_RUNS)


def _whole(text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number within 1 and {most}, got {text!r}")
    return int(text)


def _days(text: str) -> float:
    value = _positive(text)
    if value > 3650:
        raise argparse.ArgumentTypeError(f"must not be above 3650, got {text!r}")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a share above 0 and at most 1, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _time(text: str) -> float:
    match = _TIME.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 30m, 36h or 2d, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def _label(text: str) -> tuple[str, str]:
    match = _LABEL.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be a label and its value, such as hardware=neon, got {text!r}"
        )
    return match[1], match[2]
