"""Somebody acknowledges what a replay tells, so that what comes again is told as new."""

import numpy as np
import pytest

from mainwatch.load import load_trainer
from server.engine.effects import IncidentClosed, IncidentOpened
from server.history import recording_toml
from server.history.recording import open_recording
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Stretch
from server.replay.runner import run_recording
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS, Instant

BEGIN = 20_000 * DAY_MS
DAYS = 9
TOML = """
[recording]
version = 1
name = "one district"
timezone = "UTC"
from = 2024-10-04T00:00:00Z
to = 2024-10-12T23:55:00Z
cadence_s = 300

[[zone]]
id = "east"
inflow = [{ point = "east/flow", sign = 1 }]

[[point]]
id = "east/flow"
zone = "east"
quantity = "flow"
unit = "m3/h"
limits = { high = 150.0 }
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Nine days of 100 m³/h; for six hours of the third and of the seventh day it is 200 m³/h."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "recording.toml").write_text(TOML, encoding="utf-8")
    at = BEGIN + 300_000 * np.arange(DAYS * 288, dtype=np.int64)
    value = 100.0 + np.random.default_rng(1).normal(0, 1, len(at))
    for day in (2, 6):
        value[(at >= BEGIN + day * DAY_MS) & (at < BEGIN + day * DAY_MS + 6 * HOUR_MS)] += 100
    with RecordingWriter(folder / "it", software="test") as writer:
        writer.add(
            Stretch(
                at=at,
                point=np.zeros(len(at), dtype=np.int32),
                value=value,
                quality=np.full(len(at), 192, dtype=np.uint8),
                arrived_at=at,
            )
        )
        writer.put("truth.jsonl", b"")
        writer.finish(recording_toml.read(folder))
    return open_recording(folder / "it")


def told(recording, every_ms, what):
    stream = run_recording(recording, recording.registry(), looked_every_ms=every_ms)
    return [e.at for _, e in stream if isinstance(e, what)]


def test_what_comes_again_is_a_new_incident_once_somebody_has_looked(recording):
    alone = told(recording, None, IncidentOpened)
    attended = told(recording, DAY_MS, IncidentOpened)

    assert [(at - BEGIN) // DAY_MS for at in alone] == [2]
    assert [(at - BEGIN) // DAY_MS for at in attended] == [2, 6]
    assert attended[0] == alone[0]


@pytest.mark.parametrize("hours", [3, 24])
def test_an_incident_closes_at_the_first_look_after_it_is_over(recording, hours):
    closed = told(recording, hours * HOUR_MS, IncidentClosed)
    over = [BEGIN + day * DAY_MS + 6 * HOUR_MS for day in (2, 6)]

    assert len(closed) == 2
    for at, ended in zip(closed, over, strict=True):
        assert 0 <= at - ended <= max(hours, 1) * HOUR_MS + 900 * SECOND_MS


def test_looking_changes_no_alarm(recording):
    def alarms(every_ms):
        stream = run_recording(recording, recording.registry(), looked_every_ms=every_ms)
        kinds = ("AlarmRaised", "AlarmCleared")
        return [(e.at, type(e).__name__) for _, e in stream if type(e).__name__ in kinds]

    assert alarms(None) == alarms(HOUR_MS) == alarms(DAY_MS)


def test_looks_and_lessons_are_told_in_order_of_time(recording):
    between_seconds = Instant(BEGIN + SECOND_MS // 2)
    stream = run_recording(
        recording,
        recording.registry(),
        start=between_seconds,
        trainer=load_trainer(["none"]),
        looked_every_ms=DAY_MS,
    )
    told = [(at, type(effect).__name__) for at, effect in stream]

    assert {"ModelApplied", "IncidentClosed"} <= {name for _, name in told}
    assert told == sorted(told, key=lambda one: one[0])
