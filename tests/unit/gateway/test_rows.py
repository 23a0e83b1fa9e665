"""Scans that share a row, and DDATA put together from parts: the same samples, the same bytes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.device import Scan
from gateway.core.messages import ddata
from gateway.core.rows import ROW_SAMPLES, Layout, Row, merged
from telemetry import extension
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample, TimeQuality, good_samples
from telemetry.sparkplug import DataType, Metric, Payload, Property, encode

POINTS = tuple(PointId(f"place-{n}/pressure") for n in range(4))
NAMES = dict(zip(POINTS, ("p", "pressure", "n" * 64, "压力"), strict=True))

samples = st.builds(
    lambda point, at, value, fate, time_quality: (
        Sample.bad(point, at, Reason.TIMEOUT)
        if fate == "bad"
        else Sample(
            point=point,
            at=at,
            value=value,
            quality=Quality.UNCERTAIN if fate == "uncertain" else Quality.GOOD,
            reason=Reason.STUCK if fate == "uncertain" else Reason.NONE,
            time_quality=time_quality,
        )
    ),
    st.sampled_from(POINTS),
    st.sampled_from([0, 1, 127, 128, 1_790_000_000_000, 1_790_000_000_001]).map(Instant),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["good", "good", "uncertain", "bad"]),
    st.sampled_from([TimeQuality.SYNCHRONISED, *TimeQuality]),
)


def slowly(row: Row, *, seq: int, epoch: int, at: Instant, is_historical: bool) -> bytes:
    """Return the same DDATA metric by metric, as the codec writes any payload."""
    u64 = DataType.UINT64
    metrics = [
        Metric(name=extension.EPOCH, value=epoch, datatype=u64, timestamp=at),
        Metric(name=extension.OFFSET, value=row.first, datatype=u64, timestamp=at),
    ]
    for s in row.samples:
        told = {}
        if s.quality is not Quality.GOOD:
            code = 0 if s.quality is Quality.BAD else 500
            told[extension.QUALITY] = Property(datatype=DataType.INT32, value=code)
            told[extension.REASON] = Property(datatype=DataType.STRING, value=s.reason.value)
        if s.time_quality is not TimeQuality.SYNCHRONISED:
            value = s.time_quality.value
            told[extension.TIME_QUALITY] = Property(datatype=DataType.STRING, value=value)
        metrics.append(
            Metric(
                name=NAMES[s.point],
                value=s.value,
                datatype=DataType.DOUBLE,
                timestamp=s.at,
                is_historical=is_historical,
                properties=told,
            )
        )
    return encode(Payload(timestamp=at, metrics=tuple(metrics), seq=seq), with_datatypes=False)


@given(
    st.lists(samples, min_size=1, max_size=12),
    st.integers(0, 255),
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.booleans(),
)
def test_parts_put_together_are_the_bytes_of_the_codec(read, seq, epoch, first, is_historical):
    row = Row(first=first, layout=Layout(device="pt-1", metrics=()), samples=tuple(read))
    how = {"seq": seq, "epoch": epoch, "at": Instant(1_790_000_000_500)}
    fast = ddata(row, NAMES, **how, is_historical=is_historical)
    assert fast == slowly(row, **how, is_historical=is_historical)


scans = st.builds(
    lambda device, count, at, alive, base, time_quality: Scan(
        device=device,
        samples=tuple(
            Sample(point=p, at=Instant(at), value=1.0, time_quality=time_quality)
            for p in POINTS[:count]
        ),
        alive=alive,
        base_ms=base,
    ),
    st.sampled_from(["a", "b"]),
    st.integers(0, 3),
    st.integers(0, 9_000),
    st.sampled_from([None, None, None, True, False]),
    st.integers(0, 1),
    st.sampled_from([TimeQuality.SYNCHRONISED, *TimeQuality]),
)


@given(st.lists(scans, max_size=30))
def test_scans_that_share_a_row_keep_their_samples_and_each_devices_order(read):
    found = merged(read)
    for device in ("a", "b"):
        before = [s for scan in read if scan.device == device for s in scan.samples]
        after = [s for scan in found if scan.device == device for s in scan.samples]
        assert after == before
        turns = [scan.alive for scan in read if scan.device == device and scan.alive is not None]
        assert turns == [s.alive for s in found if s.device == device and s.alive is not None]
    for scan in found:
        points = [s.point for s in scan.samples]
        one = len(points) // scan.polls
        assert points == points[:one] * scan.polls
        assert len(points) <= ROW_SAMPLES
        doubted = {s.time_quality is TimeQuality.DOUBTFUL for s in scan.samples}
        assert len(doubted) <= 1


def test_polls_of_a_second_are_one_row():
    read = [
        Scan(device="a", samples=(Sample(point=POINTS[0], at=Instant(200 * n), value=1.0),))
        for n in range(5)
    ]
    (scan,) = merged(read)
    assert (scan.polls, len(scan.samples)) == (5, 5)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_good_samples_are_those_made_one_by_one(values):
    points = [POINTS[n % len(POINTS)] for n in range(len(values))]
    instants = [Instant(n) for n in range(len(values))]

    assert good_samples(points, instants, values) == tuple(
        Sample(point=p, at=at, value=v) for p, at, v in zip(points, instants, values, strict=True)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_makes_no_good_sample(value):
    with pytest.raises(ValueError, match="finite"):
        good_samples([POINTS[0]], [Instant(0)], [value])
