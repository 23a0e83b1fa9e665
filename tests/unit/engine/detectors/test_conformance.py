"""What every detector owes, held against each row of one table.

A new detector is a row: its module, what it says, and a story that makes it speak. All of them are
played through the whole stage, as the engine does.
"""

import doctest
import inspect
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import repeat
from pathlib import Path
from types import ModuleType

import pytest

from server.engine.detectors import (
    bands,
    clocks,
    falls,
    limits,
    loners,
    meters,
    point_seasons,
    quality,
    recovery,
    season,
    silence,
)
from server.engine.detectors.finding import Finding
from server.engine.detectors.forecast import READY, VERSION
from server.engine.effects import AlarmKind
from server.engine.events import Commanded, ModelPublished, hash_of
from server.engine.operations import TELL_OPERATION, Operation, OperationKind, note_of
from server.engine.registry import Point
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity
from tests.scenarios.town_stream import INFLOW, START, Burst, Town, pressure, registry
from tests.unit.engine.detectors.harness import ARRAYS, Heard, Story, play, size_after

SECONDS = 400
TICK_S = 300  # of slow stories
HOUR = START // HOUR_MS * HOUR_MS


def town_story(seed, *, low=None, bursts=(), mute=(), late_ms=lambda second: 0, seconds=SECONDS):
    """Return a town of six pressures and an inflow, a sample each second of each."""
    town = Town(seed)
    town.bursts = list(bursts)
    names = [*(pressure(i) for i in range(6)), INFLOW]
    heard = []
    for s in range(seconds):
        now = START + 1000 * s
        pressures, flow = town.at(s)
        heard += [
            Heard(now=now, at=now - late_ms(s), point=point, value=value)
            for point, value in zip(names, [*pressures, flow], strict=True)
            if not any(point == m and begin <= s < end for m, begin, end in mute)
        ]
    return Story(registry=registry(low=low), heard=heard, seconds=seconds)


def falling(seed):
    opening = Burst(at=200, m3h=40.0, falls=(9.0, 6.0, 3.0, 2.0, 1.0, 1.0), until=300)
    return town_story(seed, bursts=[opening])


def below_a_limit(seed):
    dip = Burst(at=150, m3h=0.0, falls=(60.0, 0.0, 0.0, 0.0, 0.0, 0.0), until=250)
    return town_story(seed, low=330.0, bursts=[dip])


def silent(seed):
    chance = random.Random(seed)
    begin = chance.randrange(80, 120)
    return town_story(seed, mute=[(pressure(3), begin, begin + 90)])


def behind_time(seed):
    chance = random.Random(seed)
    begin = chance.randrange(60, 100)
    return town_story(seed, late_ms=lambda s: 9_000 if begin <= s < begin + 120 else 0)


def beyond_nature(seed):
    chance = random.Random(seed)
    begin = chance.randrange(100, 140)
    story = town_story(seed, seconds=600)
    spoilt = START + 1000 * begin
    return story.with_heard(
        h._replace(value=9_000.0)
        if h.point == pressure(4) and spoilt <= h.now < spoilt + 15_000
        else h
        for h in story.heard
    )


def stepped_aside(seed):
    """Return a town in which a transmitter is knocked, and set right, as nothing in water is."""
    town = town_story(seed, seconds=700)
    knocked = range(START + 200_000, START + 300_000)
    return town.with_heard(
        h._replace(value=h.value + 30.0) if h.point == pressure(2) and h.now in knocked else h
        for h in town.heard
    )


def slow_story(seed, *, begin, seconds, step_s, change, points=(), events=()):
    """Return the town at the pace of slow instruments; `change` adds to a point at an instant."""
    chance = random.Random(seed)
    known = registry(period_ms=1000 * step_s)
    known = replace(known, points={**known.points, **{p.id: p for p in points}})
    levels = {p: 100.0 if p == INFLOW else 300.0 for p in known.points}
    heard = [
        Heard(now=at + 3_000, at=at, point=p, value=level + chance.gauss(0, 0.5) + change(p, at))
        for at in range(begin, begin + 1000 * seconds, 1000 * step_s)
        for p, level in levels.items()
    ]
    end = begin + 1000 * seconds - START
    return Story(
        registry=known, heard=heard, seconds=end // 1000, tick_s=TICK_S, events=tuple(events)
    )


def counter_begun_anew(seed):
    """Return a day and a half with the total of a customer's meter, which is replaced."""
    total = PointId("school/volume")
    meter = Point(
        id=total,
        zone=ZoneId("north"),
        quantity=Quantity.VOLUME,
        name_zh="学校",
        name_en="School",
        period_ms=1000 * TICK_S,
        x=700.0,
        y=700.0,
    )
    begin = HOUR + HOUR_MS
    replaced = begin + 3 * HOUR_MS

    def count(point, at):
        if point != total:
            return 0.0
        return (at - begin) / HOUR_MS * 12 + (5_000.0 if at < replaced else 0.0)

    return slow_story(
        seed, begin=begin, seconds=30 * 3600, step_s=TICK_S, change=count, points=[meter]
    )


def left_shut(seed):
    """Return works after which all pressures stay down for three hours."""
    begin = HOUR + HOUR_MS
    ends = begin + 2 * HOUR_MS
    works = Operation(
        id="works-1",
        kind=OperationKind.WORKS,
        zone="north",
        begin=Instant(begin + HOUR_MS),
        end=Instant(ends),
    )
    told = Commanded(
        at=Instant(begin + 1_000),
        key="k-1",
        actor="desk",
        verb=TELL_OPERATION,
        subject="works-1",
        note=note_of(works),
    )

    def fall(point, at):
        is_down = begin + HOUR_MS <= at < ends + 3 * HOUR_MS
        return -90.0 if is_down and point != INFLOW else 0.0

    return slow_story(
        seed, begin=begin, seconds=7 * 3600, step_s=TICK_S, change=fall, events=[told]
    )


def out_of_its_band(seed):
    """Return half a day at a slow pace: one pressure stays 6 kPa low for some hours."""
    begin = HOUR + HOUR_MS

    def low(point, at):
        is_low = point == pressure(2) and begin + 2 * HOUR_MS <= at < begin + 7 * HOUR_MS
        return -6.0 if is_low else 0.0

    artefact = {
        "version": VERSION,
        "state": "learning",
        "points": {pressure(i): [296.0, 304.0] for i in range(6)},
    }
    learnt = ModelPublished(
        at=Instant(begin + 1_000),
        zone="north",
        window=(Instant(begin - 42 * DAY_MS), Instant(begin)),
        artefact=artefact,
        hash=hash_of(artefact),
    )
    return slow_story(
        seed, begin=begin, seconds=12 * 3600, step_s=TICK_S, change=low, events=[learnt]
    )


def off_its_habit(seed):
    """Return eight days of hourly pressures: one stays 3 kPa below the others for a day."""
    begin = (START // DAY_MS + 1) * DAY_MS
    leaves = begin + (point_seasons.REST_H + 12) * HOUR_MS

    def low(point, at):
        return -3.0 if point == pressure(2) and leaves <= at < leaves + DAY_MS else 0.0

    habit = {"usual": [0.0] * 48, "sigma": [0.5] * 24, "threshold": 40.0, "a_year": 0.01}
    artefact = {
        "version": VERSION,
        "state": "learning",
        "habits": {
            "begin": begin,
            "slots": [n % 24 for n in range(9 * 24)],
            "points": {pressure(i): habit for i in range(6)},
        },
    }
    learnt = ModelPublished(
        at=Instant(begin + 1_000),
        zone="north",
        window=(Instant(begin - 42 * DAY_MS), Instant(begin)),
        artefact=artefact,
        hash=hash_of(artefact),
    )
    return slow_story(
        seed, begin=begin, seconds=8 * 24 * 3600, step_s=3600, change=low, events=[learnt]
    )


def leaking(seed):
    """Return three days of hourly flows: one with a leak, with what was learnt before each."""
    begin = (START // DAY_MS + 1) * DAY_MS
    day = 24 * 3600

    def leak(point, at):
        return 12.0 if point == INFLOW and begin + 6 * HOUR_MS <= at < begin + DAY_MS else 0.0

    published = [
        forecast_of(begin + n * DAY_MS, levels=[100.0] * 5 + [109.0, 100.0][:n]) for n in range(3)
    ]
    return slow_story(
        seed, begin=begin, seconds=3 * day, step_s=3600, change=leak, events=published
    )


def forecast_of(day, *, levels):
    """Return what was learnt at the beginning of a day: the levels of the days before it."""
    first = day - len(levels) * DAY_MS
    artefact = {
        "version": VERSION,
        "state": READY,
        "inflow": {
            "begin": day,
            "expected": [0.0] * 48,
            "sigma": [2.0] * 48,
            "levels": [[first + n * DAY_MS, level] for n, level in enumerate(levels)],
            "threshold": 12.0,
            "past_days": 90,
            "past_alarms": 0,
        },
    }
    return ModelPublished(
        at=Instant(day + 30 * MINUTE_MS),
        zone="north",
        window=(Instant(first), Instant(day)),
        artefact=artefact,
        hash=hash_of(artefact),
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A detector: `is_its` tells its findings from those of others of the same kind.

    `late_is_heard` where samples later than their bin are what it is about, or every reading is.
    """

    module: ModuleType
    kinds: tuple[AlarmKind, ...]
    story: Callable[[int], Story]
    is_its: Callable[[object], bool] = lambda _finding: True
    late_is_heard: bool = False


def is_of_gateways(finding):
    return not finding.subject.startswith("clock") and not is_of_instruments(finding)


def is_of_instruments(finding):
    return finding.subject.endswith(" instrument")


TABLE = [
    Row(module=limits, kinds=(AlarmKind.PRESSURE_LOW, AlarmKind.LIMIT), story=below_a_limit),
    Row(
        module=falls,
        kinds=(AlarmKind.BURST, AlarmKind.SUPPLY, AlarmKind.PRESSURE_DROP),
        story=falling,
    ),
    Row(
        module=silence,
        kinds=(AlarmKind.SILENT, AlarmKind.SENSOR_FAULT),
        story=silent,
        is_its=is_of_gateways,
    ),
    Row(
        module=clocks,
        kinds=(AlarmKind.SENSOR_FAULT,),
        story=behind_time,
        is_its=lambda f: f.subject.startswith("clock"),
        late_is_heard=True,
    ),
    Row(
        module=quality,
        kinds=(AlarmKind.SENSOR_FAULT,),
        story=beyond_nature,
        is_its=is_of_instruments,
        late_is_heard=True,
    ),
    Row(
        module=loners,
        kinds=(AlarmKind.SENSOR_FAULT,),
        story=stepped_aside,
        is_its=is_of_instruments,
    ),
    Row(module=meters, kinds=(AlarmKind.METER_FAULT,), story=counter_begun_anew),
    Row(module=recovery, kinds=(AlarmKind.RECOVERY,), story=left_shut),
    Row(
        module=bands,
        kinds=(AlarmKind.PRESSURE_LOW,),
        story=out_of_its_band,
        is_its=lambda f: f.is_watch,
    ),
    Row(
        module=point_seasons,
        kinds=(AlarmKind.PRESSURE_LOW,),
        story=off_its_habit,
        is_its=lambda f: f.subject.endswith(" habit"),
    ),
    Row(module=season, kinds=(AlarmKind.LEAK,), story=leaking),
]

every_detector = pytest.mark.parametrize(
    "row", TABLE, ids=[row.module.__name__.rpartition(".")[2] for row in TABLE]
)


@cache
def said(row, seed=1):
    """Return all that the stage says of a row's story, in one go; tests do not change it."""
    return tuple(play(row.story(seed)))


def its(row, found):
    return [
        (at, f)
        for at, f in found
        if isinstance(f, Finding) and f.kind in row.kinds and row.is_its(f)
    ]


@every_detector
def test_it_speaks_and_says_why_when_something_comes_and_when_it_goes(row):
    found = [f for _, f in its(row, said(row))]

    assert any(f.is_present for f in found) and any(not f.is_present for f in found)
    for f in found:
        assert f.because
        assert all(reason.strip() for reason in f.because)
        assert f.onset >= START and 1 <= f.severity <= 4


@every_detector
def test_it_leaves_its_input_as_it_was(row):
    blocks = []

    def watch(block):
        arrays = [getattr(block, name) for name in ARRAYS]
        before = [a.tobytes() for a in arrays]
        for array in arrays:
            array.flags.writeable = False
        blocks.append(block)

        def then():
            assert [a.tobytes() for a in arrays] == before

        return then

    play(row.story(1), lengths=repeat(50), watch=watch)

    assert len(blocks) > 4


@every_detector
@pytest.mark.parametrize("often", [0.98, 0.5, 0.0])
def test_it_says_the_same_however_samples_came_together(row, often):
    """So `often` a block is of one to three samples and ticks; the others are of up to 400."""
    chance = random.Random(often)
    lengths = (chance.randrange(1, 4 if chance.random() < often else 400) for _ in repeat(None))

    assert play(row.story(1), lengths=lengths) == list(said(row))


@every_detector
@pytest.mark.parametrize("seed", [1, 2])
def test_it_goes_on_after_a_restart_as_if_there_had_been_none(row, seed):
    chance = random.Random(seed)
    lengths = (chance.randrange(1, 200) for _ in repeat(None))
    found = play(row.story(seed), lengths=lengths, is_restarted=lambda: chance.random() < 0.5)

    assert found == list(said(row, seed))


@every_detector
def test_bad_readings_beside_good_ones_change_nothing(row):
    story = row.story(1)
    chance = random.Random(3)
    heard = []
    for h in story.heard:
        bad = [h._replace(value=None)] if chance.random() < 0.2 else []
        heard += [*bad, h]
    assert len(heard) > len(story.heard)

    assert its(row, play(story.with_heard(heard))) == its(row, said(row))


@every_detector
def test_samples_that_come_after_their_bin_change_nothing(row):
    """One in 97: more readings beside the truth would be a fault of the instrument."""
    story = row.story(1)
    chance = random.Random(4)
    bins = story.tick_s * 13_000
    heard = []
    for n, h in enumerate(story.heard):
        is_late = n % 97 == 5
        late = [h._replace(at=h.at - chance.randrange(bins, 600 * bins), value=h.value + 900.0)]
        heard += [*(late if is_late else []), h]
    found = its(row, play(story.with_heard(heard)))

    if row.late_is_heard:
        assert [f.key for _, f in found] == [f.key for _, f in its(row, said(row))]
    else:
        assert found == its(row, said(row))


@every_detector
def test_it_says_nothing_of_a_constant(row):
    story = row.story(1)
    levels = {h.point: h.value for h in reversed(story.heard)}
    seconds = 1_800 * story.tick_s
    heard = [
        Heard(now=START + 1000 * s, at=START + 1000 * s, point=point, value=level)
        for s in range(0, seconds, story.tick_s)
        for point, level in levels.items()
    ]

    assert play(replace(story, heard=heard, seconds=seconds)) == []


@pytest.mark.parametrize("hours", [4, pytest.param(24, marks=pytest.mark.slow)])
def test_what_they_remember_does_not_grow_with_time(hours):
    found = registry(low=200.0, period_ms=10_000)
    early, late = size_after(hours, found), size_after(10 * hours, found)

    assert abs(late - early) < 0.02 * early + 200


@every_detector
def test_its_documentation_shows_an_example_and_names_its_source(row):
    examples = [t for t in doctest.DocTestFinder().find(row.module) if t.examples]
    failed = doctest.testmod(row.module)

    assert examples
    assert failed.failed == 0 and failed.attempted > 0
    assert re.search(r"^Source: \S", inspect.getdoc(row.module), re.MULTILINE)


def test_every_detector_of_the_stage_has_a_row():
    """Each module whose objects make findings is in the table, or stands behind one that is."""
    found = {
        path.stem
        for path in Path(limits.__file__).parent.glob("*.py")
        if re.search(r"\bFinding\($", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    behind = {"fall": "falls", "instruments": "quality", "meter_words": "meters"}
    named = {row.module.__name__.rpartition(".")[2] for row in TABLE}

    assert len(found) >= 4
    assert {behind.get(name, name) for name in found} - named == set()
