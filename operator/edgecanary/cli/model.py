"""`edgecanary model`: prepare a model for release: deltas between files, drift profiles, signatures and their check.

Exit codes: 0 for success, 1 when signatures do not count or a file cannot be written, 2 for wrong usage or a
file that breaks a rule, 3 when a delta would not be worth it.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from edgecanary.base.errors import InvalidInput
from edgecanary.cli import lazy

EXIT_WRONG_INPUT = 2
EXIT_NOT_WORTH_IT = 3
DELTA_FORMATS = ("auto", "ZstdPatch", "XorZstd")


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
        "model",
        help="prepare a model for release: deltas, drift profiles, signatures",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, entry in _ACTIONS.items():
        entry.add_flags(actions.add_parser(name, help=entry.help, description=f"{entry.help}."))


def run(options: argparse.Namespace) -> int:
    """Runs the action; returns the exit code."""
    action = cast("Action", lazy.load(f"model_{options.action}", extra="model"))
    try:
        return action.run(options)
    except InvalidInput as error:
        sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
        return EXIT_WRONG_INPUT


def _sign_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        help="manifest with one or several EdgeModels, - for standard input",
        metavar="FILE",
    )
    parser.add_argument(
        "--new-key",
        help="make a key: FILE is the private one, FILE.pub the public one for nodes; nothing is signed",
        metavar="FILE",
    )
    parser.add_argument(
        "--key", action="append", help="private key to sign with; may be repeated", metavar="FILE"
    )
    parser.add_argument(
        "--add", action="store_true", help="sign the statement that is there with further keys, as it is"
    )
    parser.add_argument(
        "-n", "--namespace", help="namespace of the EdgeModels, where the manifest names none", metavar="NAME"
    )
    parser.add_argument(
        "--sequence",
        type=int,
        help="must not go down from one signed revision of a model to the next (default: now, in Unix seconds)",
        metavar="N",
    )
    parser.add_argument(
        "--days", type=float, default=365.0, help="how long nodes may install it (default: 365)"
    )
    parser.add_argument(
        "-i", "--in-place", action="store_true", help="write the manifest back instead of printing it"
    )


def _verify_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="manifest with EdgeModels, - for standard input", metavar="FILE")
    parser.add_argument(
        "--trust-root",
        action="append",
        required=True,
        help="a file or directory with public keys; may be repeated",
        metavar="PATH",
    )
    parser.add_argument(
        "--trust-threshold", type=int, default=1, help="how many of the keys must sign (default: 1)"
    )
    parser.add_argument(
        "-n", "--namespace", help="namespace of the EdgeModels, where the manifest names none", metavar="NAME"
    )


def _delta_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("old", help="the file that nodes have, of an older version", metavar="OLD")
    add("new", help="the file that they are to get", metavar="NEW")
    add("-o", "--output", required=True, help="where to write the delta", metavar="FILE")
    add(
        "--format", choices=DELTA_FORMATS, default="auto",
        help="ZstdPatch for files that share stretches of bytes, XorZstd for weights that were trained further; "
        "auto takes the smaller (default: auto)",
    )  # fmt: skip
    add("--level", type=_level, default=19, help="effort, 1 to 19 (default: 19)", metavar="N")
    add(
        "--uri", default="s3://BUCKET/KEY", help="where you will put it, for the printed manifest",
        metavar="URI",
    )  # fmt: skip


def _profile_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", help="manifest with the EdgeModel, - for standard input", metavar="FILE")
    add(
        "--requests", required=True, metavar="FILE.npz",
        help="real requests and the model's answers: an array input:NAME or output:NAME for each tensor of spec.io, "
        "whose first dimension counts the requests",
    )  # fmt: skip
    add("-o", "--output", required=True, help="where to write the profile", metavar="FILE.json")
    add(
        "--uri", default="s3://BUCKET/KEY", help="where you will put it, for the printed manifest",
        metavar="URI",
    )  # fmt: skip


def _level(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 19:
        raise argparse.ArgumentTypeError(f"must be a whole number within 1 and 19, got {text!r}")
    return int(text)


_ACTIONS = {
    "delta": _Entry("make a delta from an older file, for nodes to fetch less", _delta_flags),
    "profile": _Entry("count real requests into a drift profile", _profile_flags),
    "sign": _Entry("make a signing key, or sign EdgeModels in a manifest", _sign_flags),
    "verify": _Entry("say what is signed in a manifest, and whether nodes would take it", _verify_flags),
}
