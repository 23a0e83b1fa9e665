"""What every detector owes, held against each row of one table.

A new detector is a row: its module, what it says, and a story that makes it speak. All of them are
played through the whole stage, as the engine does.
"""

import doctest
import inspect
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from types import ModuleType

import pytest

from server.engine.detectors import clocks, falls, limits, silence
from server.engine.effects import AlarmKind
from tests.scenarios.town_stream import INFLOW, START, Burst, Town, pressure, registry
from tests.unit.engine.detectors.harness import ARRAYS, Heard, Story, play, size_after

SECONDS = 400


def town_story(seed, *, low=None, bursts=(), mute=(), late_ms=lambda second: 0):
    """Return a town of six pressures and an inflow, a sample each second of each."""
    town = Town(seed)
    town.bursts = list(bursts)
    names = [*(pressure(i) for i in range(6)), INFLOW]
    heard = []
    for s in range(SECONDS):
        now = START + 1000 * s
        pressures, flow = town.at(s)
        heard += [
            Heard(now=now, at=now - late_ms(s), point=point, value=value)
            for point, value in zip(names, [*pressures, flow], strict=True)
            if not any(point == m and begin <= s < end for m, begin, end in mute)
        ]
    return Story(registry=registry(low=low), heard=heard, seconds=SECONDS)


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """A detector: `is_its` tells its findings from those of others of the same kind.

    `late_is_heard` where samples later than their bin are what it is about.
    """

    module: ModuleType
    kinds: tuple[AlarmKind, ...]
    story: Callable[[int], Story]
    is_its: Callable[[object], bool] = lambda _finding: True
    late_is_heard: bool = False


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
        is_its=lambda f: not f.subject.startswith("clock"),
    ),
    Row(
        module=clocks,
        kinds=(AlarmKind.SENSOR_FAULT,),
        story=behind_time,
        is_its=lambda f: f.subject.startswith("clock"),
        late_is_heard=True,
    ),
]

every_detector = pytest.mark.parametrize(
    "row", TABLE, ids=[row.module.__name__.rpartition(".")[2] for row in TABLE]
)


@cache
def said(row, seed=1):
    """Return all that the stage says of a row's story, in one go; tests do not change it."""
    return tuple(play(row.story(seed)))


def its(row, found):
    return [(at, f) for at, f in found if f.kind in row.kinds and row.is_its(f)]


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

    play(row.story(1), lengths=repeat(500), watch=watch)

    assert len(blocks) > 4


@every_detector
@pytest.mark.parametrize("longest", [4, 60, 3_000])
def test_it_says_the_same_however_samples_came_together(row, longest):
    chance = random.Random(longest)
    lengths = (chance.randrange(1, longest) for _ in repeat(None))

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
    story = row.story(1)
    chance = random.Random(4)
    heard = []
    for h in story.heard:
        is_late = chance.random() < 0.05
        late = [h._replace(at=h.at - chance.randrange(10_000, 7_200_000), value=-1e6)]
        heard += [*(late if is_late else []), h]
    found = its(row, play(story.with_heard(heard)))

    if row.late_is_heard:
        assert [f.key for _, f in found] == [f.key for _, f in its(row, said(row))]
    else:
        assert found == its(row, said(row))


@every_detector
def test_it_says_nothing_of_a_constant(row):
    story = row.story(1)
    levels = {h.point: h.value for h in story.heard if h.now == START}
    heard = [
        Heard(now=START + 1000 * s, at=START + 1000 * s, point=point, value=level)
        for s in range(1_800)
        for point, level in levels.items()
    ]

    assert play(Story(registry=story.registry, heard=heard, seconds=1_800)) == []


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
    behind = {"fall": "falls"}
    named = {row.module.__name__.rpartition(".")[2] for row in TABLE}

    assert len(found) >= 4
    assert {behind.get(name, name) for name in found} - named == set()
