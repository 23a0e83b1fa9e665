"""An incident as people see it: one physical event, from the first doubt to the proof of its end.

Rule 1: nothing outside this table decides what may follow what.
Rule 2: `restored` is the crew's word; `verified` is telemetry's, or a person's who says why not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from server.servicecore.rules.refusal import Refused
from telemetry.instant import Instant


class State(StrEnum):
    """Where an incident is with the people."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MONITORING = "monitoring"
    CONFIRMED = "confirmed"
    WORKING = "working"
    RESTORED = "restored"
    VERIFIED = "verified"
    CLOSED = "closed"
    MERGED = "merged"
    FALSE_ALARM = "false_alarm"
    EXPLAINED = "explained"


class Act(StrEnum):
    """What somebody, or telemetry, says of an incident."""

    ACKNOWLEDGE = "acknowledge"
    WATCH = "watch"
    CONFIRM = "confirm"
    WORK = "work"
    RESTORE = "restore"
    VERIFY = "verify"
    RELAPSE = "relapse"
    CLOSE = "close"
    MERGE = "merge"
    FALSE_ALARM = "false_alarm"
    EXPLAIN = "explain"
    END = "end"


BY_ITSELF = frozenset({Act.END})
"""What no person says: every alarm has cleared and been seen, and nobody had to be sent."""

_ASIDE = {
    Act.MERGE: State.MERGED,
    Act.FALSE_ALARM: State.FALSE_ALARM,
    Act.EXPLAIN: State.EXPLAINED,
}
_UNSENT = {**_ASIDE, Act.END: State.CLOSED}

TRANSITIONS: dict[State, dict[Act, State]] = {
    State.OPEN: {
        Act.ACKNOWLEDGE: State.ACKNOWLEDGED,
        Act.CONFIRM: State.CONFIRMED,
        Act.WORK: State.WORKING,  # an order was issued at once
        Act.WATCH: State.MONITORING,
        **_UNSENT,
    },
    State.ACKNOWLEDGED: {
        Act.CONFIRM: State.CONFIRMED,
        Act.WORK: State.WORKING,
        Act.WATCH: State.MONITORING,
        **_UNSENT,
    },
    State.MONITORING: {Act.CONFIRM: State.CONFIRMED, Act.WORK: State.WORKING, **_UNSENT},
    State.CONFIRMED: {Act.WORK: State.WORKING, **_UNSENT},
    State.WORKING: {Act.RESTORE: State.RESTORED, **_ASIDE},
    State.RESTORED: {Act.VERIFY: State.VERIFIED, Act.RELAPSE: State.WORKING},
    State.VERIFIED: {Act.CLOSE: State.CLOSED, Act.RELAPSE: State.WORKING},
    State.CLOSED: {},
    State.MERGED: {},
    State.FALSE_ALARM: {Act.CLOSE: State.CLOSED},
    State.EXPLAINED: {Act.CLOSE: State.CLOSED},
}

FIRST = State.OPEN
FINAL = frozenset(state for state, acts in TRANSITIONS.items() if not acts)
NEEDS_TEXT = frozenset({Act.CONFIRM, Act.FALSE_ALARM, Act.EXPLAIN, Act.WATCH, Act.RELAPSE})
"""Confirming says what it is; the others say why."""
DECIDED = frozenset(State) - {State.OPEN, State.ACKNOWLEDGED}
"""Once somebody has decided what it is, an acknowledged alarm does not sound again."""

EXPLANATIONS = ("planned_work", "pump_order", "valve_order", "hydrant_test", "known_demand")
"""What explains an incident without a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An alarm of an incident, as verification looks at it."""

    id: str
    is_active: bool
    cleared_at: Instant | None
    is_silent: bool


def allowed(state: State) -> tuple[Act, ...]:
    """Return what may be said of an incident now, the usual act first."""
    return tuple(act for act in TRANSITIONS[state] if act not in BY_ITSELF)


def after(subject: str, state: State, act: Act, text: str) -> State:
    """Return the state that an act leads to. Raises `Refused` with what is allowed now."""
    acts = TRANSITIONS[state]
    if act not in acts:
        words = ", ".join(allowed(state)) or "-"
        raise Refused("not_incident_step", subject=subject, state=state, allowed_words=words)
    if act in NEEDS_TEXT and not text.strip():
        raise Refused("text_missing", ticket=subject, step=act)
    return acts[act]


def check_explanation(subject: str, kind: str) -> None:
    """Refuse an explanation of a kind that there is not."""
    if kind not in EXPLANATIONS:
        words = ", ".join(EXPLANATIONS)
        raise Refused("not_in_state", subject=subject, state=kind, allowed_words=words)


def check_verified(
    subject: str, members: Sequence[Member], *, now: Instant, quiet_ms: int, waiver: str
) -> None:
    """Refuse to call an incident verified while telemetry does not say so and nobody waives it."""
    because = doubts(members, now=now, quiet_ms=quiet_ms)
    if because and not waiver.strip():
        raise Refused("not_verified", subject=subject, because="; ".join(because))


def doubts(members: Sequence[Member], *, now: Instant, quiet_ms: int) -> tuple[str, ...]:
    """Return why telemetry does not prove the end: active, silent, or not calm for long enough.

    A silent point proves nothing: no data is not normal.
    """
    found = []
    for m in members:
        if m.is_silent and m.is_active:
            found.append(f"{m.id} has no data")
        elif m.is_active:
            found.append(f"{m.id} is active")
        elif m.cleared_at is None or now - m.cleared_at < quiet_ms:
            found.append(f"{m.id} is not calm for long enough")
    return tuple(found)


def check_merge(subject: str, into: str, into_state: State) -> None:
    """Refuse to merge an incident into itself or into one that is over."""
    if subject == into:
        raise Refused("merge_self", subject=subject, incident=into)
    if into_state in FINAL:
        raise Refused("closed", subject=into)


def check_split(subject: str, members: Sequence[str], taken: Sequence[str]) -> None:
    """Refuse a split that takes nothing, what is not there, or everything."""
    strangers = [a for a in taken if a not in members]
    if strangers:
        raise Refused("unknown", subject=", ".join(strangers))
    if not taken or len(set(taken)) >= len(members):
        raise Refused("split_all", subject=subject, alarms=", ".join(members))
