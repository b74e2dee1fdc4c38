"""The states a model's update goes through on a node, and the one table of what follows what.

Every new state is on disk before anything is done in it. What a state does is in `steps`; here is only
what may follow, so that the table can be read, tested and drawn in one place.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a model's update is."""

    SETTLED = "Settled"
    """Nothing is under way."""
    ACCEPTED = "Accepted"
    """A release assigns another revision; nothing was done for it yet."""
    PRECHECK = "Precheck"
    """Does a variant fit, is there room for it?"""
    DOWNLOAD = "Download"
    """The files are being fetched."""
    VERIFY = "Verify"
    """Length and SHA-256 of each file are compared with the release."""
    STAGE = "Stage"
    """The verified files become a revision's directory."""
    PROBE = "Probe"
    """A child process loads the model and runs its golden cases."""
    WINDOW = "Window"
    """Ready; waits until an update window is open."""
    SWITCH = "Switch"
    """The serving process loads the revision and the `active` link moves."""
    HEALTH = "Health"
    """The revision serves and is on trial."""
    COMMIT = "Commit"
    """The trial is passed: the revision becomes the active one for good."""
    ROLLBACK = "Rollback"
    """The revision that was active before serves again."""
    REVERT = "Revert"
    """The active revision went beyond its limits; the previous one takes its place."""
    WITHDRAW = "Withdraw"
    """The model stops being served on this node."""


class Event(StrEnum):
    """What happened in a state."""

    ASSIGNED = "Assigned"
    """A release assigns another revision than the active one."""
    RETURNED = "Returned"
    """A release assigns, as stable, the previous revision: it is on disk and proved itself here."""
    WITHDRAWN = "Withdrawn"
    """A release assigns no revision."""
    PASSED = "Passed"
    """The state's work is done."""
    BLOCKED = "Blocked"
    """The state's work cannot be done now, through no fault of the model; it is tried again."""
    FAILED = "Failed"
    """The model is at fault."""
    SUPERSEDED = "Superseded"
    """A release assigns another revision than the one being worked on."""
    RESTARTED = "Restarted"
    """A new process found the record in this state."""
    CRASHED = "Crashed"
    """As RESTARTED, and processes died on this revision more often than its release tolerates."""
    ACTIVE_FAILED = "ActiveFailed"
    """The active revision, which passed its trial once, went beyond its limits or killed the process too often,
    and a previous one is on disk that did not fail."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.SETTLED, Event.ASSIGNED): State.ACCEPTED,
    (State.SETTLED, Event.RETURNED): State.SWITCH,
    (State.SETTLED, Event.WITHDRAWN): State.WITHDRAW,
    (State.SETTLED, Event.RESTARTED): State.SETTLED,
    (State.ACCEPTED, Event.PASSED): State.PRECHECK,
    (State.ACCEPTED, Event.SUPERSEDED): State.SETTLED,
    (State.ACCEPTED, Event.RESTARTED): State.ACCEPTED,
    (State.PRECHECK, Event.PASSED): State.DOWNLOAD,
    (State.PRECHECK, Event.BLOCKED): State.ACCEPTED,
    (State.PRECHECK, Event.SUPERSEDED): State.SETTLED,
    (State.PRECHECK, Event.RESTARTED): State.ACCEPTED,
    (State.DOWNLOAD, Event.PASSED): State.VERIFY,
    (State.DOWNLOAD, Event.BLOCKED): State.DOWNLOAD,
    (State.DOWNLOAD, Event.SUPERSEDED): State.SETTLED,
    (State.DOWNLOAD, Event.RESTARTED): State.DOWNLOAD,
    (State.VERIFY, Event.PASSED): State.STAGE,
    (State.VERIFY, Event.BLOCKED): State.DOWNLOAD,
    (State.VERIFY, Event.SUPERSEDED): State.SETTLED,
    (State.VERIFY, Event.RESTARTED): State.DOWNLOAD,
    (State.STAGE, Event.PASSED): State.PROBE,
    (State.STAGE, Event.BLOCKED): State.DOWNLOAD,
    (State.STAGE, Event.SUPERSEDED): State.SETTLED,
    (State.STAGE, Event.RESTARTED): State.DOWNLOAD,
    (State.PROBE, Event.PASSED): State.WINDOW,
    (State.PROBE, Event.BLOCKED): State.DOWNLOAD,
    (State.PROBE, Event.FAILED): State.ROLLBACK,
    (State.PROBE, Event.SUPERSEDED): State.SETTLED,
    (State.PROBE, Event.RESTARTED): State.PROBE,
    (State.PROBE, Event.CRASHED): State.ROLLBACK,
    (State.WINDOW, Event.PASSED): State.SWITCH,
    (State.WINDOW, Event.BLOCKED): State.WINDOW,
    (State.WINDOW, Event.SUPERSEDED): State.SETTLED,
    (State.WINDOW, Event.RESTARTED): State.WINDOW,
    (State.SWITCH, Event.PASSED): State.HEALTH,
    (State.SWITCH, Event.RETURNED): State.COMMIT,
    (State.SWITCH, Event.BLOCKED): State.ACCEPTED,
    (State.SWITCH, Event.FAILED): State.ROLLBACK,
    (State.SWITCH, Event.RESTARTED): State.SWITCH,
    (State.SWITCH, Event.CRASHED): State.ROLLBACK,
    (State.HEALTH, Event.PASSED): State.COMMIT,
    (State.HEALTH, Event.BLOCKED): State.HEALTH,
    (State.HEALTH, Event.FAILED): State.ROLLBACK,
    (State.HEALTH, Event.SUPERSEDED): State.ROLLBACK,
    (State.HEALTH, Event.RESTARTED): State.SWITCH,
    (State.HEALTH, Event.CRASHED): State.ROLLBACK,
    (State.COMMIT, Event.PASSED): State.SETTLED,
    (State.COMMIT, Event.BLOCKED): State.ACCEPTED,
    (State.COMMIT, Event.RESTARTED): State.COMMIT,
    (State.COMMIT, Event.CRASHED): State.ROLLBACK,
    (State.ROLLBACK, Event.PASSED): State.SETTLED,
    (State.ROLLBACK, Event.RESTARTED): State.ROLLBACK,
    (State.WITHDRAW, Event.PASSED): State.SETTLED,
    (State.WITHDRAW, Event.RESTARTED): State.WITHDRAW,
    (State.REVERT, Event.PASSED): State.SETTLED,
    (State.REVERT, Event.BLOCKED): State.SETTLED,
    (State.REVERT, Event.RESTARTED): State.REVERT,
    (State.SETTLED, Event.ACTIVE_FAILED): State.REVERT,
    (State.ACCEPTED, Event.ACTIVE_FAILED): State.REVERT,
    (State.PRECHECK, Event.ACTIVE_FAILED): State.REVERT,
    (State.DOWNLOAD, Event.ACTIVE_FAILED): State.REVERT,
    (State.VERIFY, Event.ACTIVE_FAILED): State.REVERT,
    (State.STAGE, Event.ACTIVE_FAILED): State.REVERT,
    (State.PROBE, Event.ACTIVE_FAILED): State.REVERT,
    (State.WINDOW, Event.ACTIVE_FAILED): State.REVERT,
    (State.SWITCH, Event.ACTIVE_FAILED): State.REVERT,
    (State.HEALTH, Event.ACTIVE_FAILED): State.REVERT,
    (State.ROLLBACK, Event.ACTIVE_FAILED): State.REVERT,
}
"""Every transition there is; a pair that is not here is a defect of the program.

The rows with RESTARTED and CRASHED are the restart rule. Before STAGE nothing of the revision counts: the
work starts over and a download resumes. In PROBE, SWITCH and HEALTH the revision may be what killed the
process: it is tried again as often as the release tolerates crashes, then rolled back; a COMMIT loads it once
more, and the same holds there. ROLLBACK, REVERT and WITHDRAW are idempotent and simply done again.

The active revision is judged as long as it serves. REVERT puts the previous one in its place and rejects it, so
that neither is returned to: with both rejected there is nothing to go back to, and no event. In SWITCH, HEALTH
and ROLLBACK ACTIVE_FAILED happens at a restart alone, where the active revision kills the process while it is
loaded before the target.
"""

TRIAL = frozenset({State.PROBE, State.SWITCH, State.HEALTH})
"""States in which the revision's own code runs, so that a dead process counts against it."""

BLAMED = TRIAL | {State.COMMIT}
"""States in which a process that died while the revision's code ran counts against it."""

INTERRUPTIBLE = frozenset(state for state, event in TRANSITIONS if event is Event.SUPERSEDED)
"""States whose work is dropped at once when a release changes its mind."""

WATCHED = frozenset({State.SETTLED}) | INTERRUPTIBLE - {State.HEALTH}
"""States in which the active revision is what serves, and is judged by what it answers."""

CANCELLABLE = INTERRUPTIBLE - {State.VERIFY, State.STAGE}
"""States whose work may be broken off half-way; the others' is short, or worth finishing."""

RETREAT = frozenset({State.ROLLBACK, State.REVERT, State.WITHDRAW})
"""States that make the node safer: they are entered even when the disk cannot record it."""


def next_state(state: State, event: Event) -> State:
    """The state that follows. Raises ValueError for an event that cannot happen in the state."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"event {event} cannot happen in state {state}") from None


def restart_event(state: State, *, crashes: int, max_crashes: int) -> Event:
    """What a new process makes of a target in `state`; `crashes` includes the one just found."""
    return Event.CRASHED if state in BLAMED and crashes > max_crashes else Event.RESTARTED
