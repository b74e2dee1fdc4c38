"""`edgecanary rollout`: what a person does with rollouts: look, plan, ask why, promote, take back, wait.

Exit codes: 0 for done or an answer, 1 when the cluster cannot be asked or changed, 2 for wrong usage or a file
that breaks a rule, 3 when there is no such Rollout or no CRDs, 4 when what was waited for cannot come any more,
5 when the time is over, 6 when the action means nothing in the Rollout's state. With --exit-code also 10 (`why`:
it waits; `plan`: there are warnings) and 11 (`why`: it is stalled until a person changes something).
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound
from edgecanary.cli import lazy, rollout_flags
from edgecanary.cli.exits import Exit
from edgecanary.cli.rollout_refused import Refused

_NOT_THE_USERS_FILE = ("NoClusterAccess",)


class Action(Protocol):
    """What an action's module offers."""

    def run(self, options: argparse.Namespace) -> int:
        """Runs the action; returns the exit code."""
        ...


@dataclass(frozen=True)
class _Entry:
    """An action: what it is for, how its flags are added, and its module, which is loaded when it runs."""

    help: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    module: str = ""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the actions and their flags."""
    text = (__doc__ or "").partition("\n\n")
    parser = subparsers.add_parser(
        "rollout",
        help="look at rollouts, plan, promote, take back, wait",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, entry in ACTIONS.items():
        entry.add_flags(actions.add_parser(name, help=entry.help, description=f"{entry.help}."))


def run(options: argparse.Namespace) -> int:
    """Runs the action; returns the exit code."""
    module = ACTIONS[options.action].module or f"rollout_{options.action}"
    return guarded(lambda: cast("Action", lazy.load(module, extra="cli")).run(options))


def guarded(command: Callable[[], int]) -> int:
    """The command's exit code; of one that fails, the code for its failure, which is told in one line."""
    try:
        return command()
    except Refused as error:
        return _told(error, Exit.REFUSED)
    except NotFound as error:
        return _told(error, Exit.NOT_FOUND)
    except InvalidInput as error:
        return _told(error, Exit.FAILED if error.reason in _NOT_THE_USERS_FILE else Exit.WRONG_INPUT)


def _told(error: EdgecanaryError, code: Exit) -> int:
    sys.stderr.write(f"edgecanary: {error.reason}: {error.message}\n")
    return code


ACTIONS = {
    "list": _Entry("list Rollouts", rollout_flags.add_list),
    "get": _Entry("show one Rollout: steps, cohorts, gates", rollout_flags.add_get),
    "watch": _Entry("follow one Rollout live", rollout_flags.add_watch),
    "plan": _Entry("show what a Rollout would do, before it is applied", rollout_flags.add_plan),
    "promote": _Entry(
        "approve the current step and end its bake", rollout_flags.add_promote, "rollout_action"
    ),
    "pause": _Entry("hold a Rollout where it is", rollout_flags.add_change, "rollout_pause"),
    "resume": _Entry("let a paused Rollout go on", rollout_flags.add_change, "rollout_pause"),
    "abort": _Entry("take the canary back from every node", rollout_flags.add_change, "rollout_action"),
    "retry": _Entry("try the rejected revision once more", rollout_flags.add_change, "rollout_action"),
    "history": _Entry("show a Rollout's last ten revisions", rollout_flags.add_history),
    "why": _Entry("say what a Rollout waits for, or why it was taken back", rollout_flags.add_why),
    "wait": _Entry("wait until a Rollout is where it should be", rollout_flags.add_wait),
}
