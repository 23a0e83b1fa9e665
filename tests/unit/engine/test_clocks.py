"""A gateway whose clock is so far off that nothing of it is judged does not pass for calm."""

import pytest

from server.engine.detectors.stage import Detectors
from server.engine.effects import Accepted, AlarmKind
from server.engine.events import Arrived, Linked, RegistryChanged, Tick
from server.engine.samples import Samples
from telemetry.instant import MINUTE_MS
from telemetry.sample import Sample
from tests.scenarios.town_stream import START, pressure, registry


def story(late_ms, *, seconds=300, is_historical=False):
    """Return the findings of a town whose samples are dated `late_ms(second)` behind."""
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry(("north", "east"))), [])
    detectors.apply(Linked(at=START, up=True), [])
    points = registry(("north", "east")).points
    found = []
    for s in range(seconds):
        at = START + 1000 * s
        read_at = at - late_ms(s)
        accepted = Accepted(
            at=at,
            gateway="gw-01",
            epoch=1,
            first_offset=s * len(points),
            samples=Samples.of(Sample(point=p, at=read_at, value=300.0) for p in points),
            is_historical=is_historical,
        )
        detectors.apply(Arrived(at=at, topic="", payload=b""), [accepted])
        found += [(s, f) for f in detectors.apply(Tick(at=at), [])]
    return found


@pytest.mark.parametrize("late_ms", [0, 1_900, -50_000])
def test_a_clock_that_is_near_enough_is_no_finding(late_ms):
    assert story(lambda _: late_ms) == []


@pytest.mark.parametrize(
    ("late_ms", "because"),
    [
        (5_000, "come 5 s late: its clock or its link is slow"),
        (7 * MINUTE_MS, "come 420 s late"),
        (-2 * MINUTE_MS, "are dated 120 s ahead: its clock is fast"),
    ],
)
def test_a_clock_that_is_off_is_told_once_and_gone_when_it_is_put_right(late_ms, because):
    found = story(lambda s: late_ms if s < 200 else 0)

    (first, raised), (second, cleared) = found
    assert (raised.kind, raised.subject) == (AlarmKind.SENSOR_FAULT, "clock of gateway gw-01")
    assert because in raised.because[0]
    assert set(raised.points) == set(registry(("north", "east")).points)
    assert raised.zone == ""
    assert 60 <= first <= 65
    assert (cleared.key, cleared.is_present) == (raised.key, False)
    assert second >= 200


def test_a_link_that_stalls_for_half_a_minute_is_no_clock():
    assert story(lambda s: max(0, 30_000 - 1_000 * (s - 100)) if s >= 100 else 0) == []


def test_what_waited_in_the_gateway_says_nothing_of_its_clock():
    found = story(lambda _: 10 * MINUTE_MS, is_historical=True)

    assert {f.kind for _, f in found} == {AlarmKind.SILENT}


def test_a_clock_finding_names_the_zone_when_it_is_one():
    detectors = Detectors()
    detectors.apply(RegistryChanged(at=START, registry=registry()), [])
    zones = set()
    for s in range(100):
        at = START + 1000 * s
        late = Sample(point=pressure(0), at=at - MINUTE_MS, value=300.0)
        accepted = Accepted(
            at=at,
            gateway="g",
            epoch=1,
            first_offset=s,
            samples=Samples.of([late]),
            is_historical=False,
        )
        detectors.apply(Arrived(at=at, topic="", payload=b""), [accepted])
        findings = detectors.apply(Tick(at=at), [])
        zones |= {f.zone for f in findings if f.subject.startswith("clock")}

    assert zones == {"north"}
