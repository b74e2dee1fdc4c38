"""The flags of each action of `edgecanary rollout`."""

import argparse

from edgecanary.cli.flags import Flags
from edgecanary.cli.kubectl_flags import (
    add_cluster_flags,
    add_output_flag,
    add_timeout_flag,
    add_wait_flags,
)


def add_list(parser: argparse.ArgumentParser) -> None:
    """Flags of `list`."""
    add_cluster_flags(parser, everywhere=True, selector="Rollouts", system=False)
    add_output_flag(parser)


def add_get(parser: argparse.ArgumentParser) -> None:
    """Flags of `get`."""
    _add_name(parser)
    parser.add_argument(
        "-w", "--watch", action="store_true", help="follow it, as edgecanary rollout watch does"
    )
    _add_watch_flags(parser)
    add_cluster_flags(parser)
    add_output_flag(parser)


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Flags of `watch`."""
    _add_name(parser)
    _add_watch_flags(parser)
    add_cluster_flags(parser)
    add_output_flag(parser, ("table", "wide"))


def add_promote(parser: argparse.ArgumentParser) -> None:
    """Flags of `promote`."""
    parser.add_argument(
        "--full", action="store_true", help="to all nodes now: no bake, gate or approval counts"
    )
    add_change(parser)


def add_change(parser: argparse.ArgumentParser) -> None:
    """Flags of what changes a Rollout."""
    _add_name(parser)
    parser.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="only say what would be written (client), or have the server check it as well (server)",
    )
    add_wait_flags(parser, default="1m")
    add_cluster_flags(parser, system=False)
    add_output_flag(parser, ("text", "name", "json", "yaml"))


def add_history(parser: argparse.ArgumentParser) -> None:
    """Flags of `history`."""
    _add_name(parser)
    add_cluster_flags(parser, system=False)
    add_output_flag(parser)


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Flags of `wait`."""
    _add_name(parser)
    parser.add_argument(
        "--for",
        dest="goal",
        required=True,
        help="promoted, rolledback, healthy, step=NAME or condition=TYPE[=STATUS]",
        metavar="GOAL",
    )
    add_timeout_flag(parser, default="30s")
    add_cluster_flags(parser, system=False)


def add_why(parser: argparse.ArgumentParser) -> None:
    """Flags of `why`."""
    _add_name(parser)
    add_cluster_flags(parser)
    _add_answer_flags(parser, ("text", "json", "yaml"))


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Flags of `plan`."""
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
    add_cluster_flags(parser)
    _add_answer_flags(parser, ("table", "json", "yaml"))


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the Rollout", metavar="NAME")


def _add_watch_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exit-on-end",
        action="store_true",
        help="end with the rollout: exit code 0 when it is promoted, 4 when it is taken back or stalled",
    )
    parser.add_argument(
        "--no-color", action="store_true", help="no colours, as with NO_COLOR in the environment"
    )


def _add_answer_flags(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    add_output_flag(parser, formats)
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
