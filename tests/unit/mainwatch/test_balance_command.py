"""`mainwatch balance` over a recording and over a server's data folder."""

import json
from pathlib import Path

import pytest

from mainwatch.cli import main
from server.engine.events import RegistryChanged
from server.intake.journal import Journal
from telemetry.instant import Instant
from tests.unit.balance.recorded import Recorded, record
from tests.unit.balance.town import LEAK, registry, stretch

FACTS = """
[[balance]]
zone = "north"
connections = 2
apparent_share = 0.0
unmetered_m3 = 0.0
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("town"), stretch())


@pytest.fixture
def facts(tmp_path: Path) -> str:
    path = tmp_path / "facts.toml"
    path.write_text(FACTS, encoding="utf-8")
    return str(path)


def journal(path: Path) -> None:
    """Write a journal that knows the town's points."""
    made = Journal(path)
    made.append([RegistryChanged(at=Instant(0), registry=registry())])
    made.close()


def said(capsys, *arguments: str) -> list[dict]:
    assert main(["balance", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_recording_is_told_month_by_month(town, facts, capsys):
    january, february = said(capsys, str(town.recording), "--facts", facts)

    assert (january["month"], february["month"]) == ("2026-01", "2026-02")
    assert february["real_above"]["m3"] == pytest.approx(LEAK * 28 * 24, rel=0.01)
    assert february["night"]["use"]["source"] == "measured"
    assert january["input"]["known_hours"] == 12 * 24


def test_people_read_the_night_and_what_is_missing(town, capsys):
    assert main(["balance", str(town.recording), "--month", "2026-02"]) == 0
    told = capsys.readouterr().out

    assert "last night              2026-02-28 6.0 m³/h" in told
    assert "its 28-night median" in told
    assert "real losses, bottom-up" in told
    assert "- Night use is assumed" in told


def test_a_servers_data_are_read_beside_it(town, facts, capsys, tmp_path):
    folder = town.historian.parent
    journal(folder / "journal.db")

    (february,) = said(capsys, str(folder), "--month", "2026-02", "--facts", facts)

    (same,) = said(capsys, str(town.recording), "--month", "2026-02", "--facts", facts)
    assert february["supplied"] == pytest.approx(same["supplied"])
    assert february["night"]["median_m3h"] == pytest.approx(same["night"]["median_m3h"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--month", "2026-13"], "expected a month such as 2018-03"),
        (["--zone", "moon"], "--zone: expected one of north, was moon"),
    ],
)
def test_what_is_wrong_is_said_by_option(town, capsys, arguments, told):
    assert main(["balance", str(town.recording), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_every_mistake_in_the_facts_is_told(town, capsys, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('[[balance]]\nzone = "north"\nmains_km = -1\nloss = 3\n', encoding="utf-8")

    assert main(["balance", str(town.recording), "--facts", str(path)]) == 2
    told = capsys.readouterr().err

    assert "mains_km" in told
    assert "loss" in told


def test_a_folder_that_is_neither_is_refused(tmp_path, capsys):
    assert main(["balance", str(tmp_path)]) == 2
    assert "expected a recording or a historian" in capsys.readouterr().err
