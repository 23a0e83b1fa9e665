"""What dispatchers plan and order: works with their notices, pumps and valves, pressure points."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.commands import TELL_OPERATION
from server.engine.operations import Operation as Told
from server.engine.operations import OperationKind, note_of
from server.servicecore import told
from server.servicecore.ground import Ground, find, next_id
from server.servicecore.rules import extension, kpi
from server.servicecore.rules.permissions import Actor, Person, Right, check
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.registers import Operation, PressurePoint, Work
from server.servicecore.store.tables import Entry
from telemetry.instant import Instant

KINDS = tuple(str(kind) for kind in OperationKind)
"""What planned work may do to the water."""

ACTS = {"pump": ("start", "stop"), "valve": ("open", "close")}
HEALTH = ("good", "doubtful", "broken")
ROWS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Work that is planned: where, when, why, and how supply is kept up meanwhile (R05).

    `kind` is what it does to the water; flushing and hydrants let out `m3h`, 0 where nobody knows.
    """

    zone: str
    start: Instant
    end: Instant
    cause: str
    plan: str
    points: tuple[str, ...] = ()
    stops_supply: bool = True
    kind: str = "works"
    m3h: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How a zone is covered by its points (R08)."""

    points: int
    good: int
    per_10_km2: float | None


class Plans:
    """The use cases of planned works, operation orders and the register of pressure points."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    # --- planned works ----------------------------------------------------------------------------

    async def plan(self, planned: Planned, *, actor: Person) -> str:
        """Enter planned work with its plan of dispatch, and return its id."""
        async with self._ground.acting(actor, Right.PLAN, text=planned.plan) as (session, who):
            if planned.end <= planned.start:
                raise Refused("dates")
            if planned.kind not in KINDS:
                words = ", ".join(KINDS)
                raise Refused(
                    "not_in_state", subject="works", state=planned.kind, allowed_words=words
                )
            texts = {"cause": planned.cause, "plan": planned.plan, "zone": planned.zone}
            if empty := [name for name, text in texts.items() if not text.strip()]:
                raise Refused("fields_missing", subject=planned.zone, fields=", ".join(empty))
            name = await next_id(session, Work, "PW")
            row = Work(
                id=name,
                zone=planned.zone,
                points=list(planned.points),
                start=planned.start,
                end=planned.end,
                cause=planned.cause.strip(),
                plan=planned.plan.strip(),
                stops_supply=planned.stops_supply,
                notice="",
                noticed_at=None,
                state="planned",
                by=who.name,
                kind=planned.kind,
                m3h=planned.m3h or None,
            )
            session.add(row)
            entry = await self._ground.record(
                session, who, Verb.PLAN, name, after="planned", reason=planned.plan
            )
            self._tell(session, entry, told.of_work(row))
            return name

    async def give_notice(self, work: str, *, actor: Person, text: str) -> None:
        """Give the notice of an outage: time and place, to the hotline, before it begins."""
        async with self._ground.acting(actor, Right.NOTICE, text=text) as (session, who):
            row = await find(session, Work, work)
            if not text.strip():
                raise Refused("text_missing", ticket=work, step=Verb.NOTICE)
            row.notice, row.noticed_at = text.strip(), self._ground.now()
            await self._ground.record(session, who, Verb.NOTICE, work, reason=text)

    async def begin(
        self, work: str, *, actor: Person, override: str = "", version: int | None = None
    ) -> None:
        """Begin planned work. Without the notice that it needs, only with a leader's reason."""
        async with self._ground.acting(actor, Right.PLAN, text=override) as (session, who):
            row = await find(session, Work, work, version=version)
            _check_state(row, "planned")
            needed = row.stops_supply and extension.needs_notice(
                self._ground.book.policy, Instant(row.start), Instant(row.end)
            )
            if needed and row.noticed_at is None:
                if not override.strip():
                    limit = self._ground.book.policy.number("notice.outage_over_h")
                    raise Refused("notice_missing", limit=f"{limit:g}")
                check(who, Right.OVERRIDE)
            row.begun_at = self._ground.now()
            await self._move(session, row, who, Verb.BEGIN, "begun", override)

    async def prolong(self, work: str, *, actor: Person, end: Instant, text: str) -> None:
        """Let work last longer than was planned, or shorter: its alarms wait until then."""
        async with self._ground.acting(actor, Right.PLAN, text=text) as (session, who):
            row = await find(session, Work, work)
            if row.state not in ("planned", "begun"):
                words = "planned, begun"
                raise Refused("not_in_state", subject=work, state=row.state, allowed_words=words)
            if end <= row.start:
                raise Refused("dates")
            if not text.strip():
                raise Refused("text_missing", ticket=work, step=Verb.PROLONG)
            before, row.end = row.end, end
            entry = await self._ground.record(
                session, who, Verb.PROLONG, work, reason=text, data={"before": before, "end": end}
            )
            self._tell(session, entry, told.of_work(row))

    async def end(self, work: str, *, actor: Person, text: str = "") -> None:
        """End planned work: from now on its alarms are heard again."""
        async with self._ground.acting(actor, Right.PLAN, text=text) as (session, who):
            row = await find(session, Work, work)
            _check_state(row, "begun")
            row.ended_at = self._ground.now()
            await self._move(session, row, who, Verb.END, "ended", text)

    async def call_off(self, work: str, *, actor: Person, text: str) -> None:
        """Call planned work off before it begins."""
        async with self._ground.acting(actor, Right.PLAN, text=text) as (session, who):
            row = await find(session, Work, work)
            _check_state(row, "planned")
            if not text.strip():
                raise Refused("text_missing", ticket=work, step="cancel")
            await self._move(session, row, who, Verb.END, "cancelled", text)

    async def works(self, start: Instant, end: Instant) -> list[Work]:
        """Return the works that touch [start, end)."""
        async with self._ground.database.reading() as session:
            asked = select(Work).where(Work.start < end, Work.end > start).order_by(Work.start)
            return list(await session.scalars(asked.limit(ROWS_MAX)))

    async def _move(
        self, session: AsyncSession, row: Work, who: Actor, verb: Verb, state: str, text: str
    ) -> None:
        before, row.state = row.state, state
        entry = await self._ground.record(
            session, who, verb, row.id, before=before, after=state, reason=text
        )
        self._tell(session, entry, told.of_work(row))

    def _tell(self, session: AsyncSession, entry: Entry, operation: Told) -> None:
        """Let the engine know of an operation, in the transaction of the act that changed it."""
        self._ground.ask_engine(session, entry, verb=TELL_OPERATION, note=note_of(operation))

    # --- pump and valve orders --------------------------------------------------------------------

    async def order(
        self,
        *,
        actor: Person,
        kind: str,
        station: str,
        unit: str,
        act: str,
        reason: str,
        incident: str = "",
        work: str = "",
        zone: str = "",
    ) -> str:
        """Order a pump or valve, and return the order's id: who, what, when, why (R06)."""
        async with self._ground.acting(actor, Right.ORDER, text=reason) as (session, who):
            if act not in ACTS.get(kind, ()):
                words = ", ".join(f"{k} {a}" for k, acts in ACTS.items() for a in acts)
                raise Refused("not_in_state", subject=kind, state=act, allowed_words=words)
            texts = {"station": station, "unit": unit, "reason": reason}
            if empty := [name for name, text in texts.items() if not text.strip()]:
                raise Refused("fields_missing", subject=kind, fields=", ".join(empty))
            name = await next_id(session, Operation, "OP")
            row = Operation(
                id=name,
                kind=kind,
                station=station,
                unit=unit,
                act=act,
                ordered_by=who.name,
                ordered_at=self._ground.now(),
                executed_by="",
                executed_at=None,
                confirmed_by="",
                confirmed_at=None,
                reason=reason.strip(),
                incident=incident,
                work=work,
                zone=zone,
            )
            session.add(row)
            what = f"{kind} {station} {unit} {act}"
            entry = await self._ground.record(
                session, who, Verb.ORDER, name, after=what, reason=reason
            )
            self._tell(session, entry, told.of_order(row, zone=await _zone_of(session, row)))
            return name

    async def execute(self, order: str, *, actor: Person, by: str, at: Instant) -> None:
        """Note when an order was carried out and by whom."""
        async with self._ground.acting(actor, Right.ORDER) as (session, who):
            row = await find(session, Operation, order)
            if row.executed_at is not None:
                raise Refused("not_in_state", subject=order, state="executed", allowed_words="-")
            if not row.ordered_at <= at <= self._ground.now():
                raise Refused("dates")
            row.executed_by, row.executed_at = by, at
            entry = await self._ground.record(
                session, who, Verb.EXECUTE, order, after=by, data={"at": at}
            )
            self._tell(session, entry, told.of_order(row, zone=await _zone_of(session, row)))
            await self._take_back(session, row, who, at)

    async def _take_back(
        self, session: AsyncSession, row: Operation, who: Actor, at: Instant
    ) -> None:
        """Tell the engine that what was switched the other way before is over."""
        before = await session.scalar(
            select(Operation)
            .where(
                Operation.kind == row.kind,
                Operation.station == row.station,
                Operation.unit == row.unit,
                Operation.executed_at.is_not(None),
                Operation.executed_at <= at,
                Operation.id != row.id,
            )
            .order_by(Operation.executed_at.desc())
            .limit(1)
        )
        if before is None or before.act != told.BACK[row.act]:
            return
        zone = await _zone_of(session, before)
        entry = await self._ground.record(
            session, who, Verb.END, before.id, after=row.id, data={"at": at}
        )
        self._tell(session, entry, told.of_order(before, zone=zone, taken_back_at=at))

    async def confirm(self, order: str, *, actor: Person) -> None:
        """Confirm that an order was carried out: by another than who ordered it."""
        async with self._ground.acting(actor, Right.ORDER) as (session, who):
            row = await find(session, Operation, order)
            if row.executed_at is None or row.confirmed_at is not None:
                state = "ordered" if row.executed_at is None else "confirmed"
                raise Refused("not_in_state", subject=order, state=state, allowed_words="executed")
            if who.name == row.ordered_by:
                raise Refused("own_request", actor=who.name)
            row.confirmed_by, row.confirmed_at = who.name, self._ground.now()
            await self._ground.record(session, who, Verb.CONFIRM_ORDER, order)

    async def operations(self, start: Instant, end: Instant) -> list[Operation]:
        """Return the orders given in [start, end), oldest first."""
        async with self._ground.database.reading() as session:
            asked = select(Operation).where(
                Operation.ordered_at >= start, Operation.ordered_at < end
            )
            return list(await session.scalars(asked.order_by(Operation.ordered_at).limit(ROWS_MAX)))

    async def run_hours(self, station: str, unit: str, *, end: Instant) -> tuple[float, int]:
        """Return the hours that a pump ran and how often it was started, up to `end` (R07)."""
        async with self._ground.database.reading() as session:
            rows = await session.scalars(
                select(Operation).where(
                    Operation.kind == "pump",
                    Operation.station == station,
                    Operation.unit == unit,
                    Operation.executed_at.is_not(None),
                    Operation.executed_at < end,
                )
            )
            done = [(r.act, Instant(r.executed_at)) for r in rows if r.executed_at is not None]
        return kpi.run_hours(done, end=end)

    # --- pressure points --------------------------------------------------------------------------

    async def register_point(
        self,
        point: str,
        *,
        actor: Person,
        zone: str,
        health: str,
        covers_km2: float,
        calibrated_at: Instant | None = None,
        note: str = "",
    ) -> None:
        """Keep what is known of a pressure point beside the registry: health, calibration (R08)."""
        async with self._ground.acting(actor, Right.POINTS, text=note) as (session, who):
            if health not in HEALTH:
                words = ", ".join(HEALTH)
                raise Refused("not_in_state", subject=point, state=health, allowed_words=words)
            row = await session.get(PressurePoint, point)
            before = "" if row is None else row.health
            if row is None:
                row = PressurePoint(id=point)
                session.add(row)
            row.zone, row.health = zone, health
            row.calibrated_at, row.covers_km2, row.note = calibrated_at, covers_km2, note.strip()
            await self._ground.record(
                session,
                who,
                Verb.REGISTER,
                point,
                before=before,
                after=health,
                reason=note,
            )

    async def coverage(self, zone: str) -> Coverage:
        """Return how many points a zone has, how many are good, and how dense they are."""
        async with self._ground.database.reading() as session:
            rows: Sequence[PressurePoint] = list(
                await session.scalars(select(PressurePoint).where(PressurePoint.zone == zone))
            )
        area = sum(r.covers_km2 for r in rows)
        return Coverage(
            points=len(rows),
            good=sum(r.health == "good" for r in rows),
            per_10_km2=len(rows) / area * 10 if area else None,
        )


async def _zone_of(session: AsyncSession, row: Operation) -> str:
    """Return the zone of an order: its own, else that of the work that it belongs to."""
    if row.zone or not row.work:
        return row.zone
    work = await session.get(Work, row.work)
    return "" if work is None else work.zone


def _check_state(row: Work, state: str) -> None:
    if row.state != state:
        raise Refused("not_in_state", subject=row.id, state=row.state, allowed_words=state)
