"""Incidents and alarms as people treat them: decide, merge, split, verify, shelve, drill."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import Ground, find, next_id
from server.servicecore.rules import alarms as rules
from server.servicecore.rules import incident as cases
from server.servicecore.rules.alarms import Axes
from server.servicecore.rules.incident import Act, Member, State
from server.servicecore.rules.permissions import Actor, Person, Right, may
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import Case, Contact, Operation, Work
from server.servicecore.store.tables import Alarm, Entry, Incident, Ticket
from server.servicecore.store.trail import entries_of
from telemetry.instant import MINUTE_MS, Instant

QUIET_MIN = 10
"""How long telemetry must be calm before it verifies, where the policy does not say."""
SILENT = "silent"

VERBS = {
    Act.ACKNOWLEDGE: Verb.SEE_INCIDENT,
    Act.WATCH: Verb.WATCH_INCIDENT,
    Act.CONFIRM: Verb.CONFIRM_INCIDENT,
    Act.WORK: Verb.WORK_INCIDENT,
    Act.RESTORE: Verb.RESTORE_INCIDENT,
    Act.VERIFY: Verb.VERIFY_INCIDENT,
    Act.RELAPSE: Verb.RELAPSE_INCIDENT,
    Act.CLOSE: Verb.SETTLE_INCIDENT,
    Act.MERGE: Verb.MERGE_INCIDENT,
    Act.FALSE_ALARM: Verb.FALSE_INCIDENT,
    Act.EXPLAIN: Verb.EXPLAIN_INCIDENT,
    Act.END: Verb.SETTLE_INCIDENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that speaks for or against an incident, for whoever decides."""

    case: Case
    alarms: tuple[Alarm, ...]
    contacts: tuple[Contact, ...]
    works: tuple[Work, ...]
    operations: tuple[Operation, ...]
    tickets: tuple[Ticket, ...]
    history: tuple[Entry, ...]
    doubts: tuple[str, ...]


class Cases:
    """The use cases of incidents and of alarms' shelves."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    # --- incidents --------------------------------------------------------------------------------

    async def act(
        self,
        incident: str,
        act: Act,
        *,
        actor: Person,
        text: str = "",
        kind: str = "",
        waiver: str = "",
        version: int | None = None,
    ) -> State:
        """Say something of an incident and return its state. Raises `Refused`.

        `kind` is what a confirmation found, or what explains it; `waiver` is why an incident counts
        as verified although telemetry does not prove it.
        """
        if act in (Act.MERGE, *cases.BY_ITSELF):
            raise Refused(
                "not_incident_step", subject=incident, state=act, allowed_words="merge, split"
            )
        async with self._ground.acting(actor, Right.INCIDENT, text=text or waiver) as (
            session,
            who,
        ):
            case = await find(session, Case, incident, version=version)
            before = State(case.state)
            state = cases.after(incident, before, act, text)
            data = {}
            match act:
                case Act.EXPLAIN:
                    cases.check_explanation(incident, kind)
                    case.because = kind
                case Act.CONFIRM:
                    case.kind = kind or text.strip()
                case Act.RESTORE:
                    case.restored_at = self._ground.now()
                case Act.VERIFY:
                    await self._check_verified(session, case, waiver)
                    case.verified_at, case.verified_by = self._ground.now(), who.name
                    data = {"waiver": waiver.strip()} if waiver.strip() else {}
                case _:
                    pass
            await self._to(session, case, act, state, who, reason=text or waiver, data=data)
        return state

    async def merge(self, incident: str, into: str, *, actor: Person, text: str) -> None:
        """Say that two incidents are one event; the other has its alarms, tickets and contacts."""
        async with self._ground.acting(actor, Right.INCIDENT, text=text) as (session, who):
            case = await find(session, Case, incident)
            other = await find(session, Case, into)
            cases.check_merge(incident, into, State(other.state))
            state = cases.after(incident, State(case.state), Act.MERGE, text)
            other.alarms = list(dict.fromkeys([*other.alarms, *case.alarms]))
            case.merged_into = into
            for contact in await session.scalars(
                select(Contact).where(Contact.incident == incident)
            ):
                contact.incident = into
            await self._to(session, case, Act.MERGE, state, who, reason=text, data={"into": into})

    async def split(self, incident: str, alarms: Sequence[str], *, actor: Person, text: str) -> str:
        """Take alarms out of an incident into one of their own, and return its id."""
        async with self._ground.acting(actor, Right.INCIDENT, text=text) as (session, who):
            case = await find(session, Case, incident)
            if State(case.state) in cases.FINAL:
                raise Refused("closed", subject=incident)
            cases.check_split(incident, case.alarms, alarms)
            case.alarms = [a for a in case.alarms if a not in alarms]
            parts = await session.scalars(
                select(Case.incident).where(Case.incident.startswith(f"{incident}/"))
            )
            made = f"{incident}/{len(list(parts)) + 2}"
            session.add(new_case(made, case.kind, alarms, self._ground.now(), drill=case.is_drill))
            await self._ground.record(
                session,
                who,
                Verb.SPLIT_INCIDENT,
                incident,
                after=made,
                reason=text,
                data={"alarms": list(alarms)},
            )
            return made

    async def set_drill(self, incident: str, *, actor: Person, text: str) -> None:
        """Mark an incident and its tickets as a drill: shown everywhere, counted nowhere."""
        async with self._ground.acting(actor, Right.DRILL, text=text) as (session, who):
            case = await find(session, Case, incident)
            case.is_drill = True
            for ticket in await session.scalars(select(Ticket).where(Ticket.incident == incident)):
                ticket.is_drill = True
            await self._ground.record(session, who, Verb.DRILL, incident, reason=text)

    async def play_drill(self, *, actor: Person, zone: str, kind: str, text: str) -> str:
        """Begin a drill without any alarm, and return its incident."""
        async with self._ground.acting(actor, Right.DRILL, text=text) as (session, who):
            name = f"DRILL-{await next_id(session, Case, 'C')}"
            session.add(new_case(name, kind, [], self._ground.now(), drill=True))
            await self._ground.record(session, who, Verb.DRILL, name, after=zone, reason=text)
            return name

    async def evidence(self, incident: str) -> Evidence:
        """Return the evidence list of an incident, with why telemetry does not verify it yet."""
        async with self._ground.database.reading() as session:
            case = await find(session, Case, incident)
            alarms = await _alarms_of(session, case)
            zones = {a.zone for a in alarms}
            begin = min((a.onset for a in alarms), default=case.since)
            works = await session.scalars(
                select(Work).where(
                    Work.zone.in_(zones), Work.end > begin, Work.state != "cancelled"
                )
            )
            doubts = cases.doubts(
                _members(alarms), now=self._ground.now(), quiet_ms=self._quiet_ms()
            )
            return Evidence(
                case=case,
                alarms=tuple(alarms),
                contacts=tuple(
                    await session.scalars(select(Contact).where(Contact.incident == incident))
                ),
                works=tuple(works),
                operations=tuple(
                    await session.scalars(select(Operation).where(Operation.incident == incident))
                ),
                tickets=tuple(
                    await session.scalars(select(Ticket).where(Ticket.incident == incident))
                ),
                history=tuple(await entries_of(session, incident)),
                doubts=doubts,
            )

    async def _check_verified(self, session: AsyncSession, case: Case, waiver: str) -> None:
        cases.check_verified(
            case.incident,
            _members(await _alarms_of(session, case)),
            now=self._ground.now(),
            quiet_ms=self._quiet_ms(),
            waiver=waiver,
        )

    def _quiet_ms(self) -> int:
        minutes = self._ground.book.policy.number("verify.quiet_min")
        return int((QUIET_MIN if minutes is None else minutes) * MINUTE_MS)

    async def _to(
        self,
        session: AsyncSession,
        case: Case,
        act: Act,
        state: State,
        who: Actor,
        *,
        reason: str,
        data: dict[str, str],
    ) -> None:
        before, case.state, case.since = case.state, state, self._ground.now()
        await self._ground.record(
            session,
            who,
            VERBS[act],
            case.incident,
            before=before,
            after=state,
            reason=reason,
            data=data,
        )

    # --- alarms -----------------------------------------------------------------------------------

    async def shelve(self, alarm: str, *, actor: Person, until: Instant, reason: str) -> None:
        """Put an alarm aside until an instant; longer than the policy's hours is a leader's."""
        async with self._ground.acting(actor, Right.SHELVE, text=reason) as (session, who):
            row = await find(session, Alarm, alarm)
            axes = axes_of(row)
            if rules.is_shelved(axes, at=self._ground.now()):
                date, by = str(row.shelved_until), row.shelved_by
                raise Refused("shelved", subject=alarm, date=date, actor=by)
            usual = self._ground.book.policy.number("shelve.max_h")
            limit = rules.SHELVE_MAX_H if usual is None else usual
            if may(who, Right.SHELVE_LONG):
                limit = rules.SHELVE_LONG_H
            rules.shelve(
                axes, alarm, until=until, at=self._ground.now(), max_h=limit, reason=reason
            )
            row.shelved_until, row.shelved_by = until, who.name
            row.shelf_reason = reason.strip()
            await self._ground.record(
                session, who, Verb.SHELVE, alarm, reason=reason, data={"until": until}
            )

    async def unshelve(self, alarm: str, *, actor: Person) -> None:
        """Take an alarm back before its time."""
        async with self._ground.acting(actor, Right.SHELVE) as (session, who):
            row = await find(session, Alarm, alarm)
            rules.unshelve(axes_of(row), alarm, at=self._ground.now())
            row.shelved_until, row.shelved_by, row.shelf_reason = None, "", ""
            await self._ground.record(session, who, Verb.UNSHELVE, alarm)

    async def set_service(self, alarm: str, *, actor: Person, is_out: bool, reason: str) -> None:
        """Take an alarm out of service, or back into it: the engineer's."""
        async with self._ground.acting(actor, Right.OUT_OF_SERVICE, text=reason) as (session, who):
            row = await find(session, Alarm, alarm)
            if not reason.strip():
                raise Refused("text_missing", ticket=alarm, step=Verb.OUT_OF_SERVICE)
            row.is_out_of_service = is_out
            verb = Verb.OUT_OF_SERVICE if is_out else Verb.INTO_SERVICE
            await self._ground.record(session, who, verb, alarm, reason=reason)

    async def shown(self) -> dict[str, tuple[rules.Shown, bool]]:
        """Return for each alarm that is not normal what a list shows, and whether it is heard."""
        now = self._ground.now()
        after = self._ground.book.policy.number("realarm.after_min")
        realarm_ms = None if after is None else int(after * MINUTE_MS)
        async with self._ground.database.reading() as session:
            found = await session.scalars(
                select(Alarm).where(Alarm.active | Alarm.acknowledged_at.is_(None))
            )
            live = cases.DECIDED - cases.FINAL
            decided = {
                alarm
                for case in await session.scalars(select(Case).where(Case.state.in_(live)))
                for alarm in case.alarms
            }
            shown = {}
            for row in found:
                axes = axes_of(row)
                heard = rules.sounds(axes, at=now, decided=row.id in decided, realarm_ms=realarm_ms)
                shown[row.id] = (rules.shown(axes, at=now), heard)
        return shown

    async def heard(self) -> dict[str, str]:
        """Return which sound stands for each alarm that is heard now: see `rules.sounding`."""
        now = self._ground.now()
        heard = [alarm for alarm, (_, is_heard) in (await self.shown()).items() if is_heard]
        async with self._ground.database.reading() as session:
            lately = await session.execute(
                select(Alarm.raised_at).where(
                    Alarm.raised_at > now - rules.FLOOD_MS, Alarm.raised_at <= now
                )
            )
            rows = await session.execute(
                select(Alarm.id, Alarm.acknowledged_at).where(Alarm.id.in_(heard))
            )
            open_ones = await session.scalars(select(Incident).where(Incident.closed_at.is_(None)))
            return rules.sounding(
                {row.id: row.acknowledged_at for row in rows},
                incidents={alarm: case.id for case in open_ones for alarm in case.alarms},
                is_flood=rules.in_flood([Instant(row.raised_at) for row in lately], at=now),
            )

    async def figures(self, start: Instant, end: Instant, *, dispatchers: int) -> rules.Figures:
        """Return the alarm system's figures for [start, end)."""
        async with self._ground.database.reading() as session:
            rows = list(await session.scalars(select(Alarm).where(Alarm.raised_at < end)))
            drills = {
                a
                for c in await session.scalars(select(Case).where(Case.is_drill))
                for a in c.alarms
            }
        raised = [
            rules.Raised(
                alarm=r.id,
                at=Instant(r.raised_at),
                cleared_at=None if r.cleared_at is None else Instant(r.cleared_at),
                severity=r.severity,
                is_drill=r.id in drills,
            )
            for r in rows
        ]
        now = self._ground.now()
        shelved = sum(r.shelved_until is not None and r.shelved_until > now for r in rows)
        return rules.figures(raised, start=start, end=end, dispatchers=dispatchers, shelved=shelved)


def new_case(
    incident: str, kind: str, alarms: Sequence[str], at: Instant, *, drill: bool = False
) -> Case:
    """Return the people's side of an incident that has just opened."""
    return Case(
        incident=incident,
        state=cases.FIRST,
        kind=kind,
        is_drill=drill,
        merged_into="",
        because="",
        alarms=list(alarms),
        since=at,
        restored_at=None,
        verified_at=None,
        verified_by="",
    )


def axes_of(row: Alarm) -> Axes:
    """Return an alarm on its axes; what an operation explains is suppressed by it."""
    seen, until = row.acknowledged_at, row.shelved_until
    return Axes(
        is_active=row.active,
        acknowledged_at=None if seen is None else Instant(seen),
        shelved_until=None if until is None else Instant(until),
        suppressed_by=row.explained_by,
        is_out_of_service=row.is_out_of_service,
    )


async def _alarms_of(session: AsyncSession, case: Case) -> list[Alarm]:
    names = list(case.alarms)
    engine = await session.get(Incident, case.incident)
    if engine is not None and not names:
        names = list(engine.alarms)
    return list(await session.scalars(select(Alarm).where(Alarm.id.in_(names))))


def _members(alarms: Sequence[Alarm]) -> list[Member]:
    return [
        Member(
            id=a.id,
            is_active=a.active,
            cleared_at=None if a.cleared_at is None else Instant(a.cleared_at),
            is_silent=a.kind == SILENT,
        )
        for a in alarms
    ]
