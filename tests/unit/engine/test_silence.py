"""Silence is a finding of its own: the widest one is told, and none clears another."""

import pytest

from server.engine.detectors.block import Names, block_of
from server.engine.detectors.silence import Silence
from server.engine.detectors.stage import Detectors
from server.engine.effects import Accepted, AlarmKind
from server.engine.events import Arrived, Linked, RegistryChanged, Tick
from server.engine.samples import Samples
from telemetry.sample import Reason, Sample
from tests.scenarios.town_stream import START, pressure, registry

ALL = tuple(registry(("north", "east")).points)
NORTH = tuple(p for p in ALL if p.startswith("north"))


class Ear:
    """The silence detector, told of one sample or one tick at a time."""

    def __init__(self):
        self.silence, self.names, self.waiting = Silence(), Names(), []
        self.silence.registry_changed(registry(("north", "east")).points, at=START)
        self.linked = self.silence.linked

    def hear(self, point, *, now, gateway, reason):
        sample = Sample(point=point, at=now, value=300.0)
        if reason is not None:
            sample = Sample.bad(point, now, reason)
        self.waiting.append(
            Accepted(
                at=now,
                gateway=gateway,
                epoch=1,
                first_offset=0,
                samples=Samples.of([sample]),
                is_historical=False,
            )
        )

    def tick(self, now):
        block = block_of([now], [(0, a) for a in self.waiting], self.names)
        self.waiting = []
        return [f for _, f in self.silence.run(block)]


@pytest.fixture
def silence():
    return Ear()


def run(silence, seconds, speaking, *, start=0, gateway="gw-01", reason=None):
    findings = []
    for s in range(start, seconds):
        for point in speaking(s):
            gw = gateway(point) if callable(gateway) else gateway
            silence.hear(point, now=START + 1000 * s, gateway=gw, reason=reason)
        findings += [(s, f) for f in silence.tick(START + 1000 * s)]
    return findings


def told(findings):
    return [(f.subject, f.is_present) for _, f in findings]


def test_all_is_well_while_everyone_speaks(silence):
    assert run(silence, 300, lambda _: ALL) == []


def test_one_point_that_falls_silent_is_named_and_clears_when_it_speaks_again(silence):
    point = ALL[0]

    found = run(silence, 300, lambda s: ALL[1:] if 100 <= s < 200 else ALL)

    assert told(found) == [(point, True), (point, False)]
    assert 115 <= found[0][0] <= 121
    assert found[0][1].kind is AlarmKind.SILENT


def test_a_whole_gateway_is_one_finding(silence):
    found = run(silence, 300, lambda s: () if s >= 100 else ALL)

    assert told(found) == [("gateway gw-01", True)]
    assert set(found[0][1].points) == set(ALL)


def test_one_of_two_gateways_is_one_finding(silence):
    found = run(
        silence,
        300,
        lambda s: NORTH if s >= 100 else ALL,
        gateway=lambda p: "gw-north" if p in NORTH else "gw-east",
    )

    assert told(found) == [("gateway gw-east", True)]
    assert found[0][1].zone == "east"


def test_a_good_part_of_a_zone_is_one_finding(silence):
    found = run(silence, 300, lambda s: ALL[4:] if s >= 100 else ALL)

    assert [(f.zone, f.subject) for _, f in found] == [("north", "zone")]


def test_the_servers_own_link_hides_every_other_silence(silence):
    run(silence, 100, lambda _: ALL)
    silence.linked(START + 100_000, is_up=False)
    down = run(silence, 300, lambda _: (), start=100)
    silence.linked(START + 300_000, is_up=True)
    up = run(silence, 500, lambda _: ALL, start=310)

    assert told(down) == [("server link", True)]
    assert told(up) == [("server link", False)]


def test_an_absence_of_our_own_clears_nothing(silence):
    run(silence, 200, lambda s: ALL[1:] if s >= 100 else ALL)
    silence.linked(START + 200_000, is_up=False)
    run(silence, 300, lambda _: (), start=200)
    silence.linked(START + 300_000, is_up=True)

    found = run(silence, 500, lambda _: ALL[1:], start=301)

    assert told(found) == [("server link", False)]


def test_who_was_never_heard_is_told_after_the_start(silence):
    found = run(silence, 200, lambda _: ALL[1:])

    assert told(found) == [(ALL[0], True)]
    assert "has never been heard" in found[0][1].because[0]
    assert found[0][0] > 60


def test_an_instrument_with_only_bad_readings_is_at_fault_and_not_silent(silence):
    def bad_from_100(s):
        if s >= 100:
            silence.hear(ALL[0], now=START + 1000 * s, gateway="gw-01", reason=Reason.TIMEOUT)
        return ALL[1:] if s >= 100 else ALL

    found = run(silence, 300, bad_from_100)

    assert [(f.kind, f.subject) for _, f in found] == [(AlarmKind.SENSOR_FAULT, ALL[0])]
    assert found[0][0] == 160
    assert "timeout" in found[0][1].because[0]


def test_first_readings_are_no_fault(silence):
    assert run(silence, 300, lambda _: ALL, reason=Reason.FIRST_READING) == []


def test_silence_does_not_clear_an_alarm_of_the_water():
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry(low=200.0)), [])
    detectors.apply(Linked(at=START, up=True), [])
    kinds = []
    for s in range(400):
        at = START + 1000 * s
        if s < 100:
            value = 150.0 if s > 50 else 300.0
            low = Sample(point=pressure(0), at=at, value=value)
            others = [Sample(point=pressure(i), at=at, value=300.0) for i in range(1, 6)]
            accepted = Accepted(
                at=at,
                gateway="gw-01",
                epoch=1,
                first_offset=0,
                samples=Samples.of([low, *others]),
                is_historical=False,
            )
            detectors.apply(Arrived(at=at, topic="", payload=b""), [accepted])
        kinds += [(f.kind, f.is_present) for f in detectors.apply(Tick(at=at), [])]

    assert (AlarmKind.PRESSURE_LOW, True) in kinds
    assert (AlarmKind.SILENT, True) in kinds
    assert (AlarmKind.PRESSURE_LOW, False) not in kinds
