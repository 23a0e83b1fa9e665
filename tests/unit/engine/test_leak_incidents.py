"""A leak that the inflow tells hours after a burst: one incident if they began together."""

from server.engine.effects import AlarmKind, AlarmRaised, DispatchRequested, IncidentOpened
from server.engine.events import Tick
from server.engine.incidents import Incidents
from telemetry.instant import HOUR_MS, Instant


def raised(kind, *, at, onset, alarm):
    return AlarmRaised(
        at=Instant(at),
        alarm=alarm,
        kind=kind,
        zone="north",
        points=(),
        severity=2,
        onset=Instant(onset),
        because=("it is so",),
    )


def told(alarms):
    incidents = Incidents()
    effects = []
    for alarm in alarms:
        effects += incidents.apply(Tick(at=alarm.at), [alarm])
    opened = [e for e in effects if isinstance(e, IncidentOpened)]
    sent = [e for e in effects if isinstance(e, DispatchRequested)]
    return len(opened), [(s.kind, s.mode) for s in sent]


def test_a_leak_that_began_with_a_burst_is_part_of_it():
    burst = raised(AlarmKind.BURST, at=10 * HOUR_MS, onset=10 * HOUR_MS - 9_000, alarm="A-1")
    leak = raised(AlarmKind.LEAK, at=16 * HOUR_MS, onset=10 * HOUR_MS, alarm="A-2")

    assert told([burst, leak]) == (1, [(AlarmKind.BURST, "auto")])


def test_a_leak_that_began_at_another_time_is_its_own_and_is_asked_about():
    burst = raised(AlarmKind.BURST, at=10 * HOUR_MS, onset=10 * HOUR_MS, alarm="A-1")
    leak = raised(AlarmKind.LEAK, at=40 * HOUR_MS, onset=30 * HOUR_MS, alarm="A-2")

    assert told([burst, leak]) == (2, [(AlarmKind.BURST, "auto"), (AlarmKind.LEAK, "confirm")])
