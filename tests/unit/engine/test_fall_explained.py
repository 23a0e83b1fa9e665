"""What operations do to a zone is put aside, and the search for bursts goes on beside it."""

import pytest

from server.engine.commands import TELL_OPERATION
from server.engine.detectors.stage import Detectors
from server.engine.effects import AlarmRaised, DispatchRequested
from server.engine.events import Commanded, RegistryChanged
from server.engine.explaining import Explaining
from server.engine.operations import Operation, OperationKind, note_of
from tests.scenarios.town_stream import START, Burst, Town, registry
from tests.unit.engine.test_explaining import Room
from tests.unit.engine.test_fall import live

HYDRANT = (9.0, 6.0, 3.0, 2.0, 1.0, 1.0)
BURST = (2.0, 3.0, 5.0, 12.0, 6.0, 2.0)


def told(kind, begin, end, **more):
    operation = Operation(
        id="PW-1",
        kind=OperationKind(kind),
        zone="north",
        begin=START + 1000 * begin,
        end=START + 1000 * end,
        **more,
    )
    return Commanded(
        at=START, key="k", actor="w", verb=TELL_OPERATION, subject="PW-1", note=note_of(operation)
    )


def heard(town, seconds, command):
    """Return what a control room records that was told of an operation."""
    detectors, room = Detectors(), Room()
    room.explaining = Explaining()
    known = RegistryChanged(at=START, registry=registry())
    for event in (known, command):
        detectors.apply(event, [])
        room.apply(event)
    by_second = {}
    for second, finding in live(town, seconds, detectors=detectors):
        by_second.setdefault(second, []).append(finding)
    for second in range(seconds):
        room.tick(START + 1000 * second, *by_second.get(second, ()))
    return room


@pytest.mark.parametrize("declared", [{}, {"m3h": 40.0}])
def test_a_burst_beside_an_open_hydrant_is_sent_for(declared):
    town = Town(3)
    town.bursts = [
        Burst(at=1_500, m3h=40.0, falls=HYDRANT, until=2_900),
        Burst(at=2_200, m3h=45.0, falls=BURST),
    ]

    room = heard(town, 3_200, told("hydrant", 1_480, 3_000, **declared))

    first = room.of(AlarmRaised)[0]
    assert (first.kind, first.explained_by) == ("burst", "PW-1")
    (sent,) = room.of(DispatchRequested)
    assert (sent.kind, sent.mode) == ("burst", "auto")
    assert 0 < sent.at - START - 2_200_000 < 120_000
    assert any("does not explain it" in b for b in sent.because)


def test_a_hydrant_alone_sends_nobody_and_is_gone_when_it_is_shut():
    town = Town(3)
    town.bursts = [Burst(at=1_500, m3h=40.0, falls=HYDRANT, until=4_500)]

    room = heard(town, 7_000, told("hydrant", 1_480, 4_600))

    assert not room.of(DispatchRequested)
    assert room.explaining.due is None


def test_a_hydrant_that_stays_open_is_sent_for_when_it_should_be_shut():
    town = Town(3)
    town.bursts = [Burst(at=1_500, m3h=40.0, falls=HYDRANT)]

    room = heard(town, 6_000, told("hydrant", 1_480, 4_600))

    (sent,) = room.of(DispatchRequested)
    assert sent.at == START + 1000 * (4_600 + 900)
    assert "should have ended" in sent.because[0]


def test_a_burst_in_a_zone_whose_valve_was_shut_is_sent_for():
    town = Town(3)
    town.outage = (1_500, 40.0, 0.5)
    town.bursts = [Burst(at=2_200, m3h=45.0, falls=BURST)]

    room = heard(town, 2_600, told("valve", 1_480, 9_000))

    assert [a.explained_by for a in room.of(AlarmRaised)] == ["PW-1", ""]
    (sent,) = room.of(DispatchRequested)
    assert sent.kind == "burst"
