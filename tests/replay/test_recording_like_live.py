"""Does a recording say what a live server would have said of the same samples on the wire?"""

import pytest

from mainwatch.cli import main
from server.engine.engine import Engine
from server.engine.events import Arrived, Linked, RegistryChanged, Started, Tick
from server.history.labels import operations
from server.history.recording import open_recording
from server.replay.runner import after_ms, run_recording, told_of
from server.replay.said import line_of, tell
from server.replay.speaking import scans_of, speakers_of
from tests.house.tree import ROOT


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Write a story's history, once for all tests."""
    found = {}

    def write(story, *, cadence=None):
        if story not in found:
            folder = tmp_path_factory.mktemp("stories") / story
            path = ROOT / "configs" / "scenarios" / f"{story}.toml"
            more = [] if cadence is None else ["--cadence", str(cadence)]
            history = ["sim", "history", "--scenario", str(path), "--out", str(folder)]
            assert main([*history, "--ending", "2026-01-02T00:00:00Z", *more]) == 0
            found[story] = open_recording(folder)
        return found[story]

    return write


def as_messages(recording):  # noqa: C901  each line is one thing that is heard
    """Yield what an engine says that hears every sample as its gateway would have sent it."""
    registry = recording.registry()
    engine = Engine("mainwatch")
    now = recording.begin - 1_000
    for event in (
        RegistryChanged(at=now, registry=registry),
        Started(at=now, version="0", settings={"host_id": "mainwatch"}),
        Linked(at=now, up=True),
    ):
        yield from engine.apply(event)
    speakers = speakers_of(recording, registry, group="replay", epoch=1)
    for speaker in speakers:
        for message in speaker.births(now):
            yield from engine.apply(Arrived(at=now, topic=message.topic, payload=message.payload))
    told = told_of(operations(recording.folder))
    for stretch in recording.stretches():
        for came, rows in scans_of(stretch, recording.points, registry.points):
            while told and told[0].at <= came:
                while now + 1_000 < told[0].at:
                    now += 1_000
                    yield from engine.apply(Tick(at=now))
                yield from engine.apply(told.pop(0))
            while now + 1_000 < came:
                now += 1_000
                yield from engine.apply(Tick(at=now))
            for speaker in speakers:
                for m in speaker.say(rows, at=came):
                    yield from engine.apply(Arrived(at=came, topic=m.topic, payload=m.payload))
                speaker.acknowledged(1, speaker.offset)
    for _ in range(after_ms(registry) // 1_000):
        now += 1_000
        yield from engine.apply(Tick(at=now))


@pytest.mark.parametrize(
    "story", ["burst-at-night", "town-blackout", "dead-device", "works-announced"]
)
def test_a_recording_says_what_its_messages_say(written, story):
    recording = written(story)
    told = told_of(operations(recording.folder))
    played = run_recording(recording, recording.registry(), operations=told)

    said = [line_of(s) for s in tell(effect for _, effect in played)]

    assert said
    assert said == [line_of(s) for s in tell(as_messages(recording))]
    assert any("explained_by" in line for line in said) == (story == "works-announced")


def test_what_is_said_is_in_order_of_time(written):
    recording = written("pump-trip")
    instants = [at for at, _ in run_recording(recording, recording.registry())]

    assert instants == sorted(instants)


def test_a_part_of_a_recording_is_heard_from_its_beginning(written):
    recording = written("burst-at-night")
    start, end = recording.begin + 60_000, recording.begin + 180_000
    samples = []
    list(
        run_recording(
            recording,
            recording.registry(),
            start=start,
            end=end,
            progress=lambda at, n: samples.append((at, n)),
        )
    )

    assert start <= samples[-1][0] + 1_000 <= end
    assert samples[-1][1] == 120 * recording.rows // 720
