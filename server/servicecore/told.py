"""What the engine is told of works and orders: pure translations of rows into operations.

Works explain in the time that was planned for them until they begin; then from when they began, and
when they have ended until then. A pump or valve that was switched explains for as long as detectors
take to get used to it, or until it is switched back.
"""

from server.engine.operations import Operation as Told
from server.engine.operations import OperationKind
from server.servicecore.store.registers import Operation, Work
from telemetry.instant import HOUR_MS, Instant

SWITCHED_MS = 4 * HOUR_MS
"""How long a switched pump or valve explains what it did, if nobody switches it back."""

BACK = {"open": "close", "close": "open", "start": "stop", "stop": "start"}
"""Which act takes another back."""


def of_work(row: Work) -> Told:
    """Return planned work as the engine should know it now."""
    begin = row.start if row.begun_at is None else min(row.start, row.begun_at)
    end = row.end if row.ended_at is None else row.ended_at
    return Told(
        id=row.id,
        kind=OperationKind(row.kind),
        zone=row.zone,
        begin=Instant(begin),
        end=Instant(max(begin, end)),
        points=tuple(row.points),
        m3h=row.m3h,
        note=row.cause,
        is_withdrawn=row.state == "cancelled",
    )


def of_order(row: Operation, *, zone: str, taken_back_at: Instant | None = None) -> Told:
    """Return a pump or valve order in a zone, "" for a pump of the whole network."""
    begin = row.ordered_at if row.executed_at is None else row.executed_at
    end = begin + SWITCHED_MS if taken_back_at is None else max(begin, taken_back_at)
    return Told(
        id=row.id,
        kind=OperationKind(row.kind),
        zone=zone,
        begin=Instant(begin),
        end=Instant(end),
        note=f"{row.act} {row.station} {row.unit}",
    )
