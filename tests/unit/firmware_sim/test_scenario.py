"""Stories: times as people write them, events out of files, and one sentence for each mistake."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.moments import duration_ms, moment
from firmware_sim.core.scenario import made, shifted
from firmware_sim.core.timeline import Timeline
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import events_of
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

# 2026-01-01T00:00:00Z, a Thursday; 08:00 in the town.
NEW_YEAR = Instant(1_767_225_600_000)
PLACES = {
    "pipe": ("P-EAST-030", "P-EAST-031"),
    "node": ("J-EAST-012",),
    "pump": ("PU-1",),
    "zone": ("north", "east"),
    "point": ("customer-05/volume",),
    "device": ("customer-05",),
    "line": ("converter-1",),
}


def shanghai(_at):
    return 8 * HOUR_MS


def told(*events, expect=None):
    return ScenarioConfig.model_validate(
        {
            "scenario": {"name": "s", "title": {"zh": "甲", "en": "A"}},
            "event": [{"id": f"e{n}", "at": "+1m"} | e for n, e in enumerate(events)],
            "expect": expect or {},
        }
    )


def parsed(*sections, **more):
    return events_of(told(*sections, **more), origin=NEW_YEAR, offset_ms=shanghai, places=PLACES)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("+1h30m", 90 * MINUTE_MS),
        ("+0s", 0),
        ("08:00", 0),
        ("02:10", 18 * HOUR_MS + 10 * MINUTE_MS),
        ("23:59:30", 16 * HOUR_MS - 30_000),
        ("day 1 09:00", HOUR_MS),
        ("day 3 02:10", 2 * DAY_MS - 6 * HOUR_MS + 10 * MINUTE_MS),
        ("thursday 08:00", 0),
        ("sunday 02:00", 3 * DAY_MS - 6 * HOUR_MS),
    ],
)
def test_a_time_is_what_people_mean_by_it(text, ms):
    assert moment(text, origin=NEW_YEAR, offset_ms=shanghai) - NEW_YEAR == ms


@pytest.mark.parametrize("text", ["soon", "25:00", "12:61", "someday 02:00", "+1x", "day 2"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        moment(text, origin=NEW_YEAR, offset_ms=shanghai)


def test_an_instant_of_the_calendar_is_itself_and_needs_an_offset():
    config = told({"kind": "pump_trip", "at": "2026-01-01T09:00:00+08:00"})

    assert config.event[0].at == NEW_YEAR + HOUR_MS
    with pytest.raises(ValidationError, match="with its offset"):
        told({"kind": "pump_trip", "at": "2026-01-01T09:00:00"})


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59))
def test_a_length_of_time_adds_up(days, hours, minutes):
    text = f"{days}d{hours}h{minutes}m"

    assert duration_ms(text) == days * DAY_MS + hours * HOUR_MS + minutes * MINUTE_MS


def test_a_local_time_keeps_its_clock_over_a_change_to_summer_time():
    def rome(at):
        return 2 * HOUR_MS if at >= 1_774_746_000_000 else HOUR_MS  # 2026-03-29T01:00Z

    at = moment("day 3 04:10", origin=Instant(1_774_602_000_000), offset_ms=rome)

    assert (at + rome(at)) % DAY_MS == 4 * HOUR_MS + 10 * MINUTE_MS


def test_events_come_in_the_order_of_their_beginning_with_all_their_numbers():
    found, mistakes = parsed(
        {"kind": "leak", "at": "+2h", "until": "day 2 02:00", "target": "P-EAST-030", "m3h": 8},
        {"kind": "slow", "at": "+1h", "for": "10m", "target": "converter-1"},
        {"kind": "converter_reboot", "at": "+3h", "target": "converter-1"},
    )

    assert mistakes == []
    slow, leak, reboot = found
    assert (slow.kind, slow.begin, slow.end) == (
        Kind.SLOW,
        NEW_YEAR + HOUR_MS,
        NEW_YEAR + 70 * MINUTE_MS,
    )
    assert slow.numbers == {"seconds": 0.5}
    assert leak.numbers == {"m3h": 8.0, "grow_h": 0.0}
    assert leak.end == NEW_YEAR + 18 * HOUR_MS
    assert reboot.end == reboot.begin + 30_000


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"kind": "brust", "target": "x"}, r"kind: .* was 'brust' \(near names: burst\)"),
        ({"kind": "burst", "target": "P-EAST-030"}, "m3h: required for burst"),
        ({"kind": "burst", "m3h": 40}, "target: required: burst happens to a pipe or node"),
        (
            {"kind": "burst", "target": "p-east-03", "m3h": 40},
            "expected a pipe or node, was 'p-east-03' .*P-EAST-030",
        ),
        ({"kind": "burst", "target": "P-EAST-030", "m3h": -1}, "m3h: expected more than 0"),
        ({"kind": "holiday", "target": "east"}, "expected none, as holiday happens to the whole"),
        ({"kind": "flat", "target": "customer-05", "kpa": 1}, "kpa: flat takes no number"),
        ({"kind": "pump_trip", "at": "2025-12-31T23:00:00Z"}, "after the story's start"),
        ({"kind": "pump_trip", "for": "1h", "until": "12:00"}, "for or until, found both"),
        ({"kind": "pump_trip", "for": "0s"}, "expected an end after its beginning"),
        ({"kind": "tank_emptied"}, "for: required"),
        ({"kind": "pump_trip", "at": "later"}, "expected a time such as"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_event_and_what_exists(section, sentence):
    _, mistakes = parsed(section)

    assert len(mistakes) == 1
    assert mistakes[0].startswith("event[0] 'e0': ")
    assert re.search(sentence, mistakes[0]), mistakes[0]


def test_mistakes_in_what_is_expected_are_found():
    expect = {
        "must_say": [
            {"kind": "bursts", "within_s": 60},
            {"kind": "burst", "zone": "west", "within_s": 60},
            {"kind": "burst", "within_s": 60, "after": "e9"},
        ],
        "must_not_say": ["flood"],
    }

    _, mistakes = parsed({"kind": "pump_trip"}, expect=expect)

    assert [m.split(":")[0] for m in mistakes] == [
        "expect.must_say[0]",
        "expect.must_say[1]",
        "expect.must_say[2]",
        "expect.must_not_say[0]",
    ]


def test_an_id_is_given_once():
    _, mistakes = parsed({"kind": "pump_trip"}, {"kind": "pump_trip", "id": "e0"})

    assert mistakes == ["event[1] 'e0': the id is used already by an event above it"]


def test_a_shifted_story_keeps_its_lengths():
    event = made(
        "pump_trip",
        id_="e",
        begin=NEW_YEAR,
        end=Instant(NEW_YEAR + 5),
        target="",
        numbers={},
        places=PLACES,
    )

    (found,) = shifted([event], -100)

    assert (found.begin, found.end) == (NEW_YEAR - 100, NEW_YEAR - 95)


def test_what_ends_at_an_instant_ends_before_anything_else_begins_there():
    one = Event(id="one", kind=Kind.FLAT, begin=Instant(10), end=Instant(20))
    two = Event(id="two", kind=Kind.FLAT, begin=Instant(20))
    once = Event(id="once", kind=Kind.COUNTER_RESET, begin=Instant(20), end=Instant(30))
    timeline = Timeline([once, two, one])

    seen = []
    while (at := timeline.next()) is not None:
        assert timeline.pop(Instant(at - 1)) is None
        while (turn := timeline.pop(at)) is not None:
            seen.append((at, turn[0].id, turn[1]))

    assert seen == [
        (10, "one", True),
        (20, "one", False),
        (20, "once", True),
        (20, "two", True),
    ]
