"""Days become files: what is in them, what comes late, what is damaged, and what is dropped."""

import errno
import shutil
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from server.engine.effects import Accepted, QualityMarked
from server.engine.events import Imported, RegistryChanged
from server.engine.registry import Point, Registry, Zone
from server.engine.samples import Samples
from server.history import sealing
from server.history.day_file import DayWriter
from server.history.historian import Historian, Mark, Reader
from server.history.keeping import Keeping
from server.history.schema import VERSION
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.sample import Reason, Sample
from telemetry.units import Quantity

POINT = PointId("a/pressure")
DAY = 20_000
START = DAY * DAY_MS
"""4 October 2024."""
SPAN = (Instant(START - 10 * DAY_MS), Instant(START + 40 * DAY_MS))


class Plant:
    """A historian that is given samples of one point by the hour."""

    def __init__(self, folder: Path, **kept: int) -> None:
        self.path = folder / "historian.db"
        self.historian = Historian(self.path, keeping=Keeping(seal_after_ms=HOUR_MS, **kept))
        self.reader = Reader(self.path)
        self.offset = 0

    def say(self, hour: float, *values: float | None, arrived: float | None = None) -> None:
        """One value each 5 minutes from an hour on, arriving then or at a later hour."""
        samples = [
            Sample.bad(POINT, at, Reason.TIMEOUT)
            if v is None
            else Sample(point=POINT, at=at, value=v)
            for k, v in enumerate(values)
            if (at := Instant(round(START + hour * HOUR_MS) + k * 300_000)) is not None
        ]
        part = Accepted(
            at=Instant(round(START + (hour if arrived is None else arrived) * HOUR_MS)),
            gateway="gw-01", epoch=1, first_offset=self.offset, samples=Samples.of(samples),
            is_historical=False,
        )  # fmt: skip
        self.offset += len(samples)
        self.historian.write([part], through=self.offset)

    def files(self) -> list[str]:
        return sorted(p.name for p in self.path.with_suffix("").glob("*"))

    def recorded(self) -> list[str]:
        """Return the files that the historian names; a replaced one may lie beside them a while."""
        with closing(sqlite3.connect(self.path)) as db:
            return [name for (name,) in db.execute("SELECT name FROM file ORDER BY name")]

    def values(self) -> list[float]:
        return self.reader.samples([POINT], *SPAN).value.tolist()

    def close(self) -> None:
        self.reader.close()
        self.historian.close()


@pytest.fixture
def plant(tmp_path: Path):
    with closing(Plant(tmp_path)) as it:
        yield it


def registry(low: float | None, zone: str = "Asia/Shanghai") -> Registry:
    z = Zone(id=ZoneId("z"), name_zh="", name_en="", timezone=zone, calendar="cn", inflow=())
    p = Point(
        id=POINT, zone=z.id, quantity=Quantity.PRESSURE, name_zh="", name_en="",
        period_ms=300_000, low=low,
    )  # fmt: skip
    return Registry(zones={z.id: z}, points={p.id: p})


def test_a_day_that_is_over_becomes_a_file_that_anybody_can_read(plant: Plant):
    plant.say(1, 280.0, None, 282.0)
    plant.say(25.5, 290.0)
    plant.historian.settle()

    assert plant.files() == ["2024-10-04.1.parquet"]
    table = pq.read_table(plant.path.with_suffix("") / "2024-10-04.1.parquet")
    assert table.drop_columns("arrived_at").to_pylist()[1] == {
        "at": table["at"][1].as_py(), "point": POINT, "value": None, "quality": 0,
        "reason": "timeout", "time_quality": "synchronised", "gateway": "gw-01", "epoch": "1",
        "offset": 1,
    }  # fmt: skip
    assert plant.reader._db.execute("SELECT day FROM block").fetchall() == [(DAY + 1,)]
    assert plant.reader.held("gw-01", 1, below=99) == (4, 4)


def test_a_day_is_not_sealed_while_samples_still_come_for_it(plant: Plant):
    plant.say(1, 280.0)
    plant.say(2, 281.0, arrived=24.9)
    plant.say(25.5, 290.0)
    plant.historian.settle()

    assert plant.files() == []

    plant.say(26, 290.0)
    plant.historian.settle()

    assert plant.files() == ["2024-10-04.1.parquet"]


def test_late_samples_join_their_day_in_a_new_file(plant: Plant):
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    plant.say(0, 270.0, arrived=27)

    assert plant.values() == [270.0, 280.0, 290.0]

    plant.say(28.5, 291.0)
    plant.historian.settle()

    assert plant.recorded() == ["2024-10-04.2.parquet"]
    assert plant.values() == [270.0, 280.0, 290.0, 291.0]


def test_a_replaced_file_goes_at_the_next_start(plant: Plant):
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    plant.say(0, 270.0, arrived=27)
    plant.say(28.5, 291.0)
    plant.historian.settle()
    plant.historian.close()

    plant.historian = Historian(plant.path, keeping=Keeping(seal_after_ms=HOUR_MS))

    assert plant.files() == plant.recorded() == ["2024-10-04.2.parquet"]


def test_a_sample_that_comes_again_after_its_day_was_sealed_is_not_stored_twice(plant: Plant):
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    plant.offset = 0
    plant.say(1, 280.0, arrived=27)

    assert plant.reader.held("gw-01", 1, below=99) == (2, 2)


def test_a_mark_is_obeyed_at_once_and_in_the_roll_ups_of_sealed_days(plant: Plant):
    plant.say(1, 280.0, 100.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    mark = Mark(
        point=POINT, start=Instant(START + HOUR_MS + 1), end=Instant(START + 2 * HOUR_MS),
        quality=0, reason="frozen", author="wang", at=Instant(START),
    )  # fmt: skip

    plant.historian.mark([mark])
    hours = plant.reader.rollups([POINT], *SPAN, width="hour")
    plant.historian.settle()
    again = plant.reader.rollups([POINT], *SPAN, width="hour")

    assert hours.low.tolist() == again.low.tolist() == [280.0, 290.0]
    assert plant.reader._db.execute("SELECT COUNT(*) FROM again").fetchone() == (0,)
    assert plant.reader.marks() == [mark]
    assert plant.values() == [280.0, 100.0, 290.0]  # samples stay
    with pytest.raises(Exception, match="marks are only added"):
        plant.historian._db.execute("DELETE FROM mark")


def test_what_the_engine_says_of_samples_in_hindsight_is_kept_once(plant: Plant):
    plant.say(1, 280.0, 281.0)
    marked = QualityMarked(
        at=Instant(START + DAY_MS), point=POINT, begin=Instant(START),
        end=Instant(START + HOUR_MS + 1), quality=0, reason="flat", author="engine",
        because="it stands",
    )  # fmt: skip

    plant.historian.write([marked], through=7)
    plant.historian.write([marked], through=8)

    assert len(plant.reader.marks()) == 1
    assert plant.reader.samples([POINT], *SPAN).quality.tolist() == [0, 192]


def test_a_later_mark_revises_an_earlier_one(plant: Plant):
    plant.say(1, 280.0, 281.0)
    whole = {"point": POINT, "reason": "", "author": "li", "at": Instant(START)}
    from_, to = Instant(START), Instant(START + DAY_MS)
    plant.historian.mark([Mark(start=from_, end=to, quality=0, **whole)])
    plant.historian.mark(
        [Mark(start=from_, end=Instant(START + HOUR_MS + 1), quality=None, **whole)]
    )

    assert plant.reader.samples([POINT], *SPAN).quality.tolist() == [192, 0]
    assert plant.reader.samples([POINT], *SPAN, marked=False).quality.tolist() == [192, 192]


def test_time_below_the_limit_and_compliance_follow_the_limit_of_their_time(plant: Plant):
    plant.historian.write([RegistryChanged(at=Instant(START), registry=registry(281.0))], through=0)
    plant.say(1, 280.0, 282.0, 280.5)
    changed = RegistryChanged(at=Instant(START + 12 * HOUR_MS), registry=registry(None))
    plant.historian.write([changed], through=4)
    plant.say(13, 200.0)

    hours = plant.reader.rollups([POINT], *SPAN, width="hour")
    (day,) = plant.reader.compliance([POINT], *SPAN)

    assert hours.below_ms.tolist() == [600_000, 0]
    assert hours.judged.tolist() == [3, 0]
    assert (day.begins, day.valid, day.kept) == (date(2024, 10, 4), 3, 1)
    assert day.share == pytest.approx(1 / 3)


def test_nights_are_those_of_the_zone(plant: Plant):
    plant.historian.write([RegistryChanged(at=Instant(START), registry=registry(None))], through=0)
    plant.say(17.5, 100.0)  # 01:30 of the 5th in Shanghai
    plant.say(18.5, 280.0, 279.0)
    plant.say(20, 100.0)

    (night,) = plant.reader.night_minimum([POINT], date(2024, 10, 6), 3)

    assert (night.night, night.low, night.mean, night.count) == (date(2024, 10, 5), 279, 279.5, 2)


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_named_and_the_rest_is_not_touched(plant: Plant, damage: str):
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.say(50, 300.0)
    plant.historian.settle()
    bad = plant.path.with_suffix("") / "2024-10-04.1.parquet"
    body = bad.read_bytes()
    bad.write_bytes(body[:-100] if damage == "cut" else body[:4] + bytes(64) + body[68:])

    with pytest.raises(StorageError, match=r"2024-10-04.1.parquet: (is damaged|cannot be read)"):
        plant.reader.samples([POINT], *SPAN)

    tomorrow = Instant(START + DAY_MS)
    assert plant.reader.samples([POINT], tomorrow, SPAN[1]).value.tolist() == [290.0, 300.0]
    assert plant.reader.rollups([POINT], *SPAN, width="hour").low.tolist() == [280, 290, 300]

    plant.say(1.5, 281.0, arrived=51)
    plant.say(53, 301.0)
    plant.historian.settle()

    (trouble,) = plant.reader.troubles()
    assert trouble.what == "2024-10-04"
    assert "2024-10-04.1.parquet" in trouble.because
    assert bad.exists()
    assert plant.historian.through == plant.offset

    bad.write_bytes(body)
    plant.say(55, 302.0)
    plant.historian.settle()

    assert plant.reader.troubles() == []
    assert plant.values() == [280.0, 281.0, 290.0, 300.0, 301.0, 302.0]


def test_a_lost_file_is_named(plant: Plant):
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    shutil.rmtree(plant.path.with_suffix(""))

    with pytest.raises(StorageError, match=r"2024-10-04.1.parquet: expected the file"):
        plant.reader.samples([POINT], *SPAN)


def test_a_full_disk_leaves_samples_hot_until_there_is_room(plant: Plant, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    plant.say(1, 280.0)
    plant.say(26, 290.0)
    with monkeypatch.context() as patched:
        patched.setattr(DayWriter, "finish", full)
        plant.historian.settle()

        assert plant.files() == []
        assert "No space left" in plant.reader.troubles()[0].because
        assert plant.values() == [280.0, 290.0]

    plant.say(28, 291.0)
    plant.historian.settle()

    assert plant.files() == ["2024-10-04.1.parquet"]
    assert plant.reader.troubles() == []


def test_samples_are_dropped_after_their_days_and_roll_ups_after_theirs(tmp_path: Path):
    with closing(Plant(tmp_path, raw_days=31, rollup_days=60)) as plant:
        plant.say(1, 280.0)
        plant.say(26, 290.0)
        plant.say(24 * 32, 300.0)
        plant.historian.settle()

        assert plant.files() == ["2024-10-05.1.parquet"]
        assert plant.values() == [290.0, 300.0]
        assert plant.reader.rollups([POINT], *SPAN, width="day").low.tolist() == [280, 290, 300]

        plant.say(1.5, 270.0, arrived=24 * 32)  # too late to be kept, and told all the same
        plant.say(24 * 32 + 3, 300.0)
        plant.historian.settle()

        days = plant.reader.rollups([POINT], *SPAN, width="day")
        assert list(zip(days.low, days.count, strict=True)) == [(270, 2), (290, 1), (300, 2)]
        assert plant.values() == [290.0, 300.0, 300.0]

        plant.say(24 * 61 + 2, 310.0)
        plant.historian.settle()

        assert plant.reader.rollups([POINT], *SPAN, width="day").low.tolist() == [290.0, 300.0]


def test_imports_come_anew_under_a_new_journal_even_in_sealed_days(plant: Plant):
    def imported(value: float) -> Imported:
        return Imported(at=Instant(START), source="town", rows=((POINT, START, value, 192),))

    plant.historian.follow("one", last_seq=0)
    plant.historian.write([imported(5.0)], through=1)
    plant.say(1, 280.0)
    plant.say(26, 290.0)
    plant.historian.settle()
    plant.historian.follow("two", last_seq=0)

    assert plant.historian.through == 0
    assert plant.values() == [280.0, 290.0]
    assert plant.reader.rollups([POINT], *SPAN, width="day").low.tolist() == [280.0, 290.0]

    plant.historian.write([imported(6.0)], through=1)
    plant.say(28, 291.0)
    plant.historian.settle()

    assert plant.values() == [6.0, 280.0, 290.0, 291.0]
    assert plant.recorded() == ["2024-10-04.2.parquet"]


def test_a_crowded_day_is_sealed_without_waiting(tmp_path: Path):
    with closing(Plant(tmp_path, hot_rows_max=2)) as plant:
        plant.say(1, 280.0, 281.0)
        plant.say(24.1, 290.0)
        plant.historian.settle()

        assert plant.files() == ["2024-10-04.1.parquet"]


def test_a_historian_of_another_version_is_refused(plant: Plant, tmp_path: Path):
    plant.historian._db.execute(f"PRAGMA user_version={VERSION + 1}")

    with pytest.raises(StorageError, match=f"expected a historian of version {VERSION}, was"):
        Historian(plant.path)


def test_the_sealer_tells_its_own_mistakes(plant: Plant, monkeypatch):
    def wrong(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(sealing, "_keep", wrong)
    plant.say(1, 280.0)
    plant.say(26, 290.0)

    with pytest.raises(ZeroDivisionError):
        plant.historian.settle()
