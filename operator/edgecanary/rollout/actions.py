"""What a person asks for by annotations, and which of it acts now.

An action's value is a token; each new token is one action. Handled tokens are kept in the status. A token that
cannot act yet waits: it is not used up.
"""

import re
from dataclasses import dataclass

from edgecanary.api.rollout import ABORT_ANNOTATION, PROMOTE_ANNOTATION, RETRY_ANNOTATION, Rollout
from edgecanary.api.rollout_status import ActionTokens

_FULL = re.compile(r"full[:.-]")


@dataclass(frozen=True)
class Actions:
    """Which actions carry a token that acts now, and the tokens to echo.

    `full` tells that the promotion skips gates, too. `waiting` names the annotations whose new token has to wait.
    """

    promote: bool
    full: bool
    abort: bool
    retry: bool
    tokens: ActionTokens
    waiting: tuple[str, ...] = ()


def read_actions(rollout: Rollout, *, blocked: bool) -> Actions:
    """The new tokens. Those that are there before the first plan are echoed and not acted on.

    An abort acts whatever else holds, and uses up what else is asked for at the same time: a person who says
    stop is not to be overtaken. While `blocked`, promote and retry wait; while the rollout is paused, so does what
    would make the canary reach further.
    """
    annotations, handled = rollout.metadata.annotations, rollout.status.actions
    found = ActionTokens(
        promote=annotations.get(PROMOTE_ANNOTATION) or handled.promote,
        abort=annotations.get(ABORT_ANNOTATION) or handled.abort,
        retry=annotations.get(RETRY_ANNOTATION) or handled.retry,
    )
    if rollout.status.observed_generation < 0:
        return Actions(promote=False, full=False, abort=False, retry=False, tokens=found)
    if found.abort != handled.abort:
        return Actions(promote=False, full=False, abort=True, retry=False, tokens=found)
    promote, retry = found.promote != handled.promote, found.retry != handled.retry
    full = promote and is_full(found.promote)
    paused = rollout.spec.paused
    promote_waits = promote and (blocked or (full and paused))
    retry_waits = retry and (blocked or paused)
    waiting = ((PROMOTE_ANNOTATION,) if promote_waits else ()) + ((RETRY_ANNOTATION,) if retry_waits else ())
    return Actions(
        promote=promote and not promote_waits,
        full=full and not promote_waits,
        abort=False,
        retry=retry and not retry_waits,
        tokens=ActionTokens(
            promote=handled.promote if promote_waits else found.promote,
            abort=found.abort,
            retry=handled.retry if retry_waits else found.retry,
        ),
        waiting=waiting,
    )


def is_full(token: str | None) -> bool:
    """Whether a promotion's token asks to skip the gates as well: `full`, then `:`, `-` or `.`, then anything."""
    return token is not None and _FULL.match(token) is not None
