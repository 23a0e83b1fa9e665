"""What is taken in from a recording, and what is said of one that is not as it should be."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from server.history import recording
from telemetry.errors import ConfigError

AT = 1_790_000_000_000
GOOD = {"at": [AT], "point": ["a/pressure"], "value": [280.0], "quality": [192]}


def written(folder: Path, kind: str = "ms", **changes: object) -> Path:
    columns = GOOD | changes
    instants = columns["at"]
    if isinstance(instants[0], int):
        unit = {"ms": 1, "us": 1_000, "ns": 1_000_000}[kind]
        columns["at"] = pa.array([at * unit for at in instants], pa.timestamp(kind))
    (folder / "samples").mkdir()
    pq.write_table(pa.table(columns), folder / "samples" / "day.parquet")
    return folder


@pytest.mark.parametrize("kind", ["ms", "us", "ns"])
def test_instants_are_milliseconds_whatever_they_were_written_in(tmp_path: Path, kind: str):
    assert list(recording.days(written(tmp_path, kind))) == [(_row(280.0),)]


@pytest.mark.parametrize(
    ("value", "quality"), [(float("nan"), 192), (float("inf"), 64), (1.0, 0), (None, 192)]
)
def test_what_is_no_usable_number_has_no_value(tmp_path: Path, value: float | None, quality: int):
    folder = written(tmp_path, value=pa.array([value], pa.float64()), quality=[quality])

    assert list(recording.days(folder)) == [(_row(None, quality),)]


@pytest.mark.parametrize(
    "changes",
    [
        {"at": ["yesterday"]},
        {"value": ["high"]},
        {"quality": [-1]},
        {"point": pa.array([None], pa.string())},
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, changes: dict[str, object]):
    with pytest.raises(ConfigError, match=r"day\.parquet: expected"):
        list(recording.days(written(tmp_path, **changes)))


def test_a_missing_column_is_named(tmp_path: Path):
    (tmp_path / "samples").mkdir()
    pq.write_table(pa.table({"at": [AT], "point": ["a"]}), tmp_path / "samples" / "day.parquet")

    with pytest.raises(ConfigError, match="expected Parquet with at, point, value, quality"):
        list(recording.days(tmp_path))


def _row(value: float | None, quality: int = 192) -> tuple[object, ...]:
    return "a/pressure", AT, value, quality
