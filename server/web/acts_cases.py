"""What may be said of an incident, and done to the alarms that it is made of."""

from typing import Any

from server.servicecore.rules import incident as cases
from server.servicecore.rules.permissions import Right
from server.web.acts import Act, Code, Doing, Moment, Said, Text, Words


class CaseSaid(Text):
    """Something said of an incident; `version` refuses it when the incident has changed."""

    version: int | None = None


class Confirm(CaseSaid):
    """What it is."""

    kind: Code = ""


class Explain(CaseSaid):
    """What explains it without a fault."""

    kind: Code


class Verify(CaseSaid):
    """Why it counts as verified although telemetry does not prove it."""

    waiver: Words = ""


class Merge(Text):
    """The incident that it is the same event as."""

    into: Code


class Split(Text):
    """The alarms that are another event."""

    alarms: tuple[Code, ...] = ()


class Shelve(Text):
    """An alarm put aside, until when and why."""

    alarm: Code
    until: Moment


class OfAlarm(Said):
    """An alarm."""

    alarm: Code


class TakenOut(Text):
    """An alarm out of service, or back in it."""

    alarm: Code
    is_out: bool


class Drill(Text):
    """A drill without any alarm: where, and what is played."""

    zone: Code
    kind: Code


TAKES: dict[cases.Act, type[CaseSaid]] = {
    cases.Act.CONFIRM: Confirm,
    cases.Act.EXPLAIN: Explain,
    cases.Act.VERIFY: Verify,
}


def _said(act: cases.Act) -> Act:
    async def do(it: Doing, said: Any) -> object:
        return await it.desk.cases.act(
            it.subject,
            act,
            actor=it.who,
            text=said.text,
            kind=getattr(said, "kind", ""),
            waiver=getattr(said, "waiver", ""),
            version=said.version,
        )

    needs: tuple[str, ...] = ("text",) if act in cases.NEEDS_TEXT else ()
    if act is cases.Act.EXPLAIN:
        needs = ("kind", "text")
    return Act(takes=TAKES.get(act, CaseSaid), do=do, right=Right.INCIDENT, needs=needs)


SAYINGS = {str(act): _said(act) for act in cases.Act if act is not cases.Act.MERGE}
"""Every act of the table but the merger, which names another incident."""

CASE_ACTS = {
    **SAYINGS,
    "merge": Act(
        takes=Merge,
        do=lambda it, said: it.desk.cases.merge(
            it.subject, said.into, actor=it.who, text=said.text
        ),
        right=Right.INCIDENT,
        needs=("into", "text"),
    ),
    "split": Act(
        takes=Split,
        do=lambda it, said: it.desk.cases.split(
            it.subject, said.alarms, actor=it.who, text=said.text
        ),
        right=Right.INCIDENT,
        needs=("alarms", "text"),
        leads="/incidents/{}",
    ),
    "drill": Act(
        takes=Text,
        do=lambda it, said: it.desk.cases.set_drill(it.subject, actor=it.who, text=said.text),
        right=Right.DRILL,
        needs=("text",),
    ),
    "acknowledge_alarms": Act(
        takes=Text,
        do=lambda it, said: it.desk.acknowledge_incident(it.subject, actor=it.who, note=said.text),
        right=Right.ACKNOWLEDGE,
    ),
    "dispatch": Act(
        takes=Said,
        do=lambda it, _: it.desk.dispatch(it.subject, actor=it.who),
        right=Right.ISSUE,
        leads="/orders/{}",
    ),
    "shelve": Act(
        takes=Shelve,
        do=lambda it, said: it.desk.cases.shelve(
            said.alarm, actor=it.who, until=it.at(said.until), reason=said.text
        ),
        right=Right.SHELVE,
        needs=("alarm", "until", "text"),
    ),
    "unshelve": Act(
        takes=OfAlarm,
        do=lambda it, said: it.desk.cases.unshelve(said.alarm, actor=it.who),
        right=Right.SHELVE,
        needs=("alarm",),
    ),
    "service": Act(
        takes=TakenOut,
        do=lambda it, said: it.desk.cases.set_service(
            said.alarm, actor=it.who, is_out=said.is_out, reason=said.text
        ),
        right=Right.OUT_OF_SERVICE,
        needs=("alarm", "is_out", "text"),
    ),
}

DRILL_ACTS = {
    "play": Act(
        takes=Drill,
        do=lambda it, said: it.desk.cases.play_drill(
            actor=it.who, zone=said.zone, kind=said.kind, text=said.text
        ),
        right=Right.DRILL,
        needs=("zone", "kind", "text"),
        leads="/incidents/{}",
    ),
}
