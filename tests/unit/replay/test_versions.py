"""Two versions of what was learnt over one recording, in one command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mainwatch.cli import main
from server.engine.effects import ModelApplied
from server.replay.score import score
from server.replay.session import Played
from server.replay.versions import Version, Versions, commands_of, json_of, refuse_period, text_of
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.scenarios.town_stream import registry
from tests.unit.replay.facts import BEGIN, END, said, truth

KNOWN = registry(("north", "east"))
DAYS = 40
FIRST = 1_704_067_200_000  # 2024-01-01T00:00:00Z
LOOSE_FROM, LOOSE_TO = 20, 30
"""Days of the recording on which more water runs: no habit to learn from."""

TOML = """
[recording]
version = 1
name = "forty days"
source = "made up"
licence = "Apache-2.0"
timezone = "UTC"
calendar = "none"
from = 2024-01-01T00:00:00Z
to = 2024-02-10T00:00:00Z
cadence_s = 3600

[[zone]]
id = "north"
name = "North"
kind = "dma"
inflow = [{ point = "inlet/flow", sign = 1 }]

[[point]]
id = "inlet/flow"
zone = "north"
quantity = "flow"
unit = "m3/h"
"""


def flow(hour: int) -> float:
    """Return a day like any other, a little noise, and ten days on which a hydrant runs."""
    day, clock = divmod(hour, 24)
    usual = 40 + 20 * math.sin((clock - 8) / 24 * 2 * math.pi) + math.sin(hour * 12.9898) * 1.5
    return usual + (25 if LOOSE_FROM <= day < LOOSE_TO else 0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("versions") / "forty-days"
    (folder / "samples").mkdir(parents=True)
    (folder / "recording.toml").write_text(TOML, encoding="utf-8")
    hours = range(24 * DAYS)
    table = pa.table(
        {
            "at": pa.array([FIRST + n * HOUR_MS for n in hours], pa.timestamp("ms", "UTC")),
            "point": pa.array(["inlet/flow"] * len(hours)).dictionary_encode(),
            "value": pa.array([flow(n) for n in hours]),
            "quality": pa.array([192] * len(hours), pa.uint8()),
        }
    )
    pq.write_table(table, folder / "samples" / "all.parquet")
    return folder


CLEAN = "2024-01-02T00:00:00Z..2024-01-20T00:00:00Z"


def test_both_versions_are_run_and_told_side_by_side(recording, tmp_path, capsys):
    page, out = tmp_path / "versions.html", tmp_path / "out"
    arguments = ["replay", str(recording), "--compare-clean", CLEAN, "--json"]

    assert main([*arguments, "--report", str(page), "--out", str(out)]) == 0

    summary = json.loads(capsys.readouterr().out)
    found = summary["versions"]
    assert found["period"] == ["2024-01-02T00:00:00Z", "2024-01-20T00:00:00Z"]
    assert found["chosen"] == DAYS - 19  # each night from the end of the period on
    assert found["trailing"]["last_models"] != found["clean"]["last_models"]
    assert found["why_not"] == []
    assert summary["parameters"]["compare-clean"] == CLEAN
    assert summary["what_if"] is not None
    assert "found" not in found["clean"]  # there are no labels to be held to
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == summary
    text = page.read_text(encoding="utf-8")
    assert "clean period" in text
    assert "所选时段" in text

    assert main(arguments[:-1]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["trailing", "clean"] for line in lines)
    assert "against the trailing days:" in lines


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--compare-clean", "2024-01-02T00:00:00Z"], "expected START..END"),
        (["--compare-clean", "2024-01-02..2024-01-20"], "expected an instant such as"),
        (["--compare-clean", "2024-01-20T00:00:00Z..2024-01-02T00:00:00Z"], "an end after"),
        (["--compare-clean", "2024-01-02T00:00:00Z..2024-01-05T00:00:00Z"], "at least 14 days"),
        (["--compare-clean", "2023-12-02T00:00:00Z..2024-01-05T00:00:00Z"], "within 2024-01-01"),
        (["--compare-clean", "2024-01-20T00:00:00Z..2024-02-10T00:00:00Z"], "to judge after it"),
        (["--compare-clean", "2023-08-20T00:00:00Z..2024-01-10T00:00:00Z"], "the last 132 days"),
        (["--compare-clean", CLEAN, "--from", "2024-01-10T00:00:00Z"], "within 2024-01-10"),
        (["--compare-clean", CLEAN, "--config", "server.toml"], "expected no --config with it"),
        (["--compare-clean", CLEAN, "--speed", "5"], "expected no --speed with it"),
        (["--compare-clean", CLEAN, "--score"], "truth.jsonl: expected labels"),
        (["--compare-clean", CLEAN, "--zone", "west"], "--zone: expected one of"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    recording, capsys, arguments, complaint
):
    assert main(["replay", str(recording), *arguments]) == 2

    told = capsys.readouterr().err.strip().splitlines()
    assert complaint in told[-1]


def test_a_journal_has_the_models_that_were_published(tmp_path, capsys):
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"")

    assert main(["replay", str(journal), "--compare-clean", CLEAN]) == 2
    assert "expected a recording, as a journal has the models published then" in (
        capsys.readouterr().err
    )


# --- the figures ----------------------------------------------------------------------------------


def model(zone: str, *, is_chosen: bool, of: str = "ready", because: str = "") -> ModelApplied:
    return ModelApplied(
        at=Instant(BEGIN),
        zone=zone,
        window=(Instant(BEGIN), Instant(END)),
        is_chosen=is_chosen,
        hash=f"{zone}-{is_chosen}",
        state=of,
        days=42,
        of=14,
        threshold=13.0,
        alarms_a_year=0.0,
        past_days=90,
        because=because,
    )


def version(name: str, lines, *models) -> Version:
    played = Played(
        said=tuple(lines), samples=9, begin=BEGIN, end=END, registry=KNOWN, models=models
    )
    found = score(lines, [truth()], begin=BEGIN, end=END, zones=("north", "east"))
    return Version(name=name, played=played, score=found)


def versions() -> Versions:
    alarm = said("A-1", event="alarm")
    opened = said(event="incident")
    wrong = said("INC-2", x=9e4, mode="auto")
    return Versions(
        period=(Instant(BEGIN), Instant(BEGIN + 20 * DAY_MS)),
        trailing=version(
            "trailing", [alarm, opened, opened, wrong], model("north", is_chosen=False)
        ),
        clean=version(
            "clean",
            [alarm, opened, replace(said(), mode="auto")],
            model("north", is_chosen=True),
            model("east", is_chosen=False, because="fewer than 14 days"),
            model("south", is_chosen=False, of="learning"),
        ),
    )


def test_each_figure_stands_beside_that_of_the_other_version():
    found = {key: (one, other) for key, one, other in versions().rows()}

    assert found["alarm"] == (1, 1)
    assert found["incident"] == (1, 1)  # its change is no other incident
    assert found["dispatch"] == (1, 1)
    assert found["found"] == (0, 1)
    assert found["missed"] == (1, 0)
    assert found["late"] == (0, 0)
    assert found["false"] == (1, 0)
    assert found["false_auto"] == (1, 0)
    assert found["detect_h"] == (None, pytest.approx(12.0))


def test_how_much_was_learnt_from_the_period_is_told_with_the_reason_of_the_rest():
    text, body = list(text_of(versions())), json_of(versions())

    assert "  1 of 2 models of the second are of that period" in text
    assert "  fewer than 14 days" in text
    assert (body["chosen"], body["why_not"]) == (1, ["fewer than 14 days"])
    assert body["clean"]["models"] == 2
    assert body["clean"]["last_models"] == {"east": "east-False", "north": "north-True"}
    assert body["trailing"]["false"] == 1


def test_every_zone_is_told_of_the_period():
    period = (Instant(BEGIN), Instant(BEGIN + 20 * DAY_MS))
    told = commands_of(period, KNOWN)

    assert [(c.subject, c.verb, c.at) for c in told] == [
        ("east", "train", period[1]),
        ("north", "train", period[1]),
    ]


def test_a_period_within_what_is_played_is_fine():
    refuse_period((Instant(BEGIN), Instant(BEGIN + 20 * DAY_MS)), begin=BEGIN, end=END)

    with pytest.raises(ConfigError, match="something to judge after it"):
        refuse_period((Instant(END - 20 * DAY_MS), Instant(END)), begin=BEGIN, end=END)
