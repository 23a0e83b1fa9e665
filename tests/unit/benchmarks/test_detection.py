"""Does the benchmark of detection deliver, inject and count as it says?"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import detection, injections, wire
from benchmarks.settings import applied
from benchmarks.tape import Disturbance, disturbed, samples_of, tape_of
from server.engine.detectors import fall, falls, limits
from server.history import recording_toml
from server.history.recording import open_recording
from server.history.recording_writer import RecordingWriter
from server.history.stretch import Stretch
from server.replay.session import Asked, play_recording
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, HOUR_MS
from tests.unit.replay.facts import said

HOUR, HOURS = HOUR_MS, 60 * 24
BEGIN = 20_000 * DAY_MS
HOW = Disturbance(seed=3)
TOML = """
[recording]
version = 1
name = "two districts"
timezone = "UTC"
from = 2024-10-04T00:00:00Z
to = 2024-12-02T23:00:00Z
cadence_s = 3600
""" + "".join(
    f"""
[[zone]]
id = "{zone}"
inflow = [{{ point = "{zone}/flow", sign = 1 }}]

[[point]]
id = "{zone}/flow"
zone = "{zone}"
quantity = "flow"
unit = "m3/h"
limits = {{ high = 150.0 }}
"""
    for zone in ("east", "west")
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Sixty days of two districts of 100 m³/h, hour by hour, with a limit at 150 m³/h."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "recording.toml").write_text(TOML, encoding="utf-8")
    at = np.repeat(BEGIN + HOUR * np.arange(HOURS, dtype=np.int64), 2)
    value = 100.0 + np.random.default_rng(1).normal(0, 3, len(at))
    with RecordingWriter(folder / "it", software="test") as writer:
        writer.add(
            Stretch(
                at=at,
                point=np.tile(np.array([0, 1], dtype=np.int32), HOURS),
                value=value,
                quality=np.full(len(at), 192, dtype=np.uint8),
                arrived_at=at,
            )
        )
        writer.put("truth.jsonl", b"")
        writer.finish(recording_toml.read(folder))
    return open_recording(folder / "it")


def test_some_samples_are_late_and_some_are_missing_and_none_is_changed(recording):
    whole = samples_of(recording)
    found = disturbed(whole, HOW)
    late = found.arrived_at - found.at

    assert 0.005 < 1 - len(found) / len(whole) < 0.04
    assert 0.003 < (late > 0).mean() < 0.02
    assert late[late > 0].min() >= 2 * 60_000
    assert (np.diff(found.arrived_at) >= 0).all()
    kept = set(zip(whole.at.tolist(), whole.point.tolist(), whole.value.tolist(), strict=True))
    assert (
        set(zip(found.at.tolist(), found.point.tolist(), found.value.tolist(), strict=True)) <= kept
    )
    again = disturbed(whole, HOW)
    assert (again.arrived_at == found.arrived_at).all()


def test_a_tape_says_what_the_recording_says(recording):
    tape = tape_of(recording, samples_of(recording), lambda _day: None)
    played = [
        play_recording(r, Asked(), other=None, progress=lambda _at, _n: None)
        for r in (tape, recording)
    ]

    assert played[0].said == played[1].said
    assert played[0].samples == played[1].samples == 2 * HOURS


def test_each_injection_is_seen_in_its_own_copy_alone(recording, monkeypatch):
    monkeypatch.setattr(injections, "LOSS_CLAIMS", ("limit",))
    samples = samples_of(recording)
    planned = injections.plan(recording, samples, (0.02, 1.0), per_size=6, seed=2)
    before = samples.value.copy()
    played, told = injections.Forks(recording, samples, planned, jobs=2).play()
    small, large = injections.figures(planned, told, played.said)

    assert (samples.value == before).all()
    assert not [s for s in played.said if s.kind == "limit"]
    assert (small["share"], small["injected"], small["found"]) == (0.02, 6, 0)
    assert (large["share"], large["injected"], large["found"]) == (1.0, 6, 6)
    assert 1 < large["median_h"] <= large["worst_h"] < 6
    assert {i.zone for i in planned} == {"east", "west"}


def test_a_copy_that_fails_ends_the_benchmark(recording, monkeypatch):
    def fails(_tape, _injection):
        raise ZeroDivisionError

    monkeypatch.setattr(injections, "inject", fails)
    samples = samples_of(recording)
    planned = injections.plan(recording, samples, (0.1,), per_size=1, seed=2)

    with pytest.raises(RuntimeError, match="a copy of the run ended with status"):
        injections.Forks(recording, samples, planned, jobs=1).play()


def test_repeated_messages_are_taken_in_once(recording):
    tape = tape_of(recording, disturbed(samples_of(recording), HOW), lambda _day: None)
    found = wire.figures(tape, replace(HOW, repeated=0.5), days=2)

    assert found["messages_repeated"] > 10
    assert found["samples_taken_in"] == found["samples_spoken"] > 80
    assert found["is_same"]


def test_a_setting_holds_for_one_run_wherever_its_name_was_imported():
    name = "server.engine.detectors.fall.RISE_SCORE"
    with applied({name: 7.0}):
        assert (fall.RISE_SCORE, falls.RISE_SCORE) == (7.0, 7.0)

    assert (fall.RISE_SCORE, falls.RISE_SCORE) == (5.0, 5.0)
    with (
        pytest.raises(ConfigError, match="expected the name of a module's number"),
        applied({"server.engine.detectors.limits.NONE": 1.0}),
    ):
        pass
    assert limits.MARGIN == 0.02


def test_figures_count_false_proposals_of_an_unlabelled_recording(recording):
    samples = samples_of(recording)
    tape = tape_of(recording, samples, lambda _day: None)
    played = play_recording(tape, Asked(), other=None, progress=lambda _at, _n: None)
    lines = [
        replace(said(event=event, zone="east", mode=mode), at=BEGIN + n * DAY_MS, id=f"I{n}")
        for n, mode in ((3, "auto"), (9, "confirm"))
        for event in ("alarm", "dispatch")
    ]
    found = detection.scored(recording, samples, replace(played, said=tuple(lines)))

    assert (found["is_labelled"], found["events"], found["found"]) == (False, 0, 0)
    assert found["false_dispatches"] == 2
    years = found["zone_years"]
    assert found["alarms_per_zone_year"]["leak"]["per_zone_year"] == pytest.approx(
        2 / years, abs=0.1
    )
    low, high = found["auto_false_per_zone_year_95"]
    assert low < 1 / years < high
