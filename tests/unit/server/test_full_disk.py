"""A full disk stops the intake, says so in its exit code and on the page, and loses nothing."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mainwatch.cli import EXIT_DISK_FULL
from mainwatch.wall_clock import WallClock
from server.engine.events import Imported
from server.history.historian import Reader
from server.intake.state import DISK_FULL, NAME
from server.servicecore.desk import Desk
from telemetry.errors import StorageError, is_disk_full
from tests.unit.gateway.field import mosquitto, until
from tests.unit.server.test_door import (
    BEGIN,
    EPOCH,
    StepClock,
    arrived,
    begin,
    births,
    data,
    open_door,
    run_a_day,
)
from tests.unit.server.test_intake_loop import edge, now

CONFIG = """
[server]
data = "{data}"
groups = ["demo"]
[broker]
port = {port}
"""


@pytest.fixture
def small_disk(tmp_path: Path):
    """Give a folder on a disk of 3 MB; it is skipped where nobody may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(folder: Path):
    """Take what room is left, until the body is done."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue
    yield
    ballast.unlink()


def until_refused(act: Callable[[int], None], first: int) -> StorageError | None:
    """Act again and again until the disk refuses; return with what words."""
    for n in range(first, first + 5_000):
        try:
            act(n)
        except StorageError as e:
            return e
    return None


def test_a_door_without_room_refuses_and_what_it_acknowledged_is_there_later(small_disk: Path):
    clock = StepClock()
    door = open_door(small_disk, clock)
    begin(door)
    acks = run_a_day(door, clock, range(10))
    with filled(small_disk):
        refusal = until_refused(lambda n: acks.extend(run_a_day(door, clock, range(n, n + 1))), 10)
        door.close()
    again = open_door(small_disk, clock)
    out = again.admit([arrived(data(max(acks), 300.0, clock.at))])
    again.checkpoint()

    assert is_disk_full(refusal)
    assert [a.offset for a in out.acks] == [max(acks) + 1]
    with closing(Reader(small_disk / "historian.db")) as reader:
        assert reader.held("gw-01", EPOCH, below=10**6) == (max(acks) + 1, max(acks) + 1)
    again.close()


def test_an_intake_without_room_ends_with_3_and_the_page_says_why(small_disk: Path, tmp_path: Path):
    async def story() -> tuple[int, int, str]:
        async with mosquitto(tmp_path) as port, edge(port) as gateway:
            config = tmp_path / "server.toml"
            config.write_text(CONFIG.format(data=small_disk, port=port))
            command = ["-m", "mainwatch", "server", "--config", str(config), "--part", "intake"]
            intake = await asyncio.create_subprocess_exec(
                sys.executable, *command, stderr=asyncio.subprocess.PIPE
            )
            await until(lambda: gateway.states == [True])
            await gateway.send(*births(now()))
            with filled(small_disk):
                sent = 0
                async with asyncio.timeout(60):
                    while intake.returncode is None:
                        await gateway.send(data(sent, 300.0, now()))
                        sent += 1
                        await asyncio.sleep(0)
                _, words = await intake.communicate()
                desk = await Desk.open(
                    tmp_path / "servicecore.db",
                    journal=small_disk / "journal.db",
                    clock=WallClock(),
                )
                shown = desk.intake_stopped
                await desk.close()
            assert b"full" in words
            return intake.returncode, gateway.acknowledged(), shown

    code, acked, shown = asyncio.run(story())
    door = open_door(small_disk, StepClock())
    door.close()

    assert code == EXIT_DISK_FULL
    assert json.loads((small_disk / NAME).read_bytes())["state"] == DISK_FULL == shown
    with closing(Reader(small_disk / "historian.db")) as reader:
        rows, offsets = reader.held("gw-01", EPOCH, below=acked)
    assert rows == offsets == acked


def test_a_historian_without_room_stops_the_door(small_disk: Path):
    clock = StepClock()
    door = open_door(small_disk, clock)
    begin(door)
    rows = tuple((f"p{n}", BEGIN, 1.0, 192) for n in range(3_000))

    def admit(n: int) -> None:
        door.admit([lambda at: Imported(at=at, source=f"s{n}", rows=rows)])

    with filled(small_disk):
        refusal = until_refused(admit, 0)
        door.close()

    assert is_disk_full(refusal)
