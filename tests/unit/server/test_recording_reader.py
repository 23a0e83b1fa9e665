"""What is read from a recording, in which order, and what is said of one that is not right."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.registry import Inflow, Storage
from server.history.recording import days, name_of, open_recording
from server.history.stretch import REASONS
from telemetry.errors import ConfigError
from tests.unit.server.recording_files import (
    AT,
    HEAD,
    MINUTE,
    POINTS,
    ZONES,
    lines,
    recording,
    sample,
    table,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"
ONE = {"a": [sample("street/pressure", 0, 2.5)]}


def rows_of(folder: Path, *args, **kwargs) -> list[tuple]:
    found = open_recording(folder)
    return [
        (found.points[p], int(at - AT) / MINUTE, None if np.isnan(v) else v, int(q))
        for s in found.stretches(*args, **kwargs)
        for p, at, v, q in zip(s.point, s.at, s.value, s.quality, strict=True)
    ]


def mistakes(folder: Path) -> str:
    with pytest.raises(ConfigError) as e:
        list(open_recording(folder).stretches())
    return str(e.value)


def test_zones_and_points_become_a_registry_in_house_units(tmp_path: Path):
    registry = open_recording(recording(tmp_path / "r", ONE)).registry()

    north, street = registry.zones["north"], registry.points["street/pressure"]
    assert north.inflow == (Inflow(point="inlet/flow", sign=1),)
    assert north.storage == (Storage(point="tower/level", area_m2=80.0),)
    assert (north.timezone, north.calendar) == ("Asia/Shanghai", "cn")
    assert (street.low, street.high) == pytest.approx((140.0, 600.0))
    assert street.period_ms == 60_000
    assert registry.points["tower/level"].period_ms == 300_000


def test_values_are_converted_to_house_units_at_the_door(tmp_path: Path):
    assert rows_of(recording(tmp_path / "r", ONE)) == [("street/pressure", 0.0, 250.0, 192)]


def test_a_server_learns_from_a_recording_in_house_units(tmp_path: Path):
    folder = recording(tmp_path / "r", ONE)

    assert name_of(folder) == "two streets"
    assert list(days(folder)) == [(("street/pressure", AT, 250.0, 192),)]


def test_a_network_outside_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "net.inp").write_text("")
    toml = (HEAD + ZONES + POINTS).replace("version = 1", 'version = 1\nnetwork = "../net.inp"')

    told = mistakes(recording(tmp_path / "r", ONE, toml=toml))

    assert "recording.network: expected a file of the folder, was '../net.inp'" in told


def test_a_bad_sample_has_no_value_whatever_was_written(tmp_path: Path):
    rows = [sample("inlet/flow", 0, None, 0), sample("inlet/flow", 1, float("nan"), 0)]
    rows.append(sample("inlet/flow", 2, 7.0, 0))

    found = rows_of(recording(tmp_path / "r", {"a": rows}))

    assert [(v, q) for _, _, v, q in found] == [(None, 0)] * 3


def test_a_late_sample_waits_until_nothing_can_have_arrived_before_it(tmp_path: Path):
    def came(minute: float, after: float):
        late = round(AT + (minute + after) * MINUTE)
        return sample("inlet/flow", minute, minute, arrived_at=late)

    days = {
        "a": [came(0, 0), came(1, 4.5), came(2, 0)],
        "b": [came(3, 0), came(4, 0)],
        "c": [came(5, 0), came(6, 0)],
    }
    found = rows_of(recording(tmp_path / "r", days))

    assert [minute for _, minute, _, _ in found] == [0, 2, 3, 4, 5, 1, 6]


def test_a_sample_without_arrival_arrived_when_it_was_read(tmp_path: Path):
    rows = [
        sample("inlet/flow", 0, 0.0, arrived_at=AT + 5 * MINUTE),
        sample("inlet/flow", 1, 1.0, arrived_at=None),
    ]
    folder = recording(tmp_path / "r", {"a": rows}, row_group_size=1)

    assert [v for _, _, v, _ in rows_of(folder)] == [1.0, 0.0]


def test_optional_columns_are_read(tmp_path: Path):
    rows = [
        sample("inlet/flow", 0, None, 0, reason="timeout", gateway="pi-1", epoch=3, offset=7),
        sample("inlet/flow", 1, 1.0, 192, reason="", gateway=None, epoch=None, offset=None),
    ]
    (found,) = open_recording(recording(tmp_path / "r", {"a": rows})).stretches()

    assert [REASONS[n].value for n in found.reason] == ["timeout", ""]
    assert found.gateways[found.gateway[0]] == "pi-1" and found.gateway[1] == -1
    assert found.epoch.tolist() == [3, -1] and found.offset.tolist() == [7, -1]
    assert found.time_quality is None


def test_a_part_in_time_and_points_is_read(tmp_path: Path):
    days = {"a": [sample(p, m, 1.0) for m in range(3) for p in ("inlet/flow", "tower/level")]}
    folder = recording(tmp_path / "r", days, row_group_size=2)

    found = rows_of(folder, AT + MINUTE, AT + 2 * MINUTE, {"tower/level"})

    assert found == [("tower/level", 1.0, 1.0, 192)]


def test_marks_are_obeyed_and_the_last_revision_holds(tmp_path: Path):
    folder = recording(tmp_path / "r", {"a": [sample("inlet/flow", m, 1.0) for m in range(4)]})
    mark = {"point": "inlet/flow", "to": "2026-09-21T14:15:20Z"}
    lines(
        folder / "marks.jsonl",
        mark | {"revision": 2, "from": "2026-09-21T14:14:20Z", "quality": None},
        mark | {"revision": 1, "from": "2026-09-21T14:00:00Z", "quality": 0},
    )

    assert [v for _, _, v, _ in rows_of(folder)] == [None, 1.0, 1.0, 1.0]
    assert [v for _, _, v, _ in rows_of(folder, with_marks=False)] == [1.0] * 4


@given(
    cuts=st.lists(st.integers(1, 11), max_size=3, unique=True),
    delays=st.lists(st.integers(0, 12), min_size=12, max_size=12),
    group=st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_order_is_by_arrival_then_by_file_however_it_was_cut(tmp_path_factory, cuts, delays, group):
    rows = [
        sample("inlet/flow", m, float(m), arrived_at=AT + (m + d) * MINUTE)
        for m, d in enumerate(delays)
    ]
    edges = [0, *sorted(cuts), 12]
    days = {f"f{a:02}": rows[a:b] for a, b in pairwise(edges)}
    folder = recording(tmp_path_factory.mktemp("r") / "r", days, row_group_size=group)

    found = [int(v) for _, _, v, _ in rows_of(folder)]

    assert found == sorted(range(12), key=lambda m: m + delays[m])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version = 1", "version = 2", "recording.version: Input should be 1"),
        ("cadence_s = 60", "cadence_s = 60\ncadance = 1", "recording.cadance: unknown key"),
        ("Asia/Shanghai", "Asia/Shangri-La", "recording.timezone: expected an IANA time zone"),
        ('unit = "bar"', 'unit = "stone"', "point[0].unit: expected a unit out of"),
        ('unit = "bar"', 'unit = "m3/h"', "point[0].unit: expected a unit of pressure, was 'm3/h'"),
        ('"pressure"', '"presure"', "point[0].quantity: Input should be"),
        ('zone = "north"', 'zone = "south"', "point[0].zone: expected one of north, was 'south'"),
        ('point = "inlet/flow"', 'point = "a/flow"', "expected a flow point, was 'a/flow'"),
        ('point = "tower/level"', 'point = "inlet/flow"', "expected a level point, was"),
        ('id = "tower/level"', 'id = "inlet/flow"', "point[2].id: 'inlet/flow' is used twice"),
        ("low = 1.4", "low = 9.0", "point[0].limits.low: expected less than high 6.0, was 9.0"),
        (
            "low = 1.4",
            'promise_by = "x"',
            "limits.promise_by: expected a promise with it, found none",
        ),
        (
            'unit = "m3/h"',
            'unit = "m3/h"\nlimits = { promise = 2.8 }',
            "point[1].limits.promise: expected of a pressure only, was of flow",
        ),
        ("to = 2026-09-22T14:00:00Z", "to = 2026-09-22", "recording.to: expected an instant"),
        ("cadence_s = 60", 'network = "net.inp"\ncadence_s = 60', "recording.network: expected"),
    ],
)
def test_a_mistake_in_the_head_is_told_by_file_and_key(tmp_path: Path, old, new, told):
    toml = (HEAD + ZONES + POINTS).replace(old, new, 1)

    found = mistakes(recording(tmp_path / "r", ONE, toml=toml))

    assert "recording.toml: " in found and told in found


def test_all_mistakes_of_head_and_files_are_told_at_once(tmp_path: Path):
    toml = (HEAD + ZONES + POINTS).replace("Asia/Shanghai", "x").replace("cadence_s", "cadence")
    folder = recording(tmp_path / "r", ONE, toml=toml)
    (folder / "samples" / "b.parquet").write_bytes(b"PAR1 cut off")

    told = mistakes(folder)

    assert "recording.timezone" in told and "recording.cadence: unknown key" in told
    assert "b.parquet: cannot be read as Parquet" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"value": float("nan")}, "row 2: value: expected a number, as its quality is not 0"),
        ({"value": float("inf"), "quality": 64}, "row 2: value: expected a number"),
        ({"value": None}, "row 2: value: expected a number, as its quality is not 0, was None"),
        ({"quality": 7}, "row 2: quality: expected 192, 64 or 0, was 7"),
        ({"quality": None}, "row 2: quality: expected 192, 64 or 0, was nothing"),
        ({"point": "x/flow"}, "row 2: point: expected a point of recording.toml, was 'x/flow'"),
        ({"point": None}, "row 2: point: expected a point of recording.toml, was nothing"),
        ({"at": None}, "row 2: at: expected an instant, was nothing"),
    ],
)
def test_a_wrong_row_is_told_by_file_and_row(tmp_path: Path, wrong: dict, told: str):
    rows = [sample("inlet/flow", 0, 1.0), sample("inlet/flow", 1, 1.0) | wrong]
    folder = recording(tmp_path / "r", {"a": rows}, row_group_size=1)

    assert f"a.parquet: {told}" in mistakes(folder)


def test_an_unknown_reason_is_told_by_row(tmp_path: Path):
    folder = recording(tmp_path / "r", {"a": [sample("inlet/flow", 0, None, 0, reason="tired")]})

    assert "a.parquet: row 1: reason: expected one of timeout" in mistakes(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.append_column("colour", pa.array(["red"])), "column colour: expected one of"),
        (lambda t: t.drop_columns(["quality"]), "column quality: required column is missing"),
        (
            lambda t: t.set_column(2, "value", pa.array(["7"])),
            "column value: expected float64, was string",
        ),
        (
            lambda t: t.set_column(0, "at", pa.array([AT])),
            "column at: expected timestamp[ms, UTC], was int64",
        ),
    ],
)
def test_wrong_columns_are_told(tmp_path: Path, change, told: str):
    folder = recording(tmp_path / "r", ONE)
    pq.write_table(change(table(ONE["a"])), folder / "samples" / "a.parquet")

    assert f"a.parquet: {told}" in mistakes(folder)


def test_a_truncated_file_is_named(tmp_path: Path):
    folder = recording(tmp_path / "r", ONE)
    path = folder / "samples" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])

    assert "a.parquet: cannot be read as Parquet" in mistakes(folder)


def test_overlapping_files_are_named(tmp_path: Path):
    days = {n: [sample("inlet/flow", m, 1.0) for m in range(3)] for n in ("a", "b")}

    told = mistakes(recording(tmp_path / "r", days))

    assert "b.parquet: overlaps a.parquet: expected no sample before 2026-09-21T14:15:20Z" in told


@pytest.mark.parametrize("name", ["ltown-2018", "battledim-flows-2019h1", "bwdf-2021"])
def test_the_ready_made_recordings_are_read_whole(name: str):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no recordings beside the checkout: {name}")
    found = open_recording(folder)
    last = 0
    rows = 0
    for s in found.stretches():
        assert s.arrived_at[0] >= last and (np.diff(s.arrived_at) >= 0).all()
        last, rows = s.arrived_at[-1], rows + len(s)

    assert rows == found.rows > 70_000
