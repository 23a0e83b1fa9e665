"""Alarms live on two axes, incidents gather them, and somebody is sent once."""

import pytest

from server.engine.alarms import Alarms
from server.engine.commands import Keys
from server.engine.detectors.finding import Finding
from server.engine.effects import (
    AlarmAcknowledged,
    AlarmCleared,
    AlarmKind,
    AlarmRaised,
    CommandDone,
    DispatchRequested,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
)
from server.engine.engine import Engine
from server.engine.events import Commanded, Tick
from server.engine.incidents import Incidents

MINUTE = 60_000


class Desk:
    """The last two stages of the engine, fed with findings and commands."""

    def __init__(self):
        self.alarms, self.incidents = Alarms(), Incidents()
        self.at = 0
        self.keys = 0

    def apply(self, event, findings):
        alarms = self.alarms.apply(event, findings, self.incidents.members_of(event))
        return [*alarms, *self.incidents.apply(event, alarms)]

    def find(self, kind, zone="north", subject="", *, present=True, severity=2):
        finding = Finding(
            kind=AlarmKind(kind),
            zone=zone,
            subject=subject,
            points=(subject,) if subject else (f"{zone}-1/pressure",),
            is_present=present,
            severity=severity,
            onset=self.at,
            because=("it fell",),
            estimate_m3h=40.0 if kind == "burst" else None,
        )
        return self.apply(Tick(at=self.at), [finding])

    def gone(self, kind, zone="north", subject=""):
        return self.find(kind, zone, subject, present=False)

    def do(self, verb, subject):
        self.keys += 1
        event = Commanded(
            at=self.at, key=f"k{self.keys}", actor="wang", verb=verb, subject=subject, note="seen"
        )
        return self.apply(event, [])


@pytest.fixture
def desk():
    return Desk()


def kinds(effects):
    return [type(e).__name__ for e in effects]


def of(effects, kind):
    return [e for e in effects if isinstance(e, kind)]


def test_a_burst_is_raised_opened_and_dispatched_at_once(desk):
    effects = desk.find("burst", severity=1)

    assert kinds(effects) == ["AlarmRaised", "IncidentOpened", "DispatchRequested"]
    assert of(effects, AlarmRaised)[0].alarm == "A-000001"
    assert of(effects, IncidentOpened)[0].incident == "INC-000001"
    sent = of(effects, DispatchRequested)[0]
    assert (sent.mode, sent.severity, sent.estimate_m3h) == ("auto", 1, 40.0)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("supply", "auto"),
        ("pressure_low", "confirm"),
        ("pressure_drop", "confirm"),
        ("limit", "confirm"),
        ("sensor_fault", "confirm"),
        ("silent", "confirm"),
    ],
)
def test_only_bursts_and_supply_failures_go_out_without_asking(desk, kind, mode):
    assert [e.mode for e in of(desk.find(kind), DispatchRequested)] == [mode]


def test_an_alarm_that_holds_again_before_it_was_seen_is_the_same_alarm(desk):
    desk.find("pressure_low", subject="a/pressure")
    desk.gone("pressure_low", subject="a/pressure")

    effects = desk.find("pressure_low", subject="a/pressure")

    assert [e.alarm for e in of(effects, AlarmRaised)] == ["A-000001"]
    assert of(effects, DispatchRequested) == []


def test_an_alarm_that_holds_again_after_it_was_seen_is_a_new_one(desk):
    desk.find("pressure_low", subject="a/pressure")
    desk.do("acknowledge_alarm", "A-000001")
    desk.gone("pressure_low", subject="a/pressure")

    effects = desk.find("pressure_low", subject="a/pressure")

    assert [e.alarm for e in of(effects, AlarmRaised)] == ["A-000002"]
    assert [e.incident for e in of(effects, IncidentOpened)] == ["INC-000002"]


@pytest.mark.parametrize("order", [("clear", "see"), ("see", "clear")])
def test_an_incident_closes_when_its_alarms_are_cleared_and_seen(desk, order):
    desk.find("burst")
    effects = []
    for step in order:
        assert of(effects, IncidentClosed) == []
        effects = (
            desk.gone("burst") if step == "clear" else desk.do("acknowledge_alarm", "A-000001")
        )

    assert [e.incident for e in of(effects, IncidentClosed)] == ["INC-000001"]


def test_acknowledging_an_incident_acknowledges_all_its_alarms(desk):
    desk.find("pressure_low", subject="a/pressure")
    desk.find("pressure_low", subject="b/pressure")

    effects = desk.do("acknowledge_incident", "INC-000001")

    assert [e.alarm for e in of(effects, AlarmAcknowledged)] == ["A-000001", "A-000002"]
    assert [e.refused for e in of(effects, CommandDone)] == [""]


@pytest.mark.parametrize(
    ("verb", "subject", "expected"),
    [
        ("acknowledge_alarm", "A-000009", "there is no alarm A-000009 to acknowledge"),
        ("acknowledge_incident", "INC-000009", "there is no open incident INC-000009"),
        ("close_incident", "INC-000001", "INC-000001 cannot be closed while A-000001 is active"),
        ("dance", "INC-000001", "expected one of acknowledge_alarm, acknowledge_incident,"),
    ],
)
def test_the_impossible_is_refused_with_one_sentence(desk, verb, subject, expected):
    desk.find("burst")

    effects = desk.do(verb, subject)

    assert kinds(effects) == ["CommandDone"]
    assert effects[0].refused.startswith(expected)


def test_a_person_may_close_what_has_cleared(desk):
    desk.find("burst")
    desk.gone("burst")

    effects = desk.do("close_incident", "INC-000001")

    assert kinds(effects) == ["AlarmAcknowledged", "CommandDone", "IncidentClosed"]
    assert effects[-1].because == ("closed by wang: seen",)


def test_a_burst_takes_over_the_incident_of_a_single_fall_and_is_sent_once_more(desk):
    desk.find("pressure_drop", subject="a/pressure", severity=3)
    desk.at = 9 * MINUTE

    effects = desk.find("burst", severity=1)

    updated = of(effects, IncidentUpdated)[0]
    assert (updated.incident, updated.kind, updated.severity) == ("INC-000001", "burst", 1)
    assert updated.alarms == ("A-000001", "A-000002")
    assert [e.mode for e in of(effects, DispatchRequested)] == ["auto"]
    assert of(desk.find("pressure_low", subject="b/pressure"), DispatchRequested) == []


def test_a_supply_failure_that_turns_out_a_burst_is_not_sent_twice(desk):
    desk.find("supply")

    effects = desk.find("burst", severity=1)

    assert kinds(effects) == ["AlarmRaised", "IncidentUpdated"]


def test_one_supply_failure_of_three_zones_is_one_incident(desk):
    effects = [e for z in ("north", "east", "south") for e in desk.find("supply", z)]

    assert len(of(effects, IncidentOpened)) == 1
    assert len(of(effects, DispatchRequested)) == 1
    assert of(effects, IncidentUpdated)[-1].alarms == ("A-000001", "A-000002", "A-000003")


def test_a_supply_failure_gathers_what_its_zones_said_before(desk):
    for zone in ("north", "east", "south"):
        desk.find("pressure_low", zone)

    effects = [e for z in ("north", "east", "south") for e in desk.find("supply", z)]

    assert [e.incident for e in of(effects, IncidentClosed)] == ["INC-000002", "INC-000003"]
    assert [e.mode for e in of(effects, DispatchRequested)] == ["auto"]
    last = of(effects, IncidentUpdated)[-1]
    assert (last.incident, last.kind, len(last.alarms)) == ("INC-000001", "supply", 6)


def test_a_supply_failure_leaves_a_burst_that_was_sent_alone(desk):
    desk.find("burst", "east", severity=1)
    desk.find("supply", "north")

    assert of(desk.find("supply", "east"), IncidentClosed) == []


def test_what_comes_later_than_ten_minutes_is_another_incident(desk):
    desk.find("pressure_low", subject="a/pressure")
    desk.at = 10 * MINUTE + 1

    assert len(of(desk.find("burst"), IncidentOpened)) == 1


def test_an_instrument_does_not_join_an_incident_of_the_water(desk):
    desk.find("burst")

    assert len(of(desk.find("silent", subject="a/pressure"), IncidentOpened)) == 1


def test_a_clearing_that_was_never_raised_says_nothing(desk):
    assert desk.gone("burst") == []
    assert of(desk.gone("burst"), AlarmCleared) == []


def test_a_command_is_carried_out_once_however_often_it_comes():
    engine = Engine("mainwatch")
    event = Commanded(
        at=1, key="k", actor="wang", verb="acknowledge_alarm", subject="A-000001", note=""
    )

    assert kinds(engine.apply(event)) == ["CommandDone"]
    assert engine.apply(event) == []


def test_keys_are_remembered_within_a_bound():
    keys = Keys()
    for n in range(20_000):
        keys.is_new(f"k{n}")

    assert not keys.is_new("k19999")
    assert keys.is_new("k0")
