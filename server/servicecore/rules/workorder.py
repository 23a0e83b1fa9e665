"""The life of a ticket (work order) as one table, from 派单 to 归档.

Rule 1: nothing outside this table decides what may follow what; buttons are derived from it.
Rule 2: this file does not know who asks, when, or where tickets are kept.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from server.servicecore.rules.refusal import Refused


class State(StrEnum):
    """Where a ticket is. The names are those of the trade."""

    ISSUED = "issued"
    ACCEPTED = "accepted"
    EN_ROUTE = "en_route"
    ON_SITE = "on_site"
    DIAGNOSED = "diagnosed"
    ISOLATED = "isolated"
    RESTORED = "restored"
    WAITING = "waiting"
    REPLIED = "replied"
    REOPENED = "reopened"
    CONFIRMED = "confirmed"
    CLOSED = "closed"
    ARCHIVED = "archived"
    RETURNED = "returned"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What a person does to a ticket that moves it."""

    ACCEPT = "accept"
    DEPART = "depart"
    ARRIVE = "arrive"
    DIAGNOSE = "diagnose"
    ISOLATE = "isolate"
    RESTORE = "restore"
    REPLY = "reply"
    CALL_BACK = "call_back"
    REOPEN = "reopen"
    CLOSE = "close"
    ARCHIVE = "archive"
    RETURN = "return"
    REISSUE = "reissue"
    TRANSFER = "transfer"
    WAIT = "wait"
    RESUME = "resume"
    CANCEL = "cancel"


FIRST = State.ISSUED
"""Every ticket begins by being issued."""

_ASIDE = {Step.WAIT: State.WAITING, Step.TRANSFER: State.ISSUED, Step.CANCEL: State.CANCELLED}

TRANSITIONS: dict[State, dict[Step, State]] = {
    State.ISSUED: {
        Step.ACCEPT: State.ACCEPTED,
        Step.RETURN: State.RETURNED,
        Step.TRANSFER: State.ISSUED,
        Step.CANCEL: State.CANCELLED,
    },
    State.ACCEPTED: {
        Step.ARRIVE: State.ON_SITE,
        Step.DEPART: State.EN_ROUTE,
        Step.REPLY: State.REPLIED,
        Step.RETURN: State.RETURNED,
        **_ASIDE,
    },
    State.EN_ROUTE: {Step.ARRIVE: State.ON_SITE, **_ASIDE},
    State.ON_SITE: {
        Step.DIAGNOSE: State.DIAGNOSED,
        Step.REPLY: State.REPLIED,
        **_ASIDE,
    },
    State.DIAGNOSED: {
        Step.ISOLATE: State.ISOLATED,
        Step.RESTORE: State.RESTORED,
        Step.REPLY: State.REPLIED,
        **_ASIDE,
    },
    State.ISOLATED: {
        Step.RESTORE: State.RESTORED,
        Step.REPLY: State.REPLIED,
        **_ASIDE,
    },
    State.RESTORED: {Step.REPLY: State.REPLIED, **_ASIDE},
    State.WAITING: {
        Step.RESUME: State.ACCEPTED,  # or where it waited from: `after` is told
        Step.CANCEL: State.CANCELLED,
    },
    State.REPLIED: {
        Step.CALL_BACK: State.CONFIRMED,
        Step.CLOSE: State.CLOSED,
        Step.REOPEN: State.REOPENED,
    },
    State.REOPENED: {
        Step.ACCEPT: State.ACCEPTED,
        Step.REPLY: State.REPLIED,
        **_ASIDE,
    },
    State.CONFIRMED: {Step.CLOSE: State.CLOSED, Step.REOPEN: State.REOPENED},
    State.CLOSED: {Step.ARCHIVE: State.ARCHIVED},
    State.ARCHIVED: {},
    State.RETURNED: {Step.REISSUE: State.ISSUED, Step.CANCEL: State.CANCELLED},
    State.CANCELLED: {},
}

NEEDS_TEXT = frozenset(
    {Step.DIAGNOSE, Step.REPLY, Step.REOPEN, Step.RETURN, Step.WAIT, Step.TRANSFER, Step.CANCEL}
)
"""Steps that are void without words: the cause, the result of the work, or the reason."""

BY_THE_JOB = frozenset({Step.ARCHIVE})
"""Steps that no person takes: they come with time."""

FINAL = frozenset(state for state, steps in TRANSITIONS.items() if not steps)
SETTLED = FINAL | {State.CLOSED}
"""States in which nobody has anything left to do."""
WORKING = frozenset(state for state, steps in TRANSITIONS.items() if Step.WAIT in steps)
"""States in which somebody is at work, and which a ticket can wait from."""

TRACK = (
    *(State.ISSUED, State.ACCEPTED, State.ON_SITE, State.DIAGNOSED, State.ISOLATED),
    *(State.RESTORED, State.REPLIED, State.CLOSED),
)
"""The milestones that a screen shows; what lies between belongs to the one before it."""

HAPPENED = {
    Step.ACCEPT: "accepted",
    Step.DEPART: "departed",
    Step.ARRIVE: "arrived",
    Step.DIAGNOSE: "diagnosed",
    Step.ISOLATE: "isolated",
    Step.RESTORE: "restored",
    Step.REPLY: "replied",
    Step.CALL_BACK: "called_back",
    Step.REOPEN: "reopened",
    Step.CLOSE: "closed",
    Step.ARCHIVE: "archived",
    Step.RETURN: "returned",
    Step.REISSUE: "reissued",
    Step.TRANSFER: "transferred",
    Step.WAIT: "waiting",
    Step.RESUME: "resumed",
    Step.CANCEL: "cancelled",
}
"""What a step is called once it has happened: the words of the clocks in the policies."""

MANDATORY = ("issued_on", "sender", "handler", "receiver", "account", "cause", "contact")
"""出单日期、发件人、经办人、收件人、用户户号、事由、联系方式 (R20)."""
TELEMETRY_SENDER = "system:"
"""A sender that begins so is a rule; its tickets name a point in place of account and contact."""

FORM = ("effect", "items", "opinion", "signature", "date")
"""《客户服务单》: 效果、项目、客户意见、签名、服务日期 (R110)."""


class Evidence(StrEnum):
    """有记录、有落实、有跟踪、有反馈、有回访 (R35)."""

    RECORD = "record"
    ACTION = "action"
    TRACKING = "tracking"
    FEEDBACK = "feedback"
    CALL_BACK = "call_back"


WAIVERS = {
    Evidence.ACTION: ("no_work_needed",),
    Evidence.TRACKING: ("settled_at_once",),
    Evidence.CALL_BACK: ("anonymous", "vexatious", "not_sampled", "unreachable", "loop_ended"),
}
"""Which evidence may be waived, and for which reasons; record and feedback never."""

_SHOWN_BY = {
    Evidence.ACTION: frozenset({"arrive", "diagnose", "isolate", "restore", "feedback"}),
    Evidence.TRACKING: frozenset({"accept", "arrive", "progress", "urge"}),
    Evidence.FEEDBACK: frozenset({"reply"}),
    Evidence.CALL_BACK: frozenset({"call_back"}),
}


def allowed(state: State) -> tuple[Step, ...]:
    """Return what a person may do in a state, the usual step first; nothing in a final one."""
    return tuple(step for step in TRANSITIONS[state] if step not in BY_THE_JOB)


def offered(state: State, *, has_requester: bool) -> tuple[Step, ...]:
    """Return what is allowed, in the usual order for a ticket that a person or a rule asked for."""
    steps = allowed(state)
    if has_requester or Step.CALL_BACK not in steps:
        return steps
    rest = (s for s in steps if s not in (Step.CLOSE, Step.CALL_BACK))
    return (Step.CLOSE, *rest)  # there is nobody to call


def after(
    ticket: str, state: State, step: Step, text: str, *, waited_from: State | None = None
) -> State:
    """Return the state that a step leads to; `waited_from` is where a waiting ticket goes back.

    Raises `Refused`, telling what is allowed now, when the step is not, or when it needs words and
    `text` has none.
    """
    steps = TRANSITIONS[state]
    if not steps:
        raise Refused("final", ticket=ticket, state=state)
    if step not in steps:
        raise Refused("step", ticket=ticket, state=state, allowed=", ".join(allowed(state)))
    if step in NEEDS_TEXT and not text.strip():
        raise Refused("text_missing", ticket=ticket, step=step)
    if step is Step.RESUME and waited_from in WORKING:
        return waited_from
    return steps[step]


def missing_fields(fields: Mapping[str, object], *, points: Collection[str]) -> tuple[str, ...]:
    """Return which of the seven fields a ticket lacks; telemetry names a point for two of them."""
    needed: tuple[str, ...] = MANDATORY
    if str(fields.get("sender", "")).startswith(TELEMETRY_SENDER):
        needed = tuple(f for f in MANDATORY if f not in ("account", "contact"))
        if not points:
            needed = (*needed, "point")
    return tuple(f for f in needed if not str(fields.get(f) or "").strip())


def missing_form(form: Mapping[str, str]) -> tuple[str, ...]:
    """Return which fields of a service form are empty."""
    return tuple(f for f in FORM if not form.get(f, "").strip())


def missing_evidence(
    verbs: Collection[str],
    *,
    fields_missing: Sequence[str],
    waived: Collection[str],
    has_requester: bool,
) -> tuple[Evidence, ...]:
    """Return the evidences that a ticket still lacks; without a requester nobody is called back."""
    missing = [] if not fields_missing else [Evidence.RECORD]
    for evidence, shown in _SHOWN_BY.items():
        if evidence is Evidence.CALL_BACK and not has_requester:
            continue
        if evidence not in waived and not shown & set(verbs):
            missing.append(evidence)
    return tuple(missing)


def check_waiver(ticket: str, evidence: Evidence, reason: str) -> None:
    """Refuse to waive what cannot be, or for a reason that does not count."""
    reasons = WAIVERS.get(evidence, ())
    if reason not in reasons:
        raise Refused(
            "not_waived",
            subject=ticket,
            fields=evidence,
            allowed_words=", ".join(reasons) or ", ".join(WAIVERS),
        )
