"""What the engine finds at meters becomes orders of the right desk, beside those of the water."""

from server.engine.alarms import Alarms
from server.engine.detectors import meter_words as words
from server.engine.detectors.finding import Finding
from server.engine.effects import AlarmKind, is_recorded
from server.engine.events import Tick
from server.engine.incidents import Incidents
from server.engine.registry import Point
from server.servicecore.desk import Desk
from server.servicecore.rules.workorder import State
from telemetry.instant import DAY_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity
from tests.support.plant import AT


def meter(name: str) -> Point:
    return Point(
        id=PointId(name),
        zone=ZoneId("north"),
        quantity=Quantity.FLOW,
        name_zh=name,
        name_en=name,
        period_ms=1000,
        x=10.0,
        y=20.0,
    )


def burst() -> Finding:
    return Finding(
        kind=AlarmKind.BURST,
        zone="north",
        subject="",
        points=("north-12/pressure",),
        is_present=True,
        severity=1,
        onset=Instant(AT),
        because=("it fell",),
    )


SCHOOL, HOTEL, INLET = meter("school/flow"), meter("hotel/flow"), meter("north-inlet/flow")
FOUND = [
    burst(),
    words.never_zero(SCHOOL, AT, hours=72, least=0.15, still_days=12, days=14),
    words.never_zero(HOTEL, AT, hours=72, least=0.4, still_days=9, days=14),
    words.stopped(INLET, AT, hours=2, pause=0, is_district=True),
]


def test_each_meter_has_an_order_of_its_own_and_none_is_the_pipe_crews(journal, run):
    alarms, incidents = Alarms(), Incidents()
    event = Tick(at=Instant(AT))
    raised = alarms.apply(event, FOUND, ())
    journal.record(*filter(is_recorded, [*raised, *incidents.apply(event, raised)]))

    async def act(desk: Desk):
        for name, kind in (("branch-desk", "branch"), ("instruments", "instrument")):
            await desk.shifts.set_unit(name, actor="Admin", kind=kind, name=name, zones=())
            await desk.shifts.put_on_duty(
                name,
                f"{name}-liaison",
                actor="Admin",
                role="liaison",
                since=AT,
                until=Instant(AT + DAY_MS),
            )
        await desk.catch_up()
        waiting = sorted((await desk.board()).proposals)
        for incident in waiting:
            await desk.dispatch(incident, actor="Li")
        return waiting, (await desk.board()).tickets

    waiting, tickets = run(act)

    # Only the burst goes out by itself; what meters say is asked first.
    assert len(waiting) == 3
    assert {(t.kind, t.category, t.unit) for t in tickets} >= {
        ("customer_leak", "metering", "branch-desk"),
        ("meter_fault", "instrument", "instruments"),
    }
    of_meters = [t for t in tickets if t.kind != "burst"]
    assert len({t.incident for t in tickets}) == 4
    assert all(t.state == State.ISSUED for t in of_meters)
    by_point = {t.data["points"][0]: t for t in of_meters}
    assert by_point["school/flow"].data["estimate_m3h"] == 0.15
    assert by_point["hotel/flow"].incident != by_point["school/flow"].incident
