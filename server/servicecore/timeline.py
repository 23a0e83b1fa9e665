"""From the trail of a thing to what its clocks read, under the policy that it is pinned to."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from server.servicecore.rulebook import RuleBook
from server.servicecore.rules.clocks import Facts, Happening, Reading, facts_from, is_night, read
from server.servicecore.rules.policy import Policy
from server.servicecore.rules.policy_form import Purpose
from server.servicecore.rules.routing import Category, purpose_of
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import HAPPENED, Step
from server.servicecore.store.tables import Entry, Ticket
from telemetry.instant import Instant

_NAMES = {
    **{str(step): name for step, name in HAPPENED.items()},
    Verb.TAKE_OVER: "handed_over",
    Verb.INFORM: "contacted",
    Verb.FORM_RETURNED: "form_returned",
}
_BEGINNINGS = (Verb.ISSUE, Verb.CONTACT)
"""What begins a thing: its clocks may call that `reported`, or `issued`."""


def happenings(entries: Iterable[Entry]) -> list[Happening]:
    """Return the events of a ticket or contact as the clocks know them."""
    found: list[Happening] = []
    for entry in entries:
        at, code = Instant(entry.at), str(entry.data.get("code", ""))
        if entry.verb in _BEGINNINGS:
            reported = entry.data.get("reported_at", entry.at)
            found.append(Happening(at=Instant(reported), name="reported"))
            found.append(Happening(at=at, name="issued"))
        elif entry.verb in (Verb.EXTEND, Verb.EXPEDITE):
            due = Instant(int(entry.data["due"]))
            found.append(Happening(at=at, name="limit_set", code=code, due=due))
        elif entry.verb in _NAMES:
            found.append(Happening(at=at, name=_NAMES[entry.verb], code=code))
        elif "event" in entry.data:
            found.append(Happening(at=at, name=str(entry.data["event"])))
    return found


def readings(
    ticket: Ticket,
    entries: Sequence[Entry],
    *,
    policy: Policy,
    book: RuleBook,
    now: Instant,
) -> list[Reading]:
    """Return how every clock of a ticket stands; a drill runs none that counts, but shows them."""
    events = happenings(entries)
    facts = _facts(ticket, events, book)
    purposes = {_purpose(ticket), Purpose.REPORT}
    found = (
        read(rule, events, facts=facts, calendar=book.calendar, now=now)
        for rule in policy.clocks
        if rule.purpose in purposes
    )
    return [r for r in found if r is not None]


def missed_before(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the clocks whose miss is on record: a later calendar never rewrites that."""
    return frozenset(str(e.data["code"]) for e in entries if e.verb == Verb.MISS)


def acted(entries: Iterable[Entry], step: Step) -> list[Entry]:
    """Return when a step was taken."""
    return [e for e in entries if e.verb == step]


def _purpose(ticket: Ticket) -> Purpose:
    try:
        return purpose_of(Category(ticket.category))
    except ValueError:
        return Purpose.EMERGENCY  # a ticket of the first release: telemetry sent it


def _facts(ticket: Ticket, events: Sequence[Happening], book: RuleBook) -> Facts:
    facts = facts_from(ticket.facts)
    if facts.night is None and events:
        night = is_night(events[0].at, book.night, calendar=book.calendar)
        facts = replace(facts, night=night)
    return facts
