"""`mainwatch sim` on the command line: histories, stories with mistakes, and acts."""

import asyncio
import json
import threading
import tomllib

import pytest

from firmware_sim.control import Control
from mainwatch.cli import EXIT_CANNOT, EXIT_FOUND, EXIT_OK, main
from mainwatch.load import configs_folder
from telemetry.errors import RefusedCommand

STORY = """
[scenario]
name = "short"
title = {{ zh = "短", en = "Short" }}
starts = "02:00"
lasts = "10m"
cadence_s = 60

[[event]]
id = "burst"
kind = "burst"
at = "+5m"
target = "{pipe}"
m3h = 40
"""


@pytest.fixture
def story(tmp_path):
    def write(pipe="P-EAST-030"):
        path = tmp_path / "short.toml"
        path.write_text(STORY.format(pipe=pipe), encoding="utf-8")
        return str(path)

    return write


def test_a_story_becomes_a_recording_of_its_own_length(tmp_path, story, capsys):
    out = tmp_path / "out"

    code = main(["sim", "history", "--scenario", story(), "--out", str(out), "--seed", "3"])

    assert code == EXIT_OK
    assert capsys.readouterr().out.strip() == str(out)
    head = tomllib.loads((out / "recording.toml").read_text())["recording"]
    assert (head["to"] - head["from"]).total_seconds() == 540
    assert head["cadence_s"] == 60
    assert head["source"].endswith("seed 3, short")
    assert f"{head['from']:%H:%M}" == "18:01"
    assert json.loads((out / "truth.jsonl").read_text())["id"] == "burst"


def test_days_and_their_end_may_be_told(tmp_path):
    out = tmp_path / "out"
    config = str(configs_folder() / "demo" / "sim.toml")
    arguments = ["--days", "1", "--cadence", "3600", "--ending", "2025-07-01T00:00:00+08:00"]

    assert main(["sim", "history", "--config", config, "--out", str(out), *arguments]) == EXIT_OK
    head = tomllib.loads((out / "recording.toml").read_text())["recording"]
    assert head["to"].isoformat() == "2025-06-30T16:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ending", "tomorrow", "--days", "1"], "--ending: expected an instant such as"),
        ([], "history.days: expected at least 1 day or a scenario"),
        (["--days", "1", "--cadence", "0"], "history.cadence_s"),
    ],
)
def test_what_makes_no_history_is_one_sentence(tmp_path, capsys, arguments, sentence):
    assert main(["sim", "history", "--out", str(tmp_path / "out"), *arguments]) == EXIT_CANNOT
    assert sentence in capsys.readouterr().err


def test_a_mistake_in_a_story_is_found_by_check_and_by_history(tmp_path, story, capsys):
    path = story(pipe="P-EAST-30")

    assert main(["check", path]) == EXIT_FOUND
    assert "event[0] 'burst': target: expected a pipe or node" in capsys.readouterr().out
    assert main(["sim", "history", "--scenario", path, "--out", str(tmp_path / "o")]) == EXIT_CANNOT
    assert "was 'P-EAST-30' (near names: P-EAST-030" in capsys.readouterr().err


@pytest.fixture
def simulator():
    """Answer commands as a simulator would; return its address and what it was told."""
    told, started = [], threading.Event()
    found = {}

    def answer(command):
        told.append(dict(command))
        if "undo" in command:
            raise RefusedCommand("nothing is open")
        return {"id": "x-1"}

    async def serve():
        control = Control(host="127.0.0.1", port=0, answer=answer)
        await control.start(key="control.port")
        found["stop"], found["loop"] = asyncio.Event(), asyncio.get_running_loop()
        found["port"] = control.port
        started.set()
        await found["stop"].wait()
        await control.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(5)
    yield f"127.0.0.1:{found['port']}", told
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join(5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["do", "burst", "P-EAST-030", "--m3h", "40", "--for", "10m"],
            {"do": {"kind": "burst", "target": "P-EAST-030", "m3h": 40.0, "for_s": 600.0}},
        ),
        (
            ["do", "late-reply", "converter-1", "--one-in", "5"],
            {"do": {"kind": "late_reply", "target": "converter-1", "one_in": 5.0}},
        ),
        (["do", "holiday"], {"do": {"kind": "holiday", "target": ""}}),
        (["burst", "P-1"], {"burst": {"pipe": "P-1", "m3h": 40.0}}),
        (["stop-burst", "P-1"], {"stop_burst": "P-1"}),
        (["status"], {"status": {}}),
    ],
)
def test_an_act_is_told_to_the_simulator(simulator, capsys, arguments, message):
    where, told = simulator

    assert main(["sim", *arguments, "--control", where]) == EXIT_OK
    assert told == [message]
    assert json.loads(capsys.readouterr().out) == {"id": "x-1"}


def test_a_refusal_is_told_to_the_person(simulator, capsys):
    where, _ = simulator

    assert main(["sim", "undo", "x-7", "--control", where]) == EXIT_CANNOT
    assert "nothing is open" in capsys.readouterr().err


def test_a_length_of_time_is_refused_before_anybody_is_asked(capsys):
    assert main(["sim", "do", "flat", "p/q", "--for", "soon"]) == EXIT_CANNOT
    assert "--for: expected a length of time" in capsys.readouterr().err
