"""The contract of docs/determinism.md: the same events give the same effects, byte for byte."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from server.engine.effects import is_recorded, to_record
from server.engine.engine import Engine
from server.engine.events import RegistryChanged
from server.engine.registry import Registry, Zone
from telemetry.point import ZoneId
from tests.replay.engine_stream import events, run
from tests.scenarios.town_stream import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole():
    return run()


def test_the_stream_has_everything_in_it(whole):
    text = whole.decode()

    for kind in (
        "PointSeen",
        "GatewayChanged",
        "MessageDropped",
        "AlarmRaised",
        "AlarmCleared",
        "AlarmAcknowledged",
        "IncidentOpened",
        "IncidentUpdated",
        "DispatchRequested",
        "CommandDone",
        "Accepted",
        "AckDue",
        "RebirthDue",
    ):
        assert f" {kind}" in text, kind
    assert '"kind":"burst"' in text
    assert '"kind":"silent"' in text


def test_a_second_run_says_the_same(whole):
    assert run() == whole


@pytest.mark.parametrize("seed", range(3))
def test_restarts_in_the_middle_change_nothing(whole, seed):
    count = len(events())

    assert run(restarts=set(random.Random(seed).sample(range(count), 12))) == whole


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_hash_seed_changes_nothing(whole, hash_seed):
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "tests.replay.engine_stream"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == hashlib.sha256(whole).hexdigest()


def test_a_zone_without_points_comes_and_goes_and_changes_nothing_of_the_others():
    known = registry(low=368.0)
    added = Zone(
        id=ZoneId("a-new-one"),
        name_zh="新区",
        name_en="New",
        timezone="Asia/Shanghai",
        calendar="cn",
        inflow=(),
    )
    with_it = Registry(zones={**known.zones, added.id: added}, points=known.points)
    plain = events()
    edited = list(plain)
    for place, now in ((len(plain) * 2 // 3, known), (len(plain) // 3, with_it)):
        edited.insert(place, RegistryChanged(at=plain[place].at, registry=now))

    def said(stream) -> list[tuple[str, str]]:
        engine = Engine("mainwatch")
        return [to_record(e) for event in stream for e in engine.apply(event) if is_recorded(e)]

    assert said(edited) == said(plain)
