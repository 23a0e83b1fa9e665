"""What a recorded effect changes in the service core's database; each is carried out once."""

from dataclasses import asdict
from typing import assert_never

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.effects import (
    AlarmAcknowledged,
    AlarmCleared,
    AlarmRaised,
    CommandDone,
    DispatchRequested,
    GatewayChanged,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
    MessageDropped,
    ModelApplied,
    PointSeen,
    QualityMarked,
)
from server.servicecore import dispatch
from server.servicecore.cases import new_case
from server.servicecore.recorded import Identified
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules.incident import TRANSITIONS, Act, State
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import Case
from server.servicecore.store.tables import (
    Alarm,
    Command,
    Dropped,
    Gateway,
    Incident,
    LearntModel,
    SeenPoint,
)
from server.servicecore.store.trail import SYSTEM, append
from server.servicecore.store.trail import Act as TrailAct
from telemetry.instant import Instant


async def carry_out(  # noqa: C901, PLR0912  one line per kind of effect
    session: AsyncSession, item: Identified, *, book: RuleBook, now: Instant
) -> None:
    """Change the tables as an effect says."""
    match item.effect:
        case AlarmRaised() as effect:
            await _alarm_raised(session, effect)
        case AlarmCleared() as effect:
            await _alarm_cleared(session, effect)
        case AlarmAcknowledged() as effect:
            await _alarm_acknowledged(session, effect)
        case IncidentOpened() as effect:
            session.add(_opened(effect))
            session.add(new_case(effect.incident, str(effect.kind), effect.alarms, effect.at))
        case IncidentUpdated() as effect:
            await _incident_updated(session, effect)
        case IncidentClosed() as effect:
            await _incident_closed(session, effect)
        case DispatchRequested() as effect:
            await dispatch.requested(session, item, effect, book=book, now=now)
        case GatewayChanged() as effect:
            await _gateway_changed(session, effect)
        case PointSeen() as effect:
            await _point_seen(session, effect)
        case MessageDropped() as effect:
            await session.merge(
                Dropped(
                    source=effect.source, count=effect.count, because=effect.because, at=effect.at
                )
            )
        case QualityMarked():
            pass  # the historian has it, and whoever computes asks there
        case ModelApplied() as effect:
            await session.merge(_learnt(item, effect))
        case CommandDone() as effect:
            await command_settled(session, effect.key, refused=effect.refused)
        case _ as never:
            assert_never(never)
    await session.flush()


async def command_settled(session: AsyncSession, key: str, *, refused: str) -> None:
    """Note the engine's answer to a command; a refusal gives the subject free again."""
    command = await session.get(Command, key)
    if command is None:
        return  # another desk's, before this database was made
    command.state, command.because = ("refused", refused) if refused else ("done", "")
    if (alarm := await session.get(Alarm, command.subject)) is not None:
        alarm.asked_by, alarm.refusal = "", refused
    if (incident := await session.get(Incident, command.subject)) is not None:
        incident.asked_by, incident.refusal = "", refused
        for alarm in await _alarms(session, incident):
            alarm.asked_by = ""


async def _alarm_raised(session: AsyncSession, effect: AlarmRaised) -> None:
    known = await session.get(Alarm, effect.alarm)  # one that nobody has seen may come again
    await session.merge(
        Alarm(
            id=effect.alarm,
            kind=str(effect.kind),
            zone=effect.zone,
            points=list(effect.points),
            severity=effect.severity,
            onset=effect.onset,
            raised_at=effect.at,
            because=list(effect.because),
            active=True,
            cleared_at=None,
            acknowledged_at=None,
            acknowledged_by="",
            asked_by=known.asked_by if known else "",
            refusal="",
            shelved_until=known.shelved_until if known else None,
            shelved_by=known.shelved_by if known else "",
            shelf_reason=known.shelf_reason if known else "",
            is_out_of_service=known.is_out_of_service if known else False,
            explained_by=effect.explained_by,
        )
    )


async def _alarm_cleared(session: AsyncSession, effect: AlarmCleared) -> None:
    alarm = await session.get(Alarm, effect.alarm)
    if alarm is not None:
        alarm.active = False
        alarm.cleared_at = effect.at


async def _alarm_acknowledged(session: AsyncSession, effect: AlarmAcknowledged) -> None:
    alarm = await session.get(Alarm, effect.alarm)
    if alarm is not None:
        alarm.acknowledged_at = effect.at
        alarm.acknowledged_by = effect.actor
        alarm.asked_by = ""
        alarm.refusal = ""
    for case in await session.scalars(select(Case).where(Case.state == State.OPEN)):
        if effect.alarm in case.alarms:
            case.state, case.since = State.ACKNOWLEDGED, effect.at


def _opened(effect: IncidentOpened) -> Incident:
    return Incident(
        id=effect.incident,
        kind=str(effect.kind),
        zone=effect.zone,
        alarms=list(effect.alarms),
        points=list(effect.points),
        severity=effect.severity,
        onset=effect.onset,
        opened_at=effect.at,
        updated_at=effect.at,
        closed_at=None,
        because=list(effect.because),
        asked_by="",
        refusal="",
        explained_by=effect.explained_by,
    )


def _learnt(item: Identified, effect: ModelApplied) -> LearntModel:
    fields = asdict(effect)
    begin, end = fields.pop("window")
    return LearntModel(journal=item.journal, seq=item.seq, n=item.n, begin=begin, end=end, **fields)


async def _incident_updated(session: AsyncSession, effect: IncidentUpdated) -> None:
    incident = await session.get(Incident, effect.incident)
    if incident is not None:
        incident.kind = str(effect.kind)
        incident.alarms = list(effect.alarms)
        incident.points = list(effect.points)
        incident.severity = effect.severity
        incident.because = list(effect.because)
        incident.updated_at = effect.at
        incident.explained_by = effect.explained_by
    case = await session.get(Case, effect.incident)
    if case is not None:
        case.alarms = list(dict.fromkeys([*case.alarms, *effect.alarms]))
        if case.state in (State.OPEN, State.ACKNOWLEDGED, State.WORKING):
            case.kind = str(effect.kind)  # until a person has said what it is


async def _incident_closed(session: AsyncSession, effect: IncidentClosed) -> None:
    incident = await session.get(Incident, effect.incident)
    if incident is not None:
        incident.closed_at = effect.at
        incident.updated_at = effect.at
        await dispatch.withdraw(session, incident.id)
    case = await session.get(Case, effect.incident)
    if case is not None and Act.END in TRANSITIONS[State(case.state)]:
        before, case.state, case.since = case.state, State.CLOSED, effect.at
        await append(
            session,
            TrailAct(
                at=effect.at,
                actor=SYSTEM,
                entity=effect.incident,
                verb=Verb.SETTLE_INCIDENT,
                before=before,
                after=case.state,
                reason="; ".join(effect.because),
            ),
        )


async def _gateway_changed(session: AsyncSession, effect: GatewayChanged) -> None:
    known = await session.get(Gateway, effect.gateway)
    await session.merge(
        Gateway(
            id=effect.gateway,
            online=effect.online,
            epoch=str(effect.epoch),  # beyond what a signed 64-bit column holds
            because=effect.because,
            lost=effect.lost + (known.lost if known else 0),
            changed_at=effect.at,
        )
    )


async def _point_seen(session: AsyncSession, effect: PointSeen) -> None:
    known = await session.get(SeenPoint, effect.point)
    if effect.status == "refused" and known is not None:
        known.status = "contested"  # its owner keeps it; the screens show that another claims it
        return
    fields = asdict(effect)
    del fields["at"], fields["metric"]
    await session.merge(SeenPoint(id=fields.pop("point"), seen_at=effect.at, **fields))


async def _alarms(session: AsyncSession, incident: Incident) -> list[Alarm]:
    return list(await session.scalars(select(Alarm).where(Alarm.id.in_(incident.alarms))))
