"""What may be done to a ticket, besides the steps of its way which have a table of their own."""

from typing import Any

from pydantic import Field

from server.servicecore.orders import More
from server.servicecore.rules.permissions import STEP_RIGHTS, Right
from server.servicecore.rules.routing import Category
from server.servicecore.rules.workorder import FORM, NEEDS_TEXT, Evidence, Step
from server.web.acts import Act, Code, Doing, Moment, Said, Text, Words


class StepSaid(Text):
    """A step; `version` refuses it when the ticket has changed since it was looked at."""

    version: int | None = None


class Wait(StepSaid):
    """Standing still: only some reasons stop a clock."""

    code: Code = ""


class Diagnosis(StepSaid):
    """What it is, whose pipe, where and how large: clocks depend on it."""

    liability: Code = ""
    place: Code = ""
    dn_mm: int | None = Field(default=None, ge=1, le=10_000)


class Reply(StepSaid):
    """The result, and the service form where one was filled in."""

    effect: Words = ""
    items: Words = ""
    opinion: Words = ""
    signature: Code = ""
    date: Code = ""


class SendOn(StepSaid):
    """Another desk; none chosen means by category and place."""

    unit: Code = ""


class CallBack(StepSaid):
    """What the customer says."""

    is_satisfied: bool = True


TAKES: dict[Step, type[StepSaid]] = {
    Step.WAIT: Wait,
    Step.RETURN: Wait,
    Step.DIAGNOSE: Diagnosis,
    Step.REPLY: Reply,
    Step.TRANSFER: SendOn,
    Step.REISSUE: SendOn,
    Step.CALL_BACK: CallBack,
}


def _step(step: Step) -> Act:
    async def do(it: Doing, said: Any) -> object:
        facts = {k: getattr(said, k) for k in ("liability", "place", "dn_mm") if hasattr(said, k)}
        form = {k: getattr(said, k) for k in FORM if hasattr(said, k)}
        more = More(
            code=getattr(said, "code", ""),
            unit=getattr(said, "unit", ""),
            facts=facts,
            form=form if any(v.strip() for v in form.values()) else {},
            is_satisfied=getattr(said, "is_satisfied", True),
        )
        return await it.desk.step(
            it.subject, step, actor=it.who, text=said.text, version=said.version, more=more
        )

    return Act(
        takes=TAKES.get(step, StepSaid),
        do=do,
        right=STEP_RIGHTS[step],
        needs=("is_satisfied",)
        if step is Step.CALL_BACK
        else (("text",) if step in NEEDS_TEXT else ()),
    )


STEPS = {str(step): _step(step) for step in Step}
"""Every step of the table, those that nobody is offered too: whoever posts one is told why not."""


class AskInstruction(Text):
    """A question to the department or the leader."""

    of: Code = ""


class Waive(Text):
    """Doing without an evidence, for a reason that counts."""

    evidence: Evidence
    reason: Code


class Event(Text):
    """Something that clocks of projects and reports wait for."""

    event: Code


class Assign(Said):
    """The crew that goes."""

    crew: Code


class HandOver(Text):
    """A colleague who is to answer for it."""

    to: Code


class AskExtension(Text):
    """More time: why, with which plan, until when."""

    clock: Code
    plan: Words = ""
    until: Moment


class Decide(Text):
    """Yes or no."""

    is_granted: bool


class AskExpedite(Text):
    """A shorter limit."""

    clock: Code


class Expedite(Text):
    """The shorter limit that a leader chooses; none refuses it."""

    until: Moment = ""


class Children(Said):
    """Where the water comes out."""

    place: Code


class Child(Said):
    """One more order of the same incident."""

    task: Words
    category: Category = Category.REPAIR
    unit: Code = ""


async def _note(it: Doing, said: Text, *, is_feedback: bool) -> None:
    await it.desk.order_acts.report(
        it.subject, actor=it.who, text=said.text, is_feedback=is_feedback
    )


async def _expedite(it: Doing, said: Expedite) -> None:
    due = it.at(said.until) if said.until.strip() else None
    await it.desk.order_acts.decide_expedite(it.subject, actor=it.who, due=due, text=said.text)


_TEXT = ("text",)


class Analysis(Text):
    """Whether the water is as it must be, and what the report says."""

    is_fit: bool


class Finding(Text):
    """Whether the report is true, and what was found."""

    is_true: bool


class Archive(Said):
    """Everything that was closed before an instant."""

    before: Moment


ARCHIVE_ACTS = {
    "archive": Act(
        takes=Archive,
        do=lambda it, said: it.desk.orders.archive(actor=it.who, before=it.at(said.before)),
        right=Right.ARCHIVE,
        needs=("before",),
    ),
}
"""What is done to many tickets at once."""

ORDER_ACTS = {
    "progress": Act(
        takes=Text,
        do=lambda it, said: _note(it, said, is_feedback=False),
        right=Right.PROGRESS,
        needs=_TEXT,
    ),
    "feedback": Act(
        takes=Text,
        do=lambda it, said: _note(it, said, is_feedback=True),
        right=Right.PROGRESS,
        needs=_TEXT,
    ),
    "urge": Act(
        takes=Text,
        do=lambda it, said: it.desk.order_acts.urge(it.subject, actor=it.who, text=said.text),
        right=Right.URGE,
        needs=_TEXT,
    ),
    "event": Act(
        takes=Event,
        do=lambda it, said: it.desk.order_acts.note_event(
            it.subject, actor=it.who, event=said.event, text=said.text
        ),
        right=Right.PROGRESS,
        needs=("event", "text"),
    ),
    "assign": Act(
        takes=Assign,
        do=lambda it, said: it.desk.order_acts.assign(it.subject, actor=it.who, crew=said.crew),
        right=Right.ASSIGN,
        needs=("crew",),
    ),
    "hand_over": Act(
        takes=HandOver,
        do=lambda it, said: it.desk.order_acts.hand_over(
            it.subject, actor=it.who, to=said.to, text=said.text
        ),
        right=Right.REPLY,
        needs=("to",),
    ),
    "take_over": Act(
        takes=Said,
        do=lambda it, _: it.desk.order_acts.take_over(it.subject, actor=it.who),
        right=Right.REPLY,
    ),
    "ask_extension": Act(
        takes=AskExtension,
        do=lambda it, said: it.desk.order_acts.ask_extension(
            it.subject,
            actor=it.who,
            clock=said.clock,
            reason=said.text,
            plan=said.plan,
            expected=it.at(said.until),
        ),
        right=Right.ASK_EXTENSION,
        needs=("clock", "text", "plan", "until"),
    ),
    "extend": Act(
        takes=Decide,
        do=lambda it, said: it.desk.order_acts.decide_extension(
            it.subject, actor=it.who, is_granted=said.is_granted, text=said.text
        ),
        right=Right.EXTEND,
        needs=("is_granted",),
    ),
    "ask_expedite": Act(
        takes=AskExpedite,
        do=lambda it, said: it.desk.order_acts.ask_expedite(
            it.subject, actor=it.who, clock=said.clock, reason=said.text
        ),
        right=Right.ASK_EXPEDITE,
        needs=("clock", "text"),
    ),
    "expedite": Act(takes=Expedite, do=_expedite, right=Right.EXPEDITE),
    "ask_instruction": Act(
        takes=AskInstruction,
        do=lambda it, said: it.desk.order_acts.ask_instruction(
            it.subject, actor=it.who, text=said.text, of=said.of
        ),
        right=Right.PROGRESS,
        needs=_TEXT,
    ),
    "instruct": Act(
        takes=Text,
        do=lambda it, said: it.desk.order_acts.instruct(it.subject, actor=it.who, text=said.text),
        right=Right.EXTEND,
        needs=_TEXT,
    ),
    "waive": Act(
        takes=Waive,
        do=lambda it, said: it.desk.order_acts.waive(
            it.subject, said.evidence, actor=it.who, reason=said.reason, text=said.text
        ),
        right=Right.CLOSE,
        needs=("evidence", "reason"),
    ),
    "sample": Act(
        takes=Text,
        do=lambda it, said: it.desk.inquiries.sample(it.subject, actor=it.who, text=said.text),
        right=Right.FIELD,
        needs=_TEXT,
    ),
    "analyse": Act(
        takes=Analysis,
        do=lambda it, said: it.desk.inquiries.analyse(
            it.subject, actor=it.who, is_fit=said.is_fit, text=said.text
        ),
        right=Right.REPLY,
        needs=("is_fit", "text"),
    ),
    "find": Act(
        takes=Finding,
        do=lambda it, said: it.desk.inquiries.find_out(
            it.subject, actor=it.who, is_true=said.is_true, text=said.text
        ),
        right=Right.REPLY,
        needs=("is_true", "text"),
    ),
    "reward": Act(
        takes=Text,
        do=lambda it, said: it.desk.inquiries.reward(it.subject, actor=it.who, text=said.text),
        right=Right.CLOSE,
        needs=_TEXT,
    ),
    "form_returned": Act(
        takes=Said,
        do=lambda it, _: it.desk.order_acts.form_returned(it.subject, actor=it.who),
        right=Right.CLOSE,
    ),
    "children": Act(
        takes=Children,
        do=lambda it, said: it.desk.orders.give_children(
            it.subject, actor=it.who, place=said.place
        ),
        right=Right.ISSUE,
        needs=("place",),
    ),
    "child": Act(
        takes=Child,
        do=lambda it, said: it.desk.orders.give_child(
            it.subject, actor=it.who, task=said.task, category=said.category, unit=said.unit
        ),
        right=Right.ISSUE,
        needs=("task", "category"),
    ),
}
