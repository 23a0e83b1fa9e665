"""How each alarm stands with the people: seen or not, put aside by whom and until when, heard.

The one place that lays the engine's alarms, people's shelves, planned works and decisions over each
other; the list, the sound and programs read it alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.effects import AlarmKind
from server.servicecore.rules import alarms as rules
from server.servicecore.rules import incident as cases
from server.servicecore.rules.alarms import Axes, Shown
from server.servicecore.store.registers import Case, Work
from server.servicecore.store.tables import Alarm, Incident
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An alarm as a list shows it.

    Of one that is put aside, `until` is when that ends by itself and `by` who shelved it, or which
    planned work explains it.
    """

    shown: Shown
    is_heard: bool
    until: Instant | None = None
    by: str = ""
    reason: str = ""

    @property
    def is_waiting(self) -> bool:
        """Say whether it waits to be seen: nobody acknowledged it, and nobody put it aside."""
        return self.shown in (Shown.UNACKNOWLEDGED, Shown.RETURNED)

    @property
    def is_undecided(self) -> bool:
        """Say whether it was seen, and is heard again because nobody decided anything."""
        return self.shown is Shown.ACKNOWLEDGED and self.is_heard


async def standings(
    session: AsyncSession, *, now: Instant, realarm_ms: int | None
) -> dict[str, Standing]:
    """Return how every alarm stands that is active or that nobody has acknowledged."""
    found = list(
        await session.scalars(select(Alarm).where(Alarm.active | Alarm.acknowledged_at.is_(None)))
    )
    explaining = {row.explained_by for row in found}
    works = {w.id: w for w in await session.scalars(select(Work).where(Work.id.in_(explaining)))}
    live = cases.DECIDED - cases.FINAL
    decided = {
        alarm
        for case in await session.scalars(select(Case).where(Case.state.in_(live)))
        for alarm in case.alarms
    }
    return {
        row.id: _standing(row, works, now=now, is_decided=row.id in decided, realarm_ms=realarm_ms)
        for row in found
    }


async def sounds(
    session: AsyncSession, standing: Mapping[str, Standing], *, now: Instant
) -> dict[str, str]:
    """Return which sound stands for each alarm that is heard now: see `rules.sounding`."""
    heard = [alarm for alarm, found in standing.items() if found.is_heard]
    rows = await session.execute(select(Alarm.id, Alarm.acknowledged_at).where(Alarm.id.in_(heard)))
    open_ones = list(await session.scalars(select(Incident).where(Incident.closed_at.is_(None))))
    return rules.sounding(
        {row.id: row.acknowledged_at for row in rows},
        incidents={alarm: case.id for case in open_ones for alarm in case.alarms},
        is_flood=await is_flood(session, now=now),
        together=[case.id for case in open_ones if case.kind == AlarmKind.SUPPLY],
    )


async def is_flood(session: AsyncSession, *, now: Instant) -> bool:
    """Say whether more alarms came in the last minutes than a dispatcher can look at singly."""
    lately = await session.execute(
        select(Alarm.raised_at).where(
            Alarm.raised_at > now - rules.FLOOD_MS, Alarm.raised_at <= now
        )
    )
    return rules.in_flood([Instant(row.raised_at) for row in lately], at=now)


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


def _standing(
    row: Alarm,
    works: Mapping[str, Work],
    *,
    now: Instant,
    is_decided: bool,
    realarm_ms: int | None,
) -> Standing:
    axes = axes_of(row)
    shown = rules.shown(axes, at=now)
    heard = rules.sounds(axes, at=now, decided=is_decided, realarm_ms=realarm_ms)
    if shown is Shown.SUPPRESSED:
        work = works.get(row.explained_by)
        return Standing(
            shown=shown,
            is_heard=heard,
            until=None if work is None else Instant(work.end),
            by=row.explained_by,
            reason="" if work is None else work.cause,
        )
    if shown is Shown.SHELVED:
        return Standing(
            shown=shown,
            is_heard=heard,
            until=axes.shelved_until,
            by=row.shelved_by,
            reason=row.shelf_reason,
        )
    return Standing(shown=shown, is_heard=heard)
