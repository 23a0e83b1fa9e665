"""The past as the historian keeps it and as a recording plays it is the same past."""

from pathlib import Path

import numpy as np

from server.engine.effects import Accepted
from server.engine.samples import Samples
from server.history.historian import Historian, Reader
from server.history.stretch import Stretch
from server.learning.past import HistorianPast, PlayedPast, net_of
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from telemetry.sample import Reason, Sample
from tests.unit.learning.hours_past import BEGIN, INLET, OUTLET, registry

POINTS = (INLET, OUTLET)
HOURS = 30


def samples():
    """Return samples each ten minutes, some bad, some missing, one hour of all."""
    chance = np.random.default_rng(5)
    found = []
    for at in range(BEGIN, BEGIN + HOURS * HOUR_MS, 10 * MINUTE_MS):
        for point in POINTS:
            if (at - BEGIN) // HOUR_MS == 7 or chance.random() < 0.1:
                continue
            if chance.random() < 0.1:
                found.append(Sample.bad(point, Instant(at), Reason.TIMEOUT))
            else:
                value = float(np.float32(chance.normal(100, 9)))
                found.append(Sample(point=point, at=Instant(at), value=value))
    return found


def kept(tmp_path: Path, found) -> Reader:
    historian = Historian(tmp_path / "historian.db")
    accepted = Accepted(
        at=Instant(found[-1].at + 1_000),
        gateway="gw-01",
        epoch=1,
        first_offset=0,
        samples=Samples.of(found),
        is_historical=False,
    )
    historian.write([accepted], through=1)
    historian.close()
    return Reader(tmp_path / "historian.db")


def played(found) -> PlayedPast:
    past = PlayedPast(("else/flow", OUTLET, INLET), sorted(POINTS), Instant(BEGIN))
    number = {OUTLET: 1, INLET: 2}
    at = np.array([s.at for s in found], dtype=np.int64)
    whole = Stretch(
        at=at,
        point=np.array([number[s.point] for s in found], dtype=np.int32),
        value=np.array([np.nan if s.value is None else s.value for s in found]),
        quality=np.array([int(s.quality) for s in found], dtype=np.uint8),
        arrived_at=at,
    )
    half = len(found) // 2
    past.add(whole.take(slice(0, half)))
    past.add(whole.take(slice(half, None)))
    return past


def test_the_historian_and_a_recording_tell_the_same_past(tmp_path: Path):
    found = samples()
    span = Instant(BEGIN - HOUR_MS), Instant(BEGIN + (HOURS + 2) * HOUR_MS)
    reader = kept(tmp_path, found)
    of_historian, of_recording = HistorianPast(reader), played(found)

    for ask in ("means", "ends"):
        theirs = getattr(of_recording, ask)(POINTS, *span)
        np.testing.assert_allclose(getattr(of_historian, ask)(POINTS, *span), theirs, rtol=1e-6)
        assert theirs.shape == (HOURS + 3, 2)
        assert np.isnan(theirs[[0, 8, -1]]).all()
        assert (~np.isnan(theirs)).mean() > 0.6
    reader.close()


def test_a_zone_of_which_one_meter_is_silent_has_no_net_inflow():
    both = registry(inflow=((INLET, 1), (OUTLET, -1)))
    (zone,) = both.zones.values()
    past = played([
        Sample(point=INLET, at=Instant(BEGIN), value=10.0),
        Sample(point=INLET, at=Instant(BEGIN + HOUR_MS), value=10.0),
        Sample(point=OUTLET, at=Instant(BEGIN + HOUR_MS), value=4.0),
    ])  # fmt: skip

    net = net_of(past, zone, Instant(BEGIN), Instant(BEGIN + 2 * HOUR_MS))

    assert np.isnan(net[0]) and net[1] == 6.0
