"""`edgecanary rollout`: plan a rollout before it begins, and ask why one stands where it does.

Exit codes: 0 for an answer, 1 when the cluster cannot be asked, 2 for wrong usage or a file that breaks a
rule, 3 when there is no such Rollout. With --exit-code also 10 (`why`: it waits; `plan`: there are warnings)
and 11 (`why`: it is stalled until a person changes something).
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound
from edgecanary.cli import lazy
from edgecanary.cli.flags import Flags

DEFAULT_SYSTEM_NAMESPACE = "edgecanary-system"
EXIT_WRONG_INPUT = 2
EXIT_NOT_FOUND = 3
EXIT_WAITS = 10
EXIT_STALLED = 11

_NOT_THE_USERS_FILE = ("NoClusterAccess",)


class Action(Protocol):
    """What an action's module offers."""

    def run(self, options: argparse.Namespace) -> int:
        """Runs the action; returns the exit code."""
        ...


@dataclass(frozen=True)
class _Entry:
    """An action: what it is for, and how its flags are added. Its module is loaded when it runs."""

    help: str
    add_flags: Callable[[argparse.ArgumentParser], None]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the actions and their flags."""
    text = (__doc__ or "").partition("\n\n")
    parser = subparsers.add_parser(
        "rollout",
        help="plan a rollout, or ask why one stands where it does",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, entry in _ACTIONS.items():
        entry.add_flags(actions.add_parser(name, help=entry.help, description=f"{entry.help}."))


def run(options: argparse.Namespace) -> int:
    """Runs the action; returns the exit code."""
    action = cast("Action", lazy.load(f"rollout_{options.action}", extra="operator"))
    try:
        return action.run(options)
    except NotFound as error:
        return _told(error, EXIT_NOT_FOUND)
    except InvalidInput as error:
        return _told(error, 1 if error.reason in _NOT_THE_USERS_FILE else EXIT_WRONG_INPUT)


def _told(error: EdgecanaryError, code: int) -> int:
    sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
    return code


def _why_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the Rollout", metavar="NAME")
    _add_cluster_flags(parser)
    _add_output_flags(parser, ("text", "json", "yaml"))


def _plan_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--filename", required=True, help="YAML with a Rollout and, best, its EdgeModel; - is stdin",
        metavar="FILE",
    )  # fmt: skip
    parser.add_argument(
        "--nodes",
        help="YAML with Nodes and as needed EdgeNodes, such as kubectl get nodes -o yaml gives; "
        "the cluster is not asked then",
        metavar="FILE",
    )
    flags = Flags(parser)
    flags.text("--prometheus", default=None, help="address to ask instead of the Rollout's", metavar="URL")
    flags.seconds("--rate-seconds", default=3600.0, help="how far back the request rate is measured")
    parser.add_argument(
        "--requests-per-hour", type=_positive, help="answers per node and hour; Prometheus is not asked then",
        metavar="N",
    )  # fmt: skip
    parser.add_argument(
        "--error-rate", type=_share, help="share of bad answers, 0 to 1, with --requests-per-hour",
        metavar="SHARE",
    )  # fmt: skip
    _add_cluster_flags(parser)
    _add_output_flags(parser, ("table", "json", "yaml"))


_ACTIONS = {
    "plan": _Entry("Show what a Rollout would do: nodes, times, gates and warnings", _plan_flags),
    "why": _Entry("Show what a Rollout waits for, or why it was taken back", _why_flags),
}


def _add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--namespace", help="namespace, by default the context's", metavar="NAME")
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
    flags.text(
        "--system-namespace",
        default=DEFAULT_SYSTEM_NAMESPACE,
        help="namespace of the EdgeNodes",
        metavar="NAME",
    )


def _add_output_flags(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    parser.add_argument("-o", "--output", choices=formats, default=formats[0], help="how to print it")
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="say by the exit code how it stands (see edgecanary rollout -h)",
    )


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a share within 0 and 1, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from error
