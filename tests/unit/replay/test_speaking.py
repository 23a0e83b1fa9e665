"""Is every sample said under one offset, and said again until it is acknowledged?"""

from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.effects import Accepted, AckDue, MessageDropped
from server.engine.engine import Engine
from server.engine.events import Arrived, RegistryChanged
from server.replay.speaking import DEVICE_POINTS_MAX, Row, Speaker
from telemetry.instant import Instant
from telemetry.sample import Quality, Reason
from telemetry.sparkplug import decode, parse_topic
from tests.scenarios.town_stream import START, pressure, registry

KNOWN = registry()
POINTS = [KNOWN.points[name] for name in sorted(KNOWN.points)]


class Wire:
    """A speaker and an engine, and a wire between them that loses what it is told to."""

    def __init__(self):
        self.speaker = Speaker("north", POINTS, group="g", epoch=9)
        self.engine = Engine("mainwatch")
        self.engine.apply(RegistryChanged(at=START, registry=KNOWN))
        self.effects = []
        self.carry(self.speaker.births(START))

    def carry(self, messages, *, lost=False):
        for m in messages:
            if lost:
                continue
            event = Arrived(at=START, topic=m.topic, payload=m.payload)
            for effect in self.engine.apply(event):
                self.effects.append(effect)
                if isinstance(effect, AckDue):
                    self.speaker.acknowledged(effect.epoch, effect.offset)

    def accepted(self):
        found = {}
        for effect in self.effects:
            if isinstance(effect, Accepted):
                for n, sample in enumerate(effect.samples):
                    assert effect.first_offset + n not in found
                    found[effect.first_offset + n] = sample
        return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25))
def test_whatever_is_lost_every_sample_is_accepted_once(script):
    wire = Wire()
    for n, (point, is_lost) in enumerate(script):
        row = Row(point=pressure(point), at=Instant(START + n), value=float(n))
        wire.carry(wire.speaker.say([row], at=START), lost=is_lost)
    wire.carry(wire.speaker.births(START))
    wire.carry(wire.speaker.say_again(START))

    assert [s.value for _, s in sorted(wire.accepted().items())] == [
        float(n) for n in range(len(script))
    ]
    assert wire.speaker.pending == 0
    assert wire.speaker.acked == len(script)
    assert [e for e in wire.effects if isinstance(e, MessageDropped)] == []


def test_a_bad_sample_arrives_with_its_reason():
    wire = Wire()
    bad = Row(point=pressure(0), at=START, value=None, quality=Quality.BAD, reason=Reason.TIMEOUT)
    wire.carry(wire.speaker.say([bad], at=START))
    sample = wire.accepted()[0]

    assert (sample.value, sample.quality, sample.reason) == (None, Quality.BAD, Reason.TIMEOUT)


def test_points_that_are_not_its_own_are_left_out():
    wire = Wire()

    assert wire.speaker.say([Row(point="west-1/pressure", at=START, value=1.0)], at=START) == []


def test_an_acknowledgement_of_another_log_is_none():
    wire = Wire()
    wire.speaker.say([Row(point=pressure(0), at=START, value=1.0)], at=START)
    wire.speaker.acknowledged(8, 1)

    assert wire.speaker.pending == 1


def test_a_zone_of_many_points_is_several_devices():
    points = [POINTS[0]] * (DEVICE_POINTS_MAX + 1)
    births = list(Speaker("z", points, group="g", epoch=1).births(START))

    assert [parse_topic(m.topic).device for m in births] == [None, "d0", "d1"]


def test_a_faster_recording_tells_shorter_periods():
    speaker = Speaker("north", POINTS, group="g", epoch=1, speed=4.0)
    birth = list(speaker.births(START))[1]
    metrics = decode(birth.payload).metrics

    assert {m.properties["mw/period_ms"].value for m in metrics if m.properties} == {250}
