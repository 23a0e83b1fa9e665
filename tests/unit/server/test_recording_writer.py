"""Is a recording written whole or not at all, whatever came first, and as its manifest says?"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.history import manifest, recording_toml, recording_writer
from server.history.recording import open_recording
from server.history.recording_check import findings
from server.history.recording_toml import Description
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Stretch
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
)

DAY = 24 * 60


def stretch(rows, **columns) -> Stretch:
    """Return (minute, point, value or None) as samples."""
    at = np.array([AT + m * MINUTE for m, _, _ in rows], dtype=np.int64)
    value = np.array([np.nan if v is None else v for _, _, v in rows], dtype=np.float64)
    return Stretch(
        at=at,
        point=np.array([p for _, p, _ in rows], dtype=np.int32),
        value=value,
        quality=np.where(np.isnan(value), 0, 192).astype(np.uint8),
        **{"arrived_at": at} | columns,
    )


@pytest.fixture
def description(tmp_path: Path) -> Description:
    toml = (HEAD + ZONES + POINTS).replace('"bar"', '"kPa"').replace("09-22T14", "09-25T14")
    (tmp_path / "recording.toml").write_text(toml, encoding="utf-8")
    return recording_toml.read(tmp_path)


def written(folder: Path, description: Description, *parts: Stretch) -> Path:
    with RecordingWriter(folder, software="test") as writer:
        for part in parts:
            writer.add(part)
        writer.finish(description)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_read_back(tmp_path: Path, description: Description):
    rows = [(0, 0, 250.0), (0, 1, None), (1, 2, 3.5)]

    found = open_recording(written(tmp_path / "r", description, stretch(rows)))

    (back,) = found.stretches()
    assert found.description == description
    assert [found.points[p] for p in back.point] == ["inlet/flow", "street/pressure", "tower/level"]
    assert np.isnan(back.value[0]) and back.value[1:].tolist() == [250.0, 3.5]
    assert findings(tmp_path / "r") == []


@given(order=st.permutations(range(12)), cuts=st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=25, deadline=None)
def test_the_order_of_writing_changes_no_byte(tmp_path_factory, order, cuts):
    here = tmp_path_factory.mktemp("w")
    toml = (HEAD + ZONES + POINTS).replace("09-22T14", "09-30T14")
    (here / "recording.toml").write_text(toml, encoding="utf-8")
    description = recording_toml.read(here)
    rows = [(n * 500, n % 3, float(n)) for n in range(12)]
    edges = [0, *sorted(cuts), 12]
    parts = [stretch([rows[n] for n in order[a:b]]) for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007  empty parts too

    one = contents(written(here / "a", description, stretch(rows)))
    other = contents(written(here / "b", description, *parts))

    assert one == other


def test_more_than_memory_holds_goes_through_the_disk(tmp_path, description, monkeypatch):
    rows = [(n * 7, n % 3, float(n)) for n in range(600)]
    one = contents(written(tmp_path / "a", description, stretch(rows)))
    monkeypatch.setattr(recording_writer, "WAITING_MAX", 10)

    parts = [stretch(rows[n : n + 7]) for n in range(0, 600, 7)]

    assert contents(written(tmp_path / "b", description, *parts)) == one


def test_optional_columns_come_back(tmp_path: Path, description: Description):
    columns = {
        "arrived_at": np.array([AT + 5, AT + 60_000]),
        "gateway": np.array([0, -1], dtype=np.int32),
        "epoch": np.array([3, -1]),
        "offset": np.array([7, -1]),
        "reason": np.array([1, 0], dtype=np.uint8),
        "time_quality": np.array([2, 0], dtype=np.uint8),
    }
    part = stretch([(0, 0, None), (0, 1, 2.0)], **columns, gateways=("pi-1",))

    (back,) = open_recording(written(tmp_path / "r", description, part)).stretches()

    assert back.gateways == ("pi-1",)
    for name, column in columns.items():
        assert getattr(back, name).tolist() == column.tolist(), name


def test_what_was_not_finished_leaves_nothing_behind(tmp_path: Path, description: Description):
    with RecordingWriter(tmp_path / "in" / "r", software="t") as writer:
        writer.add(stretch([(0, 0, 1.0)]))

    assert list((tmp_path / "in").iterdir()) == []


def test_a_recording_that_is_there_is_not_written_over(tmp_path: Path):
    folder = recording(tmp_path / "r", {"a": [sample("inlet/flow", 0, 1.0)]})
    before = contents(folder)

    with pytest.raises(ConfigError, match="expected a folder that does not exist yet"):
        RecordingWriter(folder, software="t")

    assert contents(folder) == before


def test_the_manifest_lists_gaps_of_each_point(tmp_path: Path, description: Description):
    rows = [(m, 1, 1.0) for m in (0, 1, 2, 6, 7)] + [
        (m, 0, 1.0 if m != 1 else None) for m in range(4)
    ]

    body = json.loads(
        (written(tmp_path / "r", description, stretch(rows)) / "manifest.json").read_text()
    )

    gap = ["2026-09-21T14:15:20Z", "2026-09-21T14:19:20Z"]
    assert body["points"]["inlet/flow"]["gaps"] == [gap]
    assert body["points"]["street/pressure"]["gaps"] == [
        ["2026-09-21T14:13:20Z", "2026-09-21T14:15:20Z"]
    ]
    assert body["points"]["tower/level"] == {"rows": 0, "gaps": []}
    assert body["rows"] == 9 and body["files"]["samples/2026-09.parquet"]["rows"] == 9


def test_a_file_that_is_not_as_the_manifest_says_is_named(tmp_path: Path, description: Description):
    folder = written(tmp_path / "r", description, stretch([(0, 0, 1.0), (DAY, 0, 1.0)]))
    (folder / "recording.toml").write_text((folder / "recording.toml").read_text() + "\n")
    (folder / "samples" / "z.parquet").write_bytes(b"")

    told = "\n".join(manifest.mistakes(folder))

    assert "recording.toml: expected sha256" in told
    assert "z.parquet: expected no file of samples that manifest.json does not list" in told


@given(
    name=st.text(min_size=1).filter(str.strip),
    cadence=st.floats(0.2, 86_400),
    role=st.none() | st.text(),
    x=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
@settings(max_examples=60, deadline=None)
def test_a_head_is_read_back_as_it_was_written(tmp_path_factory, name, cadence, role, x):
    body = {
        "recording": {
            "version": 1,
            "name": name,
            "source": name,
            "timezone": "Asia/Shanghai",
            "from": "2026-01-01T00:00:00Z",
            "to": "2026-01-02T00:00:00.250Z",
            "cadence_s": cadence,
        },
        "zone": [{"id": "north", "name": name}],
        "point": [
            {
                "id": "a/flow",
                "zone": "north",
                "quantity": "flow",
                "unit": "l/s",
                "role": role,
                "x": x,
            }
        ],
    }
    description = Description.model_validate(body)
    folder = tmp_path_factory.mktemp("t")
    text = recording_toml.text_of(description)
    (folder / "recording.toml").write_text(text, encoding="utf-8", newline="")

    assert recording_toml.read(folder) == description


def test_check_tells_every_mistake_of_rows_labels_and_manifest(tmp_path: Path):
    rows = [sample("inlet/flow", 0, float("nan")), sample("inlet/flow", 9 * DAY, 1.0)]
    folder = recording(tmp_path / "r", {"a": rows})
    (folder / "net.inp").write_text("[JUNCTIONS]\nJ1 1\n[OPTIONS]\nUNITS CMH\n")
    head = (folder / "recording.toml").read_text()
    head = head.replace("version = 1", 'version = 1\nnetwork = "net.inp"')
    head = head.replace('unit = "bar"', 'unit = "bar"\nnode = "J2"')
    (folder / "recording.toml").write_text(head)
    leak = {"id": "l1", "kind": "leak", "zone": "south", "from": "2026-09-21T15:00:00Z"}
    lines(folder / "truth.jsonl", leak | {"to": "2026-09-21T14:00:00Z", "colour": "red"})
    lines(folder / "marks.jsonl", {"revision": 0, "point": "x/flow", "from": "2026"})

    told = "\n".join(findings(folder))

    for words in (
        "a.parquet: row 1: value: expected a number",
        "a.parquet: rows 1 to 2: at: expected an instant in 2026-09-21T14:00:00Z to",
        "recording.toml: point[0].node: expected a node of net.inp, was 'J2'",
        "truth.jsonl: row 1: colour: unknown key",
        "truth.jsonl: l1: to: expected no instant before from",
        "truth.jsonl: row 1: zone: expected one of north, was 'south'",
        "marks.jsonl: row 1: revision: Input should be greater",
        "marks.jsonl: row 1: from: expected an instant",
    ):
        assert words in told
