"""Who may do what: one table of roles and rights, and the scope of a unit."""

from dataclasses import dataclass
from enum import StrEnum

from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step


class Role(StrEnum):
    """What somebody is on duty as."""

    CALL_TAKER = "call_taker"
    DISPATCHER = "dispatcher"
    SHIFT_LEADER = "shift_leader"
    DESK = "desk"
    CREW = "crew"
    CENTRE = "centre"
    LEADER = "leader"
    ENGINEER = "engineer"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Right(StrEnum):
    """What a use case asks for."""

    CONTACT = "contact"
    URGE = "urge"
    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    SHELVE_LONG = "shelve_long"
    SUPPRESS = "suppress"
    OUT_OF_SERVICE = "out_of_service"
    INCIDENT = "incident"
    DRILL = "drill"
    ISSUE = "issue"
    TRANSFER = "transfer"
    CANCEL = "cancel"
    ORDER = "order"
    PLAN = "plan"
    NOTICE = "notice"
    OVERRIDE = "override"
    HANDOVER = "handover"
    ACCEPT = "accept"
    RETURN = "return"
    ASSIGN = "assign"
    FIELD = "field"
    REPLY = "reply"
    PROGRESS = "progress"
    ASK_EXTENSION = "ask_extension"
    EXTEND = "extend"
    EXTEND_LONG = "extend_long"
    ASK_EXPEDITE = "ask_expedite"
    EXPEDITE = "expedite"
    CALL_BACK = "call_back"
    CLOSE = "close"
    END_LOOP = "end_loop"
    ARCHIVE = "archive"
    FIGURES = "figures"
    READ = "read"
    POINTS = "points"
    PEOPLE = "people"
    AUDIT = "audit"


_CALL_TAKER = {Right.READ, Right.CONTACT, Right.URGE, Right.CALL_BACK, Right.ASK_EXPEDITE}
_DISPATCHER = {
    *(Right.READ, Right.CONTACT, Right.URGE, Right.ACKNOWLEDGE, Right.SHELVE, Right.SUPPRESS),
    *(Right.INCIDENT, Right.DRILL, Right.ISSUE, Right.TRANSFER, Right.CANCEL, Right.ORDER),
    *(Right.PLAN, Right.NOTICE, Right.PROGRESS, Right.ASSIGN, Right.ASK_EXPEDITE),
    *(Right.ASK_EXTENSION, Right.HANDOVER),
}
_CREW = {Right.READ, Right.ACCEPT, Right.FIELD, Right.REPLY, Right.PROGRESS, Right.ASK_EXTENSION}

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.CALL_TAKER: frozenset(_CALL_TAKER),
    Role.DISPATCHER: frozenset(_DISPATCHER),
    Role.SHIFT_LEADER: frozenset(
        {*_DISPATCHER, Right.SHELVE_LONG, Right.OVERRIDE, Right.EXTEND, Right.CLOSE}
    ),
    Role.DESK: frozenset({*_CREW, Right.RETURN, Right.TRANSFER, Right.ASSIGN}),
    Role.CREW: frozenset(_CREW),
    Role.CENTRE: frozenset(
        {
            *(*_CALL_TAKER, Right.CLOSE, Right.END_LOOP, Right.ARCHIVE, Right.FIGURES),
            Right.EXTEND,
        }
    ),
    Role.LEADER: frozenset({Right.READ, Right.EXPEDITE, Right.EXTEND, Right.EXTEND_LONG}),
    Role.ENGINEER: frozenset({Right.READ, Right.OUT_OF_SERVICE, Right.POINTS, Right.ACKNOWLEDGE}),
    Role.ADMIN: frozenset({Right.READ, Right.PEOPLE}),
    Role.AUDITOR: frozenset({Right.READ, Right.AUDIT}),
}
"""The administrator cannot touch a ticket, and the auditor reads only."""

OWN_UNIT_ONLY = frozenset({Role.DESK, Role.CREW})
"""Roles that act on the orders of their own unit and on no other's."""

STEP_RIGHTS: dict[Step, Right] = {
    Step.ACCEPT: Right.ACCEPT,
    Step.DEPART: Right.FIELD,
    Step.ARRIVE: Right.FIELD,
    Step.DIAGNOSE: Right.FIELD,
    Step.ISOLATE: Right.FIELD,
    Step.RESTORE: Right.FIELD,
    Step.WAIT: Right.FIELD,
    Step.RESUME: Right.FIELD,
    Step.REPLY: Right.REPLY,
    Step.CALL_BACK: Right.CALL_BACK,
    Step.REOPEN: Right.CALL_BACK,
    Step.CLOSE: Right.CLOSE,
    Step.ARCHIVE: Right.ARCHIVE,
    Step.RETURN: Right.RETURN,
    Step.REISSUE: Right.ISSUE,
    Step.TRANSFER: Right.TRANSFER,
    Step.CANCEL: Right.CANCEL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts: a name, what they are on duty as, and for which unit."""

    name: str
    roles: frozenset[Role]
    unit: str = ""

    @property
    def words(self) -> str:
        """Return the roles as a refusal names them."""
        return ", ".join(sorted(self.roles)) or "none"


Person = Actor | str
"""Who acts; a bare name is trusted with everything, as the page on loopback without sign-in is."""


def actor_of(person: Person) -> Actor:
    """Return the actor behind a name typed at the start of a shift."""
    if isinstance(person, Actor):
        return person
    return Actor(name=person, roles=frozenset(Role))


def may(actor: Actor, right: Right, *, unit: str = "") -> bool:
    """Say whether one of the actor's roles gives a right over what belongs to `unit`."""
    for role in actor.roles:
        if right not in RIGHTS[role]:
            continue
        if role not in OWN_UNIT_ONLY or not unit or unit == actor.unit:
            return True
    return len(actor.roles) == len(Role)


def check(actor: Actor, right: Right, *, unit: str = "") -> None:
    """Refuse what no role of the actor allows, naming the roles that would."""
    if not may(actor, right, unit=unit):
        able = [str(role) for role, rights in RIGHTS.items() if right in rights]
        words = ", ".join(able)
        if unit and set(able) & set(actor.roles):
            words += f" ({unit})"
        raise Refused("not_permitted", role=actor.words, allowed_words=words)
