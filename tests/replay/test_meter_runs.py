"""Totals that begin anew are told the same, however the messages are cut into runs."""

import random
from dataclasses import replace

import pytest

from server.engine.events import Linked, RegistryChanged, Started, Tick
from telemetry.point import PointId
from telemetry.units import Quantity
from tests.replay.test_engine_runs import in_runs, one_by_one
from tests.scenarios.town_stream import INFLOW, START, registry
from tests.unit.engine.wire import Wire, reading

SECONDS = 400
NAMES = {"a": "shop/volume", "b": "school/volume", "flow": INFLOW}


def stream(seed):
    """Return messages of two totals: one falls, a gateway says of the other that it began anew."""
    chance = random.Random(seed)
    known = registry()
    like = known.points[PointId(INFLOW)]
    totals = {
        PointId(NAMES[n]): replace(
            like, id=PointId(NAMES[n]), quantity=Quantity.VOLUME, x=100.0 * place, y=0.0
        )
        for n, place in (("a", 1), ("b", 2))
    }
    known = replace(known, points={**known.points, **totals})
    wire = Wire()
    events = [
        RegistryChanged(at=START, registry=known),
        Started(at=START, version="0.1.0", settings={}),
        Linked(at=START, up=True),
        wire.nbirth(START),
        wire.dbirth(START, "d", NAMES),
    ]
    falls, says = chance.randrange(100, 350), chance.randrange(100, 350)
    for s in range(SECONDS):
        at = START + 1000 * s
        shop = 4_000 + 0.001 * s if s < falls else 0.4 + 0.001 * (s - falls)
        if s == 50:
            shop = 3.0  # a wild reading
        is_doubt = s in {says, says + 1}
        doubt = {"quality": 500, "reason": "counter_reset"} if is_doubt else {}
        scan = [
            reading("a", at, shop),
            reading("b", at, 700 + 0.002 * s, **doubt),
            reading("flow", at, 30.0 + chance.random()),
        ]
        events.append(wire.ddata(at, "d", [r for r in scan if chance.random() < 0.9 or is_doubt]))
        if chance.random() < 0.8:
            events.append(Tick(at=at + 999))
    return events


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_of_totals_does_not_depend_on_runs_or_restarts(seed):
    events = stream(seed)
    said = one_by_one(events)

    text = "".join(said)
    assert text.count("AlarmRaised(") == 3  # six pressures of the zone are silent
    assert "the total of shop/volume fell from" in text
    assert "the gateway says that the counter of school/volume began anew" in text
    for longest in (3, 40, 2_000):
        assert in_runs(events, random.Random(longest), longest) == said
