"""The life of a ticket (work order) as one table.

Rule 1: nothing outside this table decides what may follow what; buttons are derived from it.
Rule 2: this file does not know who asks, when, or where tickets are kept.
"""

from enum import StrEnum

from server.servicecore.rules.refusal import Refused


class State(StrEnum):
    """Where a ticket is. The names are those of the trade: 派单 受理 到场 办结 消单 退单."""

    ISSUED = "issued"
    ACCEPTED = "accepted"
    ON_SITE = "on_site"
    REPLIED = "replied"
    CLOSED = "closed"
    RETURNED = "returned"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What a person does to a ticket."""

    ACCEPT = "accept"
    ARRIVE = "arrive"
    REPLY = "reply"
    CLOSE = "close"
    RETURN = "return"
    REISSUE = "reissue"
    CANCEL = "cancel"


FIRST = State.ISSUED
"""Every ticket begins by being issued."""

TRANSITIONS: dict[State, dict[Step, State]] = {
    State.ISSUED: {
        Step.ACCEPT: State.ACCEPTED,
        Step.RETURN: State.RETURNED,
        Step.CANCEL: State.CANCELLED,
    },
    State.ACCEPTED: {
        Step.ARRIVE: State.ON_SITE,
        Step.RETURN: State.RETURNED,
        Step.CANCEL: State.CANCELLED,
    },
    State.ON_SITE: {Step.REPLY: State.REPLIED, Step.CANCEL: State.CANCELLED},
    State.REPLIED: {Step.CLOSE: State.CLOSED},
    State.CLOSED: {},
    State.RETURNED: {Step.REISSUE: State.ISSUED, Step.CANCEL: State.CANCELLED},
    State.CANCELLED: {},
}

NEEDS_TEXT = frozenset({Step.REPLY, Step.RETURN, Step.CANCEL})
"""Steps that are void without words: the result of the work, or the reason."""

FINAL = frozenset(state for state, steps in TRANSITIONS.items() if not steps)


def allowed(state: State) -> tuple[Step, ...]:
    """Return what may be done in a state, the usual step first; nothing in a final one."""
    return tuple(TRANSITIONS[state])


def after(ticket: str, state: State, step: Step, text: str) -> State:
    """Return the state that a step leads to.

    Raises `Refused`, telling what is allowed now, when the step is not, or when it needs words and
    `text` has none.
    """
    steps = TRANSITIONS[state]
    if not steps:
        raise Refused("final", ticket=ticket, state=state)
    if step not in steps:
        raise Refused("step", ticket=ticket, state=state, allowed=", ".join(steps))
    if step in NEEDS_TEXT and not text.strip():
        raise Refused("text_missing", ticket=ticket, step=step)
    return steps[step]
