"""Whatever is written, marked, sealed and written late: the readers say what a plain list says."""

import math
import tempfile
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.effects import Accepted
from server.engine.events import RegistryChanged
from server.engine.registry import Point, Registry, Zone
from server.engine.samples import Samples
from server.history import day_file, hot, reader, sealing
from server.history.historian import Historian, Mark, Reader
from server.history.keeping import Keeping
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.sample import Quality, Reason, Sample, TimeQuality
from telemetry.units import Quantity
from tests.unit.server.history_model import Model, hours_between

MINUTE = 60_000
ROME_SETS_ITS_CLOCKS = 20_541
"""The day of 29 March 2026."""
BASE = (ROME_SETS_ITS_CLOCKS - 1) * DAY_MS
POINTS = [PointId(f"p{n}/pressure") for n in range(3)]
ZONES = ("Europe/Rome", "Asia/Kolkata", "UTC")
SPAN = (Instant(BASE - 3 * DAY_MS), Instant(BASE + 9 * DAY_MS))

instants = st.integers(0, 4 * 24 * 12).map(lambda n: BASE + n * 5 * MINUTE)
values = st.integers(0, 40).map(lambda n: 270 + n / 4)


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    start = draw(instants)
    found = []
    for _ in range(draw(st.integers(1, 12))):
        start += draw(st.sampled_from((0, 1_000, 5 * MINUTE, 30 * MINUTE, 3 * HOUR_MS)))
        point = draw(st.sampled_from(POINTS))
        match draw(st.integers(0, 5)):
            case 0:
                found.append(Sample.bad(point, Instant(start), Reason.TIMEOUT))
            case 1:
                found.append(
                    Sample(
                        point=point,
                        at=Instant(start),
                        value=draw(values),
                        quality=Quality.UNCERTAIN,
                        reason=Reason.STUCK,
                        time_quality=TimeQuality.DOUBTFUL,
                    )
                )
            case _:
                found.append(Sample(point=point, at=Instant(start), value=draw(values)))
    return found


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    zones = [
        Zone(id=ZoneId(n), name_zh=n, name_en=n, timezone=n, calendar="none", inflow=())
        for n in ZONES
    ]
    points = [
        Point(
            id=p,
            zone=ZoneId(ZONES[n]),
            quantity=Quantity.PRESSURE,
            name_zh=p,
            name_en=p,
            period_ms=5 * MINUTE,
            low=draw(st.sampled_from((None, 272.0, 275.0))),
        )
        for n, p in enumerate(POINTS)
        if draw(st.booleans())
    ]
    return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


@st.composite
def marks(draw: st.DrawFn) -> Mark:
    start = draw(instants)
    return Mark(
        point=draw(st.sampled_from(POINTS)),
        start=Instant(start),
        end=Instant(start + draw(st.integers(1, 30)) * HOUR_MS),
        quality=draw(st.sampled_from((0, 64, 192, None))),
        reason="frozen",
        author="wang",
        at=Instant(BASE),
    )


steps = st.lists(
    st.tuples(
        st.integers(0, 30),  # hours that pass before it
        st.one_of(
            st.tuples(st.just("write"), samples()),
            st.tuples(st.just("write"), samples()),
            st.tuples(st.just("again"), st.none()),
            st.tuples(st.just("settle"), st.none()),
            st.tuples(st.just("mark"), marks()),
            st.tuples(st.just("registry"), registries()),
        ),
    ),
    min_size=1,
    max_size=14,
)


@pytest.mark.timeout(600)
@settings(deadline=None, max_examples=60)
@given(steps=steps, is_dense=st.booleans())
def test_the_readers_say_what_a_plain_list_says(steps, is_dense):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        if is_dense:  # days of several stripes, row groups and tidy blocks
            for where, name, n in (
                (day_file, "STRIPE_ROWS", 7), (sealing, "STRIPE_ROWS", 7),
                (reader, "STRIPE_ROWS", 7), (day_file, "GROUP_ROWS", 3),
                (hot, "YOUNG_BLOCKS_MAX", 2), (hot, "CHUNK_ROWS", 5),
                (sealing, "POINTS_PER_CHUNK", 2),
            ):  # fmt: skip
                patched.setattr(where, name, n)
        path, model = Path(folder) / "historian.db", Model()
        with (
            closing(Historian(path, keeping=Keeping(seal_after_ms=HOUR_MS))) as historian,
            closing(Reader(path)) as found,
        ):
            play(steps, historian, model)
            agree(found, model)
            historian.settle()
            agree(found, model)
        with closing(Historian(path)), closing(Reader(path)) as found:
            agree(found, model)


def play(steps, historian: Historian, model: Model) -> None:
    now, offsets, before = BASE, {"gw-0": 0, "gw-1": 2**63}, None
    for through, (hours, (act, what)) in enumerate(steps, 1):
        now += hours * HOUR_MS
        match act:
            case "write":
                gateway = f"gw-{through % 2}"
                part = Accepted(
                    at=Instant(now), gateway=gateway, epoch=5, first_offset=offsets[gateway],
                    samples=Samples.of(what), is_historical=bool(through % 3),
                )  # fmt: skip
                offsets[gateway] += len(what)
                historian.write([part], through=through)
                model.write(part)
                before = part
            case "again" if before is not None:
                historian.write([before], through=through)
            case "mark":
                historian.mark([what])
                model.marks.append(what)
            case "registry":
                historian.write([RegistryChanged(at=Instant(now), registry=what)], through=through)
                model.registries.append((now, what))
            case "settle":
                historian.settle()


def told(value: float) -> float | None:
    return None if math.isnan(value) else value


def agree(found: Reader, model: Model) -> None:
    names = found.points()
    scanned = []
    for columns in found.scan(marked=False):
        sources, labels = found.sources(), found.labels()
        scanned += [
            (at, names[p], sources[s][0], offset, told(v), q, arrived, *labels[n])
            for at, p, s, offset, v, q, arrived, n in zip(
                columns.at, columns.point, columns.source, columns.offset, columns.value,
                columns.quality, columns.arrived_at, columns.label, strict=True,
            )
        ]  # fmt: skip
    rows = [
        (r.at, r.point, r.gateway, r.offset, r.value, r.quality, r.arrived_at, r.reason,
         r.time_quality)
        for r in model.rows
    ]  # fmt: skip
    assert sorted(scanned, key=lambda r: r[:4]) == sorted(rows, key=lambda r: r[:4])
    assert [row[0] for row in scanned] == sorted(row[0] for row in scanned)
    for point in POINTS:
        agree_on(point, found, model)


def agree_on(point: str, found: Reader, model: Model) -> None:
    for marked in (False, True):
        columns = found.samples([point], *SPAN, marked=marked)
        values = [told(v) for v in columns.value]
        got = list(zip(columns.at, values, columns.quality, strict=True))
        assert got == model.samples(point, *SPAN, marked=marked)
    for width in ("hour", "day"):
        rolled = found.rollups([point], *SPAN, width=width)
        got = {
            begin: tuple(row)
            for begin, *row in zip(
                rolled.at.tolist(), rolled.count, rolled.mean, rolled.low, rolled.high,
                rolled.judged, rolled.under, rolled.below_ms, strict=True,
            )
        }  # fmt: skip
        assert got == {b: pytest.approx(row) for b, row in model.rollups(point, width).items()}
    for buckets in (3, 1_000):
        start, end = Instant(BASE + 7 * MINUTE), Instant(BASE + 3 * DAY_MS + 11 * MINUTE)
        got = found.series(point, start, end, buckets)
        assert len(got) <= buckets
        if got:
            width = -(-(end - start) // buckets)
            origin = start
            if width >= HOUR_MS:
                shift = 30 * MINUTE if model.known(point, start)[2] == "Asia/Kolkata" else 0
                origin = start - (start + shift) % HOUR_MS
                width = math.ceil(math.ceil((end - origin) / buckets) / HOUR_MS) * HOUR_MS
            rows = hours_between(model.usable(point, start, end), origin, width)
            said = {b.at: (b.low, b.mean, b.high, b.count) for b in got}
            assert said == {
                at: pytest.approx((min(v), sum(v) / len(v), max(v), len(v)))
                for at, v in rows.items()
            }
    until = date(2026, 4, 2)
    nights = {n.night: (n.low, n.mean, n.count) for n in found.night_minimum([point], until, 6)}
    assert nights == {d: pytest.approx(n) for d, n in model.nights(point, until, 6).items()}
    days = {c.begins: (c.valid, c.kept) for c in found.compliance([point], *SPAN)}
    judged = [(row[4], row[4] - row[5]) for row in model.rollups(point, "day").values() if row[4]]
    assert sorted(days.values()) == sorted(judged)
    months = found.compliance([point], *SPAN, monthly=True)
    assert sum(c.valid for c in months) == sum(valid for valid, _ in judged)
    assert all(c.begins.day == 1 for c in months)
