"""`mainwatch replay` as an engineer runs it: files out, onto a broker, a server's own journal."""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mainwatch import broker
from mainwatch.cli import EXIT_CANNOT, main
from server.intake.journal_reader import JournalReader
from server.replay.said import read
from tests.house.tree import ROOT
from tests.support.browser import chromium
from tests.support.ports import free_port

pytestmark = pytest.mark.acceptance

STORY = ROOT / "configs" / "scenarios" / "burst-at-night.toml"
WITHIN_S = 60


def mainwatch(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "mainwatch", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "burst"
    mainwatch("sim", "history", "--scenario", STORY, "--out", folder)
    return folder


def server_toml(folder: Path, port: int) -> Path:
    """Return the demo's server, with its files here and a broker of our own."""
    text = (ROOT / "configs" / "demo" / "server.toml").read_text(encoding="utf-8")
    text = text.replace('groups = ["demo"]', 'groups = ["replay"]')
    text = text.replace('"demo-data/server"', json.dumps(str(folder / "server")))
    text = text.replace("port = 18830", f"port = {port}")
    text = text.replace('bootstrap = "demo-data/history"', "")
    path = folder / "server.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recording_is_scored_and_written_whole(recording, tmp_path):
    out, page = tmp_path / "out", tmp_path / "report.html"
    done = mainwatch("replay", recording, "--score", "--out", out, "--report", page, "--json")

    summary = json.loads(done.stdout)
    said = read(out / "events.jsonl")
    truth = summary["score"]["truths"][0]

    assert summary == json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert ("dispatch", "burst", "east") in {(s.event, s.kind, s.zone) for s in said}
    assert truth["id"] == "burst"
    assert truth["alarm_at"] is not None
    assert "replay: 100 %" in done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["events.jsonl", "summary.json"]
    assert page.stat().st_size < 5_000_000


def test_the_same_replay_gives_the_same_files(recording, tmp_path):
    for name in ("a", "b"):
        mainwatch("replay", recording, "--score", "--out", tmp_path / name)

    for name in ("events.jsonl", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_was_said_can_be_scored_again_without_a_run(recording, tmp_path):
    mainwatch("replay", recording, "--score", "--out", tmp_path)
    again = mainwatch(
        "replay", recording, "--score", "--events", tmp_path / "events.jsonl", "--json"
    )
    first = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))

    assert json.loads(again.stdout)["score"] == first["score"]


def test_another_limit_shows_what_it_would_have_changed(recording, tmp_path):
    config = server_toml(tmp_path, 1883)
    points = config.read_text(encoding="utf-8").count("[[point]]")
    strict = [f"point.{n}.low=900.0" for n in range(points)]
    body = config.read_text(encoding="utf-8").split("[[point]]")[1:]
    sets = []
    for n, text in enumerate(body):
        if 'quantity = "pressure"' in text:
            sets += ["--set", strict[n], "--set", f"point.{n}.high=2000.0"]
    done = mainwatch("replay", recording, "--config", config, *sets, "--json")
    found = json.loads(done.stdout)["what_if"]

    assert found["counts"]["alarm_new"] >= 1
    assert {d["kind"] for d in found["differences"] if d["changes"] == ["new"]} >= {"pressure_low"}


def test_a_zone_alone_says_nothing_of_another(recording, tmp_path):
    mainwatch("replay", recording, "--zone", "north", "--out", tmp_path)

    assert {s.zone for s in read(tmp_path / "events.jsonl")} <= {"north"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--zone", "west"], "--zone: expected one of burst's, such as east, north, south"),
        (["--from", "yesterday"], "--from: expected an instant"),
        (["--verify"], "--verify: expected a journal"),
        (["--speed", "0"], "--speed: expected more than 0"),
        (["--from", "2050-01-01T00:00:00Z"], "--from, --to: expected a part of"),
        (["--speed", "5", "--broker", "nowhere"], "--broker: expected HOST:PORT"),
        (["--speed", "5", "--broker", "192.0.2.1:8883"], "broker"),
    ],
)
def test_what_cannot_be_done_is_refused(recording, capsys, arguments, complaint):
    assert main(["replay", str(recording), *arguments]) == EXIT_CANNOT
    assert complaint in capsys.readouterr().err


@pytest.mark.skipif(broker.find_mosquitto() is None, reason="mosquitto is not installed")
def test_a_recording_is_spoken_to_a_live_server_whose_journal_then_verifies(recording, tmp_path):
    port = free_port()
    _, command = broker.command("mosquitto", port=port, folder=tmp_path)
    config = server_toml(tmp_path, port)
    (tmp_path / "server").mkdir(mode=0o700)
    mosquitto = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    serving = None
    try:
        wait_for_port(port)
        part = ["server", "--config", str(config), "--part", "intake"]
        serving = subprocess.Popen(
            [sys.executable, "-m", "mainwatch", *part], stdout=subprocess.PIPE, text=True
        )
        assert serving.stdout.readline().startswith("{")
        options = ["--speed", "90", "--broker", f"127.0.0.1:{port}", "--json"]
        done = json.loads(mainwatch("replay", recording, *options).stdout)
    finally:
        for process in (serving, mosquitto):
            if process is not None:
                process.terminate()
                process.communicate(timeout=20)

    assert done["sent"] == done["acknowledged"] > 10_000
    journal = next((tmp_path / "server").rglob("journal.db"))
    told = mainwatch("replay", journal, "--verify")
    assert "came again, byte for byte" in told.stdout
    kinds = {kind for _, _, kind, _ in JournalReader(journal).recorded()}
    assert {"GatewayChanged", "PointSeen"} <= kinds
    assert "MessageDropped" not in kinds

    page = tmp_path / "journal.html"
    mainwatch("replay", journal, "--report", page)
    assert "<svg" in page.read_text(encoding="utf-8") or page.stat().st_size > 100_000

    spoil(journal)
    told = mainwatch("replay", journal, "--verify", code=1)
    assert "first divergence: event" in told.stdout
    assert 'expected GatewayChanged {"at":1}' in told.stdout


def spoil(journal: Path) -> None:
    """Let one recorded effect say something else."""
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute(
            """UPDATE effect SET body = '{"at":1}' WHERE kind = 'GatewayChanged' AND (seq, n) =
            (SELECT seq, n FROM effect WHERE kind = 'GatewayChanged' ORDER BY seq, n LIMIT 1)"""
        )


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.05)
    raise AssertionError("mosquitto does not listen")


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_report_stands_alone_in_a_browser_and_speaks_both_languages(
    recording, tmp_path, browser
):
    page = tmp_path / "report.html"
    mainwatch("replay", recording, "--score", "--report", page)
    browser.command("Page.navigate", url=page.as_uri())
    browser.wait_for("document.readyState === 'complete' && charts.length > 0")
    english = browser.evaluate("document.documentElement.lang = 'en'; document.body.innerText")
    chinese = browser.evaluate("document.documentElement.lang = 'zh-CN'; document.body.innerText")
    drawn = browser.evaluate("document.querySelectorAll('.plot canvas').length")
    browser.evaluate("document.querySelector('.mark').dispatchEvent("
                     "new MouseEvent('click', {bubbles: true})); null")  # fmt: skip
    shown = browser.evaluate("shown.max - shown.min")

    assert "leaks and bursts found" in english
    assert "漏点与爆管检出" in chinese
    assert "leaks and bursts found" not in chinese
    assert drawn == 3
    assert shown < 720
    assert [r for r in browser.requests if not r.startswith(("file:", "about:"))] == []
    assert browser.errors == []
