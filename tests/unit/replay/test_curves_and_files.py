"""Do curves keep the spikes, does the timeline hold what happened, are files whole or not there?"""

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from server.history.stretch import Stretch
from server.replay.keep import digest_of, write_whole
from server.replay.score import score
from server.replay.timeline import LEFT, WIDTH, timeline
from server.replay.trends import BUCKETS_MAX, Trends
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, MINUTE_MS
from tests.unit.replay.facts import BEGIN, END, ZONES, said, truth


def stretch(point, at, value):
    return Stretch(
        at=np.array(at, dtype=np.int64),
        point=np.array(point, dtype=np.int32),
        value=np.array(value, dtype=np.float64),
        quality=np.full(len(at), 192, dtype=np.uint8),
        arrived_at=np.array(at, dtype=np.int64),
    )


def test_a_spike_in_a_year_is_kept_and_a_gap_stays_a_gap():
    end = BEGIN + 365 * DAY_MS
    trends = Trends(["a/flow", "b/flow"], begin=BEGIN, end=end, cadence_ms=5 * MINUTE_MS)
    at = np.arange(BEGIN, BEGIN + 20 * DAY_MS, 5 * MINUTE_MS)
    value = np.full(len(at), 10.0)
    value[777] = 99.0
    trends.add(stretch(np.zeros(len(at)), at, value))

    assert trends.buckets <= BUCKETS_MAX + 1
    assert max(v for v in trends.high("a/flow") if v is not None) == 99.0
    assert trends.low("a/flow")[0] == 10.0
    assert trends.low("a/flow")[-1] is None
    assert set(trends.high("b/flow")) == {None}


def test_a_thousand_points_share_the_page():
    points = [f"p{n}/pressure" for n in range(1_000)]
    trends = Trends(points, begin=BEGIN, end=BEGIN + 365 * DAY_MS, cadence_ms=5 * MINUTE_MS)

    assert trends.buckets * len(points) <= 310_000


def test_net_inflow_is_what_comes_in_less_what_goes_out():
    trends = Trends(["in/flow", "out/flow"], begin=0, end=MINUTE_MS, cadence_ms=MINUTE_MS)
    trends.add(stretch([0, 1, 0, 1], [0, 0, 1, 1], [10.0, 3.0, 20.0, 5.0]))

    assert trends.net([("in/flow", 1), ("out/flow", -1)])[0] == 11.0
    assert trends.net([("in/flow", 1), ("gone/flow", 1)]) == []
    assert trends.net([]) == []


def test_the_timeline_holds_every_truth_and_every_proposal_without_overlap():
    truths = [truth(f"t{n}", day=10 * n, days=30, x=5000.0 * n) for n in range(4)]
    found = score(
        [said(day=1), said("INC-2", zone="east")], truths, begin=BEGIN, end=END, zones=ZONES
    )
    drawn = timeline(found, ZONES, ZoneInfo("UTC"))
    bars = drawn.rows[0].bars

    assert len(bars) == 4
    assert [len(r.marks) for r in drawn.rows] == [1, 1]
    assert all(b.x >= LEFT and b.x + b.width <= WIDTH for b in bars)
    assert not any(
        a.y == b.y and a.x < b.x + b.width and b.x < a.x + a.width
        for n, a in enumerate(bars)
        for b in bars[n + 1 :]
    )
    assert [t.label for t in drawn.ticks] == ["2023-12", "2024-01", "2024-02"]


def test_a_file_replaces_another_as_a_whole(tmp_path):
    path = tmp_path / "new" / "events.jsonl"
    write_whole(path, ["old\n"])

    def breaks():
        yield "half"
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        write_whole(path, breaks())

    assert path.read_text(encoding="utf-8") == "old\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(StorageError, match=r"events.jsonl: cannot be written"):
        write_whole(tmp_path / "file" / "events.jsonl", ["x"])


def test_the_hash_of_inputs_changes_with_any_of_them(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.parquet").write_bytes(b"a")
    (tmp_path / "recording.toml").write_bytes(b"b")
    before = digest_of(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"not an input")

    assert digest_of(tmp_path) == before
    (tmp_path / "samples" / "a.parquet").write_bytes(b"c")
    assert digest_of(tmp_path) != before
