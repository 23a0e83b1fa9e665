"""The figures of a month out of the tickets and their trail, and the record's own proof."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.registry import Registry
from server.servicecore import timeline
from server.servicecore.contacts import first_contact_at
from server.servicecore.ground import Ground
from server.servicecore.rules import kpi, promises
from server.servicecore.rules.clocks import Verdict
from server.servicecore.rules.kpi import Compliance, Load, Pressure, Ratio
from server.servicecore.rules.routing import EMERGENCIES, Category
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import SETTLED, TELEMETRY_SENDER, State, Step
from server.servicecore.store.registers import Case as IncidentCase
from server.servicecore.store.registers import RegistryChange
from server.servicecore.store.tables import Entry, Incident, RegistryRow, Ticket
from telemetry.instant import Instant

Pressures = Callable[[str, Instant, Instant], Awaitable[tuple[Sequence[Pressure], float]]]
"""The samples of a point in [start, end), and how many there should be, in the method's unit."""

REPLIED = frozenset({State.REPLIED, State.CONFIRMED, *SETTLED}) - {State.CANCELLED}
FALSE = "false_alarm"


class Figures:
    """What a month was like; each figure names the tickets behind it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def month(self, start: Instant, end: Instant) -> dict[str, Ratio]:
        """Return the shares of the tickets assigned in [start, end)."""
        return kpi.monthly(await self.cases(end), start=start, end=end)

    async def loads(self, start: Instant, end: Instant) -> dict[str, Load]:
        """Return the backlog of each unit and what moved (R98)."""
        return kpi.loads(await self.cases(end), start=start, end=end)

    async def table(
        self, start: Instant, end: Instant
    ) -> list[dict[str, str | int | float | None]]:
        """Return the monthly analysis table."""
        return kpi.analysis(await self.cases(end), start=start, end=end)

    async def compliance(
        self, pressures: Pressures, start: Instant, end: Instant
    ) -> dict[str, Compliance]:
        """Return the pressure compliance of each zone, and of the network under "" (R02).

        `pressures` reads the history of a point. Each time is held to what was promised then; times
        and points without a promise do not count. A zone and the network sum up their points.
        """
        policy = self._ground.book.policy
        method = policy.text("compliance.method") or "hourly"
        async with self._ground.database.reading() as session:
            row = await session.get(RegistryRow, 1)
            edits = [_edit(change) for change in await session.scalars(_EDITS)]
        registry = Registry() if row is None else Registry.from_json(row.body)
        found: dict[str, list[Compliance]] = defaultdict(list)
        for point in registry.points.values():
            for span in promises.spans_of(point, edits, start=start, end=end):
                samples, expected = await pressures(point.id, span.start, span.end)
                one = kpi.compliance(
                    samples,
                    min_kpa=span.kpa,
                    method=method,
                    exclude=policy.texts("compliance.exclude"),
                    expected=expected,
                )
                found[point.zone].append(one)
                found[""].append(one)
        return {zone: kpi.network(parts) for zone, parts in sorted(found.items())}

    async def cases(self, end: Instant) -> list[kpi.Case]:
        """Return what the figures need of every ticket that was opened before `end`."""
        async with self._ground.database.reading() as session:
            tickets = list(
                await session.scalars(
                    select(Ticket).where(Ticket.created_at < end).order_by(Ticket.number)
                )
            )
            trail: dict[str, list[Entry]] = defaultdict(list)
            for entry in await session.scalars(
                select(Entry).where(Entry.entity.startswith("T-")).order_by(Entry.seq)
            ):
                trail[entry.entity].append(entry)
            return [await self._case(session, t, trail[t.number], end) for t in tickets]

    async def _case(
        self, session: AsyncSession, row: Ticket, entries: Sequence[Entry], end: Instant
    ) -> kpi.Case:
        policy = await self._ground.policy(session, row.policy_rev)
        known = timeline.missed_before(entries)
        found = timeline.readings(row, entries, policy=policy, book=self._ground.book, now=end)
        verdicts = {r.verdict for r in found if not r.is_extended or r.verdict is not Verdict.MET}
        late = bool(known or verdicts & {Verdict.MISSED, Verdict.OVERDUE})
        counts = defaultdict(int, {v: sum(e.verb == v for e in entries) for v in _COUNTED})
        replied = [e.at for e in entries if e.verb == Step.REPLY]
        called = [e for e in entries if e.verb in (Step.CALL_BACK, Step.REOPEN)]
        is_done = row.state in REPLIED and bool(replied)
        incident = await session.get(Incident, row.incident)
        case = await session.get(IncidentCase, row.incident)
        return kpi.Case(
            number=row.number,
            unit=row.unit,
            category=row.category,
            cause=str(row.facts.get("cause") or _cause(entries)),
            assigned_at=Instant(row.created_at),
            is_repair=row.category in EMERGENCIES,
            is_complaint=row.category == Category.COMPLAINT,
            settled_at=Instant(replied[-1]) if is_done else None,
            in_time=False if late else (True if is_done else None),
            was_called=bool(called),
            is_satisfied=called[-1].verb == Step.CALL_BACK if called else None,
            is_false_alarm=row.state == State.CANCELLED
            or (case is not None and case.state == FALSE),
            is_telemetry=str(row.fields.get("sender", "")).startswith(TELEMETRY_SENDER),
            is_drill=row.is_drill,
            opened_at=None if incident is None else Instant(incident.opened_at),
            first_contact_at=await first_contact_at(session, row.incident)
            if row.incident
            else None,
            urges=counts[Verb.URGE],
            returns=counts[Step.RETURN],
            transfers=counts[Step.TRANSFER],
            extensions=counts[Verb.EXTEND],
            reopens=counts[Step.REOPEN],
            **_durations(row, entries),
        )


_EDITS = (
    select(RegistryChange)
    .where(RegistryChange.registry_revision.is_not(None))
    .order_by(RegistryChange.registry_revision)
)
"""Edits of the registry that have come to hold, in that order."""


def _edit(row: RegistryChange) -> promises.Edit:
    at = row.at if row.decided_at is None else row.decided_at
    return promises.Edit(at=Instant(at), subject=row.subject, before=row.before)


_COUNTED = (Verb.URGE, Step.RETURN, Step.TRANSFER, Verb.EXTEND, Step.REOPEN)


def _durations(row: Ticket, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return how long it took to accept, to be there, and to restore."""
    first = {e.verb: e.at for e in reversed(entries)}
    steps = (("accept_ms", Step.ACCEPT), ("onsite_ms", Step.ARRIVE), ("restore_ms", Step.RESTORE))
    return {name: first[step] - row.created_at if step in first else None for name, step in steps}


def _cause(entries: Sequence[Entry]) -> str:
    """Return what the diagnosis called the cause."""
    return next((e.reason for e in reversed(entries) if e.verb == Step.DIAGNOSE), "")
