"""The outbox and time: boots, anchors, correction when read, an older file brought up to date."""

import sqlite3

from gateway.core.device import Scan
from gateway.core.rows import pack
from telemetry.instant import HOUR_MS, Instant
from telemetry.sample import Sample, TimeQuality
from tests.unit.gateway.test_outbox import POINTS, opened, scan

DOUBTFUL, CORRECTED = TimeQuality.DOUBTFUL, TimeQuality.CORRECTED


def doubted(monotonic_ms: int, *, base_ms: int) -> Scan:
    at = Instant(monotonic_ms + base_ms)
    samples = tuple(Sample(point=p, at=at, value=1.0, time_quality=DOUBTFUL) for p in POINTS)
    return Scan(device="north-inlet", samples=samples, base_ms=base_ms)


def instants(outbox) -> list[tuple[int, TimeQuality]]:
    rows = outbox.read(0, rows=100)
    return [(row.samples[0].at, row.samples[0].time_quality) for row in rows]


def test_unsent_rows_of_an_unsynchronised_boot_are_read_corrected_after_the_synchronisation(
    tmp_path,
):
    outbox = opened(tmp_path)
    outbox.append([doubted(1_000, base_ms=50_000), doubted(2_000, base_ms=50_000)])
    assert instants(outbox) == [(51_000, DOUBTFUL), (52_000, DOUBTFUL)]

    outbox.synchronised(monotonic_ms=2_500, base_ms=50_000 + HOUR_MS)

    assert instants(outbox) == [(51_000 + HOUR_MS, CORRECTED), (52_000 + HOUR_MS, CORRECTED)]
    outbox.close()
    again = opened(tmp_path)
    assert instants(again)[0] == (51_000 + HOUR_MS, CORRECTED)
    again.close()


def test_order_is_by_offset_whatever_the_clock_said(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([doubted(1_000, base_ms=9 * HOUR_MS)])
    outbox.append([doubted(2_000, base_ms=0)])
    rows = outbox.read(0, rows=10)
    assert [row.first for row in rows] == [0, 2]
    assert rows[0].samples[0].at > rows[1].samples[0].at
    outbox.close()


def test_a_boot_that_never_learnt_the_time_stays_doubtful(tmp_path):
    first = opened(tmp_path, boot="boot-1")
    first.append([doubted(1_000, base_ms=0)])
    first.close()
    second = opened(tmp_path, boot="boot-2")
    second.append([doubted(1_000, base_ms=0)])
    second.synchronised(monotonic_ms=3_000, base_ms=HOUR_MS)

    assert instants(second) == [(1_000, DOUBTFUL), (1_000 + HOUR_MS, CORRECTED)]
    second.close()


def test_each_row_is_corrected_by_the_first_synchronisation_after_it_was_read(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([doubted(1_000, base_ms=0)])
    outbox.synchronised(monotonic_ms=2_000, base_ms=100)
    outbox.append([doubted(3_000, base_ms=100)])
    outbox.synchronised(monotonic_ms=4_000, base_ms=130)
    assert instants(outbox) == [(1_100, CORRECTED), (3_130, CORRECTED)]
    outbox.close()


def test_what_was_read_with_a_right_clock_is_left_alone(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(1)])
    outbox.synchronised(monotonic_ms=2_000_000, base_ms=HOUR_MS)
    assert instants(outbox) == [(1_000, TimeQuality.SYNCHRONISED)]
    outbox.close()


def test_boots_that_no_row_speaks_of_are_forgotten(tmp_path):
    for n in range(5):
        outbox = opened(tmp_path, boot=f"boot-{n}")
        outbox.synchronised(monotonic_ms=1, base_ms=1)
        if n == 2:
            outbox.append([scan(1)])
        outbox.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        assert [b for (b,) in db.execute("SELECT name FROM boot")] == ["boot-2", "boot-3", "boot-4"]
        assert db.execute("SELECT count(*) FROM anchor").fetchone() == (3,)
    db.close()


def test_counters_alone_are_kept_and_take_no_offset(tmp_path):
    outbox = opened(tmp_path)
    counted = scan(1, counted=42)
    quiet = Scan(device="north-inlet", samples=(), counters=counted.counters)

    assert outbox.append([counted, quiet, scan(2)]) == [0, 2, 2]
    assert outbox.head == 4
    assert outbox.counters()[POINTS[1]].raw == 42
    outbox.close()


def test_a_file_of_the_first_version_is_brought_up_to_date_with_its_rows(tmp_path):
    outbox = opened(tmp_path)
    outbox.append([scan(1)])
    outbox.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("DROP TABLE boot")
        db.execute("DROP TABLE anchor")
        db.execute("ALTER TABLE row DROP COLUMN boot")
        db.execute("ALTER TABLE row DROP COLUMN base")
        db.execute("PRAGMA user_version=1")
    db.close()

    again = opened(tmp_path)

    assert not again.moved_aside
    (row,) = again.read(0, rows=9)
    assert pack(row.samples) == pack(scan(1).samples)
    again.append([doubted(1_000, base_ms=0)])
    again.close()
