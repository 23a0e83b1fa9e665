"""The history: the recording's form, the same bytes from the same seed, and a seamless join."""

import tomllib
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firmware_sim import assembly, history
from firmware_sim.config import SimConfig
from firmware_sim.world import World
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, MINUTE_MS, Instant
from telemetry.register_map import RegisterMap

NOW = Instant(1_790_000_123_456)
Maps = dict[str, RegisterMap]
MakeConfig = Callable[..., SimConfig]
Series = dict[str, list[tuple[int, float]]]


def _write(config: SimConfig, maps: Maps, *, after_m: int = 0) -> list[tuple[int, list[float]]]:
    """Write the history that ends at NOW; return what live shows in the minutes after it."""
    water = assembly.water_of(config)
    try:
        world = World.of(config, maps, water, at=history.begins_at(config, NOW))
        history.prepare(config.history.out)
        span = history.Span(
            folder=config.history.out,
            until=history.ends_at(config, NOW),
            cadence_ms=config.history.cadence_s * 1000,
        )
        world.write(span, is_stopped=lambda: False)
        return [_step(world) for _ in range(after_m)]
    finally:
        water.close()


def _step(world: World) -> tuple[int, list[float]]:
    field = world.field
    field.advance(Instant(field.plant.at + MINUTE_MS), step_ms=1000)
    return field.plant.at, field.readings()


def _series(folder: Path) -> Series:
    found: Series = defaultdict(list)
    for path in sorted((folder / "samples").glob("*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            found[row["point"]].append((round(row["at"].timestamp() * 1000), row["value"]))
    return found


def test_a_recording_has_the_promised_form(make_config: MakeConfig, maps: Maps) -> None:
    config = make_config(history={"days": 2})
    _write(config, maps)
    folder = config.history.out
    described = tomllib.loads((folder / "recording.toml").read_text(encoding="utf-8"))
    schema = pq.ParquetFile(min((folder / "samples").glob("*.parquet"))).schema_arrow
    series = _series(folder)
    end = history.ends_at(config, NOW)

    assert schema == pa.schema(
        {
            "at": pa.timestamp("ms", tz="UTC"),
            "point": pa.dictionary(pa.int32(), pa.string()),
            "value": pa.float64(),
            "quality": pa.uint8(),
        }
    )
    assert len(list((folder / "samples").iterdir())) == 3
    assert {p["id"] for p in described["point"]} == set(series)
    assert [z["id"] for z in described["zone"]] == ["north", "east", "south"]
    assert described["recording"]["to"].timestamp() * 1000 == end
    assert (folder / "truth.jsonl").read_text() == ""
    assert (folder / "network.inp").read_bytes() == config.sim.network.read_bytes()
    for course in series.values():
        assert [at for at, _ in course] == [end - n * 5 * MINUTE_MS for n in range(576)][::-1]


def test_the_same_seed_and_end_give_the_same_bytes(
    make_config: MakeConfig, maps: Maps, tmp_path: Path
) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "other"]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        config = make_config(history={"days": 1, "out": str(folder)}, sim={"seed": seed})
        _write(config, maps)
    one, two, other = (
        [(p.name, p.read_bytes()) for p in sorted((f / "samples").iterdir())] for f in folders
    )

    assert one == two
    assert one != other


def test_live_goes_on_where_history_ends(make_config: MakeConfig, maps: Maps) -> None:
    config = make_config(history={"days": 1})
    live = _write(config, maps, after_m=5)
    series = _series(config.history.out)
    points = [p.point for c in config.converter for d in c.device for p in d.point]
    at, shown = live[-1]

    assert at - series[points[0]][-1][0] == 5 * MINUTE_MS
    for n, point in enumerate(points):
        steps = [abs(b[1] - a[1]) for a, b in pairwise(series[point])]
        if point.endswith("/volume"):
            assert shown[n] >= series[point][-1][1]
        assert abs(shown[n] - series[point][-1][1]) <= 1.5 * max(steps) + 0.5


def test_flow_in_the_history_is_what_the_counter_counted(
    make_config: MakeConfig, maps: Maps
) -> None:
    config = make_config(history={"days": 1})
    _write(config, maps)
    series = _series(config.history.out)
    volumes = [v for _, v in series["customer-05/volume"]]
    flows = [f for _, f in series["customer-05/flow"]]

    assert flows[1:] == pytest.approx([(b - a) * 12 for a, b in pairwise(volumes)], abs=1e-6)
    assert 5 < sum(flows) / len(flows) < 14


def test_an_earlier_recording_is_replaced(make_config: MakeConfig, maps: Maps) -> None:
    config = make_config(history={"days": 1})
    stale = config.history.out / "samples" / "2001-01-01.parquet"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    _write(config, maps)

    assert not stale.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"^history\.out: expected a folder that can be written"):
        history.prepare(tmp_path / "file" / "history")


def test_history_ends_on_the_grid_and_is_as_long_as_asked(make_config: MakeConfig) -> None:
    config = make_config(history={"days": 28})
    end = history.ends_at(config, NOW)

    assert end % (5 * MINUTE_MS) == 0
    assert NOW - 5 * MINUTE_MS < end <= NOW
    assert end - history.begins_at(config, NOW) == 28 * DAY_MS
