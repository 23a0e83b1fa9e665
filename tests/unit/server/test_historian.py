"""The historian keeps every sample once and answers from another connection while it is written."""

from pathlib import Path

import pytest

from server.engine.effects import Accepted
from server.engine.events import Imported
from server.engine.samples import Samples
from server.history.historian import Historian, Reader
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Reason, Sample

POINT = PointId("a/pressure")


def accepted(
    *values: float | None,
    first_offset: int = 0,
    start: int = 1_000,
    arrived_at: int = 0,
    is_historical: bool = False,
) -> Accepted:
    samples = tuple(
        Sample.bad(POINT, Instant(start + k * 1000), Reason.TIMEOUT)
        if v is None
        else Sample(point=POINT, at=Instant(start + k * 1000), value=v)
        for k, v in enumerate(values)
    )
    return Accepted(
        at=Instant(arrived_at or start + 50_000), gateway="gw-01", epoch=2**63 + 5,
        first_offset=first_offset, samples=Samples.of(samples), is_historical=is_historical,
    )  # fmt: skip


@pytest.fixture
def historian(tmp_path: Path):
    it = Historian(tmp_path / "historian.db")
    yield it
    it.close()


@pytest.fixture
def reader(historian: Historian, tmp_path: Path):
    it = Reader(tmp_path / "historian.db")
    yield it
    it.close()


def test_the_newest_sample_is_kept_with_its_quality(historian: Historian, reader: Reader):
    historian.write([accepted(280.0, 281.0, None)], through=7)

    last = reader.last_all()[POINT]

    assert (last.at, last.value, last.quality, last.reason) == (3_000, None, 0, "timeout")
    assert reader.newest_arrival() == 51_000
    assert historian.through == 7


def test_a_late_sample_does_not_become_the_newest(historian: Historian, reader: Reader):
    historian.write([accepted(280.0, start=9_000)], through=1)
    historian.write([accepted(10.0, start=2_000, first_offset=1)], through=2)

    assert reader.last_all()[POINT].value == 280.0


def test_what_waited_in_a_gateway_is_no_live_value(historian: Historian, reader: Reader):
    historian.write([accepted(280.0)], through=1)
    historian.write([accepted(10.0, start=9_000, first_offset=1, is_historical=True)], through=2)

    assert reader.last_all()[POINT].value == 280.0
    assert reader.newest_arrival() == 51_000


def test_a_gateway_whose_clock_was_set_back_is_live_again_in_15_s(
    historian: Historian, reader: Reader
):
    hour = 3_600_000
    historian.write([accepted(280.0, start=hour, arrived_at=hour)], through=1)
    for n in range(1, 20):
        later = hour + 1000 * n
        back = accepted(1.0 * n, start=1000 * n, first_offset=n, arrived_at=later)
        historian.write([back], through=n)
        assert reader.last_all()[POINT].value == (280.0 if n < 15 else 1.0 * n)


def test_two_true_samples_may_share_an_instant(historian: Historian, reader: Reader):
    historian.write([accepted(280.0)], through=1)
    historian.write([accepted(290.0, first_offset=1)], through=2)

    assert reader.held("gw-01", 2**63 + 5, below=10) == (2, 2)


def test_a_sample_cannot_be_stored_twice(historian: Historian, reader: Reader):
    historian.write([accepted(280.0)], through=1)
    historian.write([accepted(280.0)], through=2)

    assert historian.through == 2
    assert reader.held("gw-01", 2**63 + 5, below=10) == (1, 1)


def test_series_keep_the_extremes_and_never_bridge_a_gap(historian: Historian, reader: Reader):
    historian.write([accepted(1.0, 9.0, 2.0, None, None, None, 4.0)], through=1)

    buckets = reader.series(POINT, Instant(1_000), Instant(9_000), 4)

    assert [(b.at, b.low, b.mean, b.high, b.count) for b in buckets] == [
        (1_000, 1.0, 5.0, 9.0, 2),
        (3_000, 2.0, 2.0, 2.0, 1),
        (7_000, 4.0, 4.0, 4.0, 1),
    ]
    assert reader.series("nobody/pressure", Instant(0), Instant(10), 5) == []


def test_imported_history_is_read_but_is_no_live_value(historian: Historian, reader: Reader):
    rows = ((POINT, 1_000, 5.0, int(Quality.GOOD)), (POINT, 2_000, None, 0))
    historian.write([Imported(at=Instant(9), source="town", rows=rows)], through=1)
    historian.write([Imported(at=Instant(9), source="town", rows=rows)], through=2)

    assert reader.last_all() == {}
    assert reader.newest_arrival() is None
    assert [b.count for b in reader.series(POINT, Instant(0), Instant(4_000), 1)] == [2]


def test_a_reader_cannot_write(reader: Reader):
    with pytest.raises(Exception, match=r"readonly|query_only|read-only"):
        reader._db.execute("DELETE FROM block")


def test_what_accompanies_the_historian_is_called_in_every_write(historian: Historian):
    seen = []
    historian.accompany(lambda _db, parts, through: seen.append((len(parts), through)))

    historian.write([accepted(280.0)], through=3)
    historian.write([], through=4)

    assert seen == [(1, 3), (0, 4)]


def test_what_is_written_also_is_there_with_the_samples_or_not_at_all(
    historian: Historian, reader: Reader
):
    def also(db, parts):
        db.execute("CREATE TABLE IF NOT EXISTS beside (n)")
        db.execute("INSERT INTO beside VALUES (?)", (len(parts),))
        if len(parts) == 2:
            raise LookupError

    historian.write([accepted(280.0)], through=1, also=also)
    with pytest.raises(LookupError):
        historian.write(
            [accepted(1.0, first_offset=1), accepted(2.0, first_offset=2)], through=2, also=also
        )

    assert historian._db.execute("SELECT n FROM beside").fetchall() == [(1,)]
    historian.write([accepted(1.0, first_offset=1)], through=1)
    assert reader.held("gw-01", 2**63 + 5, below=10) == (2, 2)
    assert historian.through == 1
