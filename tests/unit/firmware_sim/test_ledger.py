"""The ledger: exact, bounded, the same bytes for a seed; in histories and beside live wires."""

import json
import tomllib
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from firmware_sim import assembly, history, ledger, world
from firmware_sim.core.encode import number
from firmware_sim.scenario_config import ScenarioConfig
from firmware_sim.world import World, write_history
from telemetry.errors import ConfigError
from telemetry.instant import MINUTE_MS, Instant
from telemetry.sample import Quality

STORY = {
    "scenario": {"name": "s", "title": {"zh": "甲", "en": "A"}, "lasts": "2h"},
    "event": [
        {"id": "burst", "kind": "burst", "at": "+20m", "for": "1h", "target": "P-EAST-030"}
        | {"m3h": 40},
        {"id": "flat", "kind": "flat", "at": "+10m", "target": "wenhua-road-12/pressure"},
        {"id": "swap", "kind": "swapped_words", "at": "+10m", "target": "old-market/pressure"},
        {"id": "dead", "kind": "dead", "at": "+30m", "for": "20m", "target": "customer-05"},
        {"id": "away", "kind": "uplink_down", "at": "+1h", "for": "30m", "target": "north"},
        {"id": "reset", "kind": "counter_reset", "at": "+50m", "target": "customer-08"},
        {"id": "flush", "kind": "hydrant", "at": "+95m", "for": "5m", "target": "J-EAST-012"}
        | {"m3h": 20, "planned": True},
        {"id": "holiday", "kind": "holiday", "at": "+0s"},
    ],
}


def write(make_config, maps, folder: Path, *, seed=7, story=STORY, **more) -> Path:
    config = make_config(
        history={"days": 0, "cadence_s": 60, "out": str(folder)} | more, sim={"seed": seed}
    )
    scenario = ScenarioConfig.model_validate(story) if story else None
    write_history(config, maps, scenario=scenario, ending=None, is_stopped=lambda: False)
    return folder


def rows(folder: Path):
    return [
        row
        for path in sorted((folder / "samples").glob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]


def lines(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def every_byte(folder: Path):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(make_config, maps, tmp_path):
    one, two, other = (
        write(make_config, maps, tmp_path / name, seed=seed)
        for name, seed in (("one", 7), ("two", 7), ("other", 8))
    )

    assert every_byte(one) == every_byte(two)
    assert set(every_byte(one)) == {
        *("network.inp", "operations.jsonl", "recording.toml", "truth.jsonl"),
        *("truth_flow.parquet", "samples/2025-12-31.parquet", "samples/2026-01-01.parquet"),
    }
    assert (
        every_byte(one)["samples/2025-12-31.parquet"]
        != (every_byte(other)["samples/2025-12-31.parquet"])
    )


def test_a_ledger_is_cut_into_parts_and_says_the_same(make_config, maps, tmp_path, monkeypatch):
    whole = write(make_config, maps, tmp_path / "whole")
    monkeypatch.setattr(ledger, "ROWS_MAX", 41 * 25)
    parts = write(make_config, maps, tmp_path / "parts")
    names = sorted(p.name for p in (parts / "samples").iterdir())

    assert len(names) == 6
    assert names[0] == "2025-12-31.parquet"
    assert rows(parts) == rows(whole)


def test_labels_tell_what_happened_where_and_how_much(make_config, maps, tmp_path):
    folder = write(make_config, maps, tmp_path / "r")
    truth = {row["id"]: row for row in lines(folder / "truth.jsonl")}
    begin = tomllib.loads((folder / "recording.toml").read_text())["recording"]["from"]

    assert set(truth) == {"burst", "flat", "swap", "dead", "away", "reset", "flush"}
    burst = truth["burst"]
    assert (burst["kind"], burst["type"], burst["zone"]) == ("burst", "abrupt", "east")
    assert (burst["pipe"], burst["peak_m3h"]) == ("P-EAST-030", 40)
    assert 3000 < burst["x"] < 4800
    assert burst["from"] == f"{begin:%Y-%m-%dT}22:20:00Z"
    assert burst["to"] == f"{begin:%Y-%m-%dT}23:20:00Z"
    assert truth["flat"] | {"from": "", "cause": ""} == {
        "id": "flat",
        "kind": "fault",
        "zone": "north",
        "point": "wenhua-road-12/pressure",
        "from": "",
        "to": "2026-01-01T00:00:00Z",
        "cause": "",
    }
    assert truth["dead"]["point"] == "customer-05/volume"
    assert truth["reset"]["from"] == truth["reset"]["to"]
    assert [o["kind"] for o in lines(folder / "operations.jsonl")] == ["hydrant"]
    assert truth["flush"]["kind"] == "works"
    flows = pq.ParquetFile(folder / "truth_flow.parquet").read().to_pylist()
    assert {f["id"] for f in flows} == {"burst"}
    assert len(flows) == pytest.approx(60, abs=1)
    assert all(f["m3h"] == pytest.approx(40, rel=0.1) for f in flows)


def test_gaps_say_why_and_late_samples_say_when(make_config, maps, tmp_path):
    found = rows(write(make_config, maps, tmp_path / "r"))
    dead = [r for r in found if r["point"] == "customer-05/volume" and r["value"] is None]
    late = [r for r in found if r["arrived_at"] != r["at"]]

    assert {r["reason"] for r in dead} == {"timeout"}
    assert {r["quality"] for r in dead} == {int(Quality.BAD)}
    assert len(dead) == 20
    assert len({r["at"] for r in late}) == 30
    assert len({r["arrived_at"] for r in late}) == 1
    assert Counter(r["reason"] for r in found if r["point"] == "customer-08/flow") == {
        "": 119,
        "counter_reset": 1,
    }
    flow = [r["reason"] for r in found if r["point"] == "customer-05/flow"]
    assert flow.count("first_reading") == 1


def test_a_value_is_what_a_reader_of_the_words_would_have_got(make_config, maps, tmp_path):
    folder = write(make_config, maps, tmp_path / "r", story=None, days=1, cadence_s=3600)
    config = make_config(history={"cadence_s": 3600, "days": 1}, sim={"seed": 7})
    water = assembly.water_of(config)
    try:
        begin = Instant(history.ends_at(config, world._DEFAULT_END) - 86_400_000)
        field = World.of(config, maps, water, at=begin).field
        expected = {}
        for _ in range(24):
            field.advance(Instant(field.plant.at + 60 * MINUTE_MS), step_ms=60 * MINUTE_MS)
            at = field.plant.at
            for i, truth in zip(field.plant.instruments, field.plant.truths(), strict=True):
                words = field.faults.reading(i, truth, at)
                expected[at, i.point] = number(words, i.register)
    finally:
        water.close()

    said = {(round(r["at"].timestamp() * 1000), r["point"]): r["value"] for r in rows(folder)}
    assert set(expected) <= set(said)
    for key, value in expected.items():
        assert said[key] == pytest.approx(value, rel=1e-12, abs=1e-12), key


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"target": "P-EAST-030", "m3h": 90_000}, r"^s: .*P-EAST-030"),
        ({"target": "P-EAST-30", "m3h": 4}, r"^s: event\[0\] 'e': target: .*near names: P-EAST"),
    ],
)
def test_a_story_that_cannot_happen_is_one_sentence(make_config, maps, tmp_path, event, sentence):
    story = STORY | {"event": [{"id": "e", "kind": "burst", "at": "+5m", **event}]}

    with pytest.raises(ConfigError, match=sentence):
        write(make_config, maps, tmp_path / "r", story=story)
    assert not (tmp_path / "r" / "recording.toml").exists()


def test_without_days_and_without_a_story_nothing_is_written(make_config, maps, tmp_path):
    with pytest.raises(ConfigError, match="expected at least 1 day or a scenario"):
        write(make_config, maps, tmp_path / "r", story=None)
