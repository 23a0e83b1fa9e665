"""After an operation its place is compared with what it was, and with how such days usually go."""

import math
import pickle
import random

import numpy as np
import pytest

from server.engine.detectors.block import Block
from server.engine.detectors.recovery import Recovery
from server.engine.effects import AlarmKind
from server.engine.events import Imported
from server.engine.operations import Operation, OperationKind, Operations
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS
from tests.scenarios.town_stream import INFLOW, pressure, registry

BEGIN = 20_700 * DAY_MS
FIVE_MS = 5 * MINUTE_MS
POINTS = tuple(registry().points)
DAYS = 6
TODAY = BEGIN + 5 * DAY_MS
STARTS, ENDS = TODAY + 9 * HOUR_MS, TODAY + 11 * HOUR_MS


def samples(seed=1, *, until=DAYS * DAY_MS, **changes):
    """Yield (at, point, value) of days that swing by 30 kPa; `changes` are kPa of columns by time.

    A change is (first instant, last instant, kPa).
    """
    chance = random.Random(seed)
    for at in range(BEGIN, BEGIN + until, FIVE_MS):
        swing = math.cos(2 * math.pi * (at % DAY_MS) / DAY_MS)
        flow = 150 - 60 * swing + chance.gauss(0, 3)
        for name in POINTS:
            value = flow if name == INFLOW else 300 + 30 * swing + chance.gauss(0, 0.8)
            for first, last, by in changes.get(name.replace("/", "_").replace("-", "_"), ()):
                value += by if first <= at < last else 0.0
            yield at, name, value


def blocks(rows, *, length=DAY_MS):
    """Yield blocks of some length with a tick each minute; a sample comes 3 s after it was read."""
    rows = list(rows)
    number = {name: n for n, name in enumerate(POINTS)}
    at = np.array([r[0] for r in rows], dtype=np.int64)
    point = np.array([number[r[1]] for r in rows], dtype=np.int64)
    value = np.array([r[2] for r in rows])
    for first in range(int(at[0]), int(at[-1]) + FIVE_MS, length):
        ticks = np.arange(first, first + length, MINUTE_MS, dtype=np.int64)
        chosen = (at >= first) & (at < first + length)
        n = int(chosen.sum())
        zeros = np.zeros(n, dtype=np.int64)
        yield Block(
            ticks=ticks,
            points=POINTS,
            gateways=("gw",),
            after=np.searchsorted(ticks, at[chosen] + 3_000, side="left"),
            now=at[chosen] + 3_000,
            at=at[chosen],
            point=point[chosen],
            gateway=zeros,
            value=value[chosen],
            quality=np.full(n, 192, dtype=np.int64),
            reason=zeros,
        )


def play(rows, *told, length=DAY_MS, restarts=False):
    """Return (at, finding) of what a recovery says that was told of operations at the outset."""
    operations = Operations()
    operations.registry_changed(registry())
    for one in told:
        operations.tell(one, at=BEGIN)
    recovery = Recovery(operations)
    recovery.registry_changed(registry())
    said = []
    for block in blocks(rows, length=length):
        found = recovery.run(block, np.arange(len(block.at)))
        said += [(int(block.ticks[tick]), f) for tick, f in found]
        if restarts:
            recovery = pickle.loads(pickle.dumps(recovery))
    return said


def works(kind="works", **more):
    told = {"id": "PW-1", "zone": "north", "begin": STARTS, "end": ENDS}
    return Operation(**{**told, **more, "kind": OperationKind(kind)})


def test_a_zone_that_is_as_it_should_be_is_not_told_of():
    away = {"north_01_pressure": [(STARTS, ENDS, -80.0)], "north_inlet_flow": [(STARTS, ENDS, -40)]}

    assert play(samples(**away), works()) == []


def test_a_point_that_stays_low_is_told_within_two_hours_and_is_gone_when_it_is_back():
    back = TODAY + 16 * HOUR_MS
    low = {"north_01_pressure": [(STARTS, back, -12.0)], "north_inlet_flow": [(STARTS, back, -30)]}

    (told_at, told), (gone_at, gone) = play(samples(**low), works())

    assert (told.kind, told.zone, told.subject) == (AlarmKind.RECOVERY, "north", "PW-1")
    assert told.points == (pressure(1),)
    assert told.because[0] == "a valve may have been left as it was in works PW-1"
    assert "lower than is usual" in told.because[1]
    assert told.because[2].startswith("zone north inflow is")
    assert 60 * MINUTE_MS < told_at - ENDS < 2 * HOUR_MS
    assert (gone.key, gone.is_present) == (told.key, False)
    assert 0 < gone_at - back < 90 * MINUTE_MS


def test_only_the_points_that_works_name_are_looked_at():
    low = {"north_01_pressure": [(STARTS, TODAY + DAY_MS, -12.0)]}

    assert play(samples(**low), works(points=(pressure(2),))) == []
    assert len(play(samples(**low), works(points=(pressure(1),)))) == 1


def test_a_hydrant_that_still_runs_is_told_by_the_inflow_alone():
    more = {"north_inlet_flow": [(STARTS, TODAY + DAY_MS, 40.0)]}

    (_, told), *_ = play(samples(**more), works("hydrant"))

    assert told.points == ()
    assert "zone north inflow is 4" in told.because[1]
    assert play(samples(**more), works()) == []


@pytest.mark.parametrize("more", [{"is_withdrawn": True}, {"end": None}, {"kind": "pump"}])
def test_nothing_is_asked_after_what_is_not_to_be_undone(more):
    low = {"north_01_pressure": [(STARTS, TODAY + DAY_MS, -12.0)]}

    assert play(samples(**low), works(**more)) == []


def test_with_few_days_only_what_no_day_does_is_told():
    def day(by):
        shut = {"north_01_pressure": [(BEGIN + 9 * HOUR_MS, BEGIN + DAY_MS, by)]}
        told = works(begin=BEGIN + 9 * HOUR_MS, end=BEGIN + 11 * HOUR_MS)
        return play(samples(until=DAY_MS, **shut), told)

    assert day(-12.0) == []
    assert len(day(-150.0)) == 1


def test_no_cut_of_the_stream_changes_a_word():
    low = {"north_01_pressure": [(STARTS, TODAY + 16 * HOUR_MS, -12.0)]}
    rows = list(samples(**low))
    whole = play(rows, works())

    assert len(whole) == 2
    for length in (MINUTE_MS * 7, HOUR_MS, DAY_MS * 5):
        assert play(rows, works(), length=length, restarts=length > MINUTE_MS * 7) == whole


def test_imported_days_count_as_days():
    operations = Operations()
    operations.registry_changed(registry())
    operations.tell(works(), at=BEGIN)
    recovery = Recovery(operations)
    recovery.registry_changed(registry())
    low = {"north_01_pressure": [(STARTS, TODAY + DAY_MS, -12.0)]}
    rows = list(samples(**low))
    past = tuple((p, at, v, 192) for at, p, v in rows if at < TODAY)
    recovery.learn_past(Imported(at=TODAY, source="past", rows=past))
    said = []
    for block in blocks([r for r in rows if r[0] >= TODAY]):
        said += recovery.run(block, np.arange(len(block.at)))

    assert [f.subject for _, f in said] == ["PW-1"]
