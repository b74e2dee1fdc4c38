"""The flags that mean the same as kubectl's."""

import argparse
from collections.abc import Sequence

from edgecanary.cli.flags import Flags

DEFAULT_SYSTEM_NAMESPACE = "edgecanary-system"
TABLE_FORMATS = ("table", "wide", "json", "yaml", "name")


def add_cluster_flags(
    parser: argparse.ArgumentParser, *, everywhere: bool = False, selector: str = "", system: bool = True
) -> None:
    """Which cluster, as whom, and which namespace.

    `everywhere` adds -A, `selector` is what -l selects, `system` adds the namespace of the EdgeNodes.
    """
    parser.add_argument("-n", "--namespace", help="namespace, by default the context's", metavar="NAME")
    if everywhere:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    if selector:
        parser.add_argument(
            "-l", "--selector", default="", help=f"labels of the {selector}", metavar="LABELS"
        )
    parser.add_argument(
        "--context", help="context of the kubeconfig, by default its current one", metavar="NAME"
    )
    flags = Flags(parser)
    flags.text(
        "--kubeconfig",
        default=None,
        help="kubeconfig to reach the API server with, by default KUBECONFIG, the pod's account or ~/.kube/config",
        metavar="FILE",
    )
    parser.add_argument(
        "--cluster", help="cluster of the kubeconfig, by default the context's", metavar="NAME"
    )
    parser.add_argument("--user", help="user of the kubeconfig, by default the context's", metavar="NAME")
    parser.add_argument("--as", dest="as_user", help="user to act as", metavar="NAME")
    parser.add_argument(
        "--as-group", action="append", help="group to act as, with --as; may be repeated", metavar="NAME"
    )
    if system:
        flags.text(
            "--system-namespace",
            default=DEFAULT_SYSTEM_NAMESPACE,
            help="namespace of the EdgeNodes",
            metavar="NAME",
        )


def add_output_flag(parser: argparse.ArgumentParser, formats: Sequence[str] = TABLE_FORMATS) -> None:
    """How the answer is printed; the first format is the default."""
    parser.add_argument("-o", "--output", choices=formats, default=formats[0], help="how to print it")


def add_wait_flags(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Whether and for how long it is waited until the operator has acted."""
    parser.add_argument("--wait", action="store_true", help="wait until the operator has acted on it")
    add_timeout_flag(parser, default=default)


def add_timeout_flag(parser: argparse.ArgumentParser, *, default: str) -> None:
    """The longest wait."""
    parser.add_argument(
        "--timeout",
        type=duration,
        default=duration(default),
        help=f"the longest wait, such as 90s or 1h30m; 0 looks once, below 0 is for ever (default: {default})",
        metavar="TIME",
    )


def duration(text: str) -> float:
    """Seconds of a time as kubectl takes it: 90, 90s, 1h30m, -1s."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    if rest.isdecimal():
        return sign * int(rest)
    seconds, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    for letter in rest:
        if letter.isdecimal() or letter == ".":
            number += letter
        elif letter in units and number.replace(".", "", 1).isdecimal():
            seconds, number = seconds + float(number) * units[letter], ""
        else:
            number = "?"
            break
    if number or not rest:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 10m or 1h30m, got {text!r}")
    return sign * seconds
