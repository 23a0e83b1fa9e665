"""The fitter's tools as the installed command runs them, on a paced line and beside a gateway."""

import asyncio
import contextlib
import json
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from benchmarks.bus import serving, word_at
from gateway.core.fitters_view import four_orders, settings_to_try
from gateway.line_config import LineSection
from gateway.line_loan import Loan, borrowed
from mainwatch.wall_clock import WallClock
from telemetry.errors import RefusedCommand
from tests.support.ports import free_port
from tests.unit.gateway.field import HOST, modbus_devices, mosquitto, until

BAUD = 115_200


def command(*arguments: object) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "mainwatch", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_scan_finds_who_answers_and_nobody_else():
    with serving(baud=BAUD, units=(3, 9), turnaround_ms=4.0) as bus:
        code, said, _ = command(
            "scan", "--serial", bus.link, "--baud", BAUD, "--units", "1-12", "--json"
        )
    found = json.loads(said)["found"]
    assert (code, [f["unit"] for f in found]) == (0, [3, 9])
    assert {(f["baud"], f["parity"], f["exception"]) for f in found} == {(BAUD, "none", 0)}


def test_a_slow_device_is_found_by_its_late_reply():
    with serving(baud=BAUD, units=(5,), turnaround_ms=20.0) as bus:
        code, said, _ = command(
            "scan", "--serial", bus.link, "--baud", BAUD, "--units", "1-12", "--json"
        )
    assert [f["unit"] for f in json.loads(said)["found"]] == [5]
    assert code == 0


def test_an_empty_line_is_told_by_the_exit_code():
    with serving(baud=BAUD, units=(40,), turnaround_ms=4.0) as bus:
        code, said, _ = command("scan", "--serial", bus.link, "--baud", BAUD, "--units", "1-5")
    assert code == 1
    assert said.split() == ["line", "unit", "baud", "parity", "answers", "ms"]


def test_the_usual_speeds_and_parities_are_tried_first():
    tried = list(settings_to_try(None, None))
    assert tried[:4] == [(9600, "none"), (9600, "even"), (9600, "odd"), (19200, "none")]
    assert len(tried) == len(set(tried)) == 24


def test_tcp_units_are_found_beside_whoever_uses_the_converter():
    async def scenario() -> tuple[int, str, str]:
        async with modbus_devices(silent={2}) as (port, _):
            return await asyncio.to_thread(
                command, "scan", "--host", HOST, "--port", port, "--units", "1,2",
                "--timeout", "0.3", "--json",
            )  # fmt: skip

    code, said, _ = asyncio.run(scenario())
    assert (code, [f["unit"] for f in json.loads(said)["found"]]) == (0, [1])


def test_poll_shows_raw_words_in_all_four_orders():
    with serving(baud=BAUD, units=(3,), turnaround_ms=4.0) as bus:
        where = ("--serial", bus.link, "--baud", BAUD, "--unit", 3, "--address", 7)
        code, said, _ = command("poll", *where, "--json")
        table = command("poll", *where)[1]
    (row,) = json.loads(said)["registers"]
    words = [word_at(3, 7), word_at(3, 8)]
    assert (code, row["words"]) == (0, words)
    assert row["turnaround_ms"] >= 0
    assert row["orders"]["ABCD"]["uint32"] == words[0] << 16 | words[1]
    assert row["orders"]["CDAB"]["uint32"] == words[1] << 16 | words[0]
    assert f"{words[0]:04x} {words[1]:04x}" in table


def test_each_order_spells_what_a_device_of_that_order_means():
    assert four_orders((0x438C, 0xC000))[0].float32 == 281.5
    by_order = {"CDAB": (0xC000, 0x438C), "BADC": (0x8C43, 0x00C0), "DCBA": (0x00C0, 0x8C43)}
    for order, words in by_order.items():
        (found,) = [r for r in four_orders(words) if r.order == order]
        assert found.float32 == 281.5


def gateway_file(folder: Path, *, serial: str, broker: int) -> Path:
    maps = folder / "maps"
    maps.mkdir()
    (maps / "word.toml").write_text(
        'model = "word"\ndescription = "one word"\n'
        '[[registers]]\nname = "level"\naddress = 7\nform = "uint16"\nunit = "mm"\n'
    )
    data = folder / "data"
    data.mkdir()
    path = folder / "gateway.toml"
    path.write_text(
        f'[gateway]\nid = "gw-01"\ngroup = "demo"\ndata = "{data}"\n'
        f'[broker]\nhost = "{HOST}"\nport = {broker}\n'
        f'[[line]]\nname = "rs485-1"\nkind = "rtu"\nserial = "{serial}"\nbaud = {BAUD}\n'
        '[[line.device]]\nid = "tank-1"\nunit = 3\nmap = "word"\nzone = "north"\nperiod_s = 0.2\n'
        '[[line.device.point]]\nregister = "level"\npoint = "tank-1/level"\n'
    )
    return path


def test_a_line_is_taken_from_a_running_gateway_and_given_back(tmp_path):
    async def scenario() -> None:
        with serving(baud=BAUD, units=(3,), turnaround_ms=4.0) as bus:
            async with mosquitto(tmp_path) as broker:
                path = gateway_file(tmp_path, serial=bus.link, broker=broker)
                log = tmp_path / "gateway.log"
                with log.open("wb") as err:
                    gateway = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "mainwatch", "gateway", "--config", str(path),
                        "--devices", str(tmp_path / "maps"), stderr=err,
                        stdout=asyncio.subprocess.PIPE,
                    )  # fmt: skip
                    try:
                        await gateway.stdout.readline()
                        await until(lambda: "answers" in log.read_text())
                        code, said, told = await asyncio.to_thread(
                            command, "poll", "--config", path, "--devices", tmp_path / "maps",
                            "--json",
                        )  # fmt: skip
                        await until(lambda: log.read_text().count("is ours") == 2)
                    finally:
                        gateway.terminate()
                        await gateway.wait()
        (row,) = json.loads(said)["registers"]
        assert (code, row["words"], row["point"]) == (0, [word_at(3, 7)], "tank-1/level")
        assert row["value"] == pytest.approx(word_at(3, 7) / 1000)
        assert "line rs485-1 is taken from the running gateway" in told
        assert "lent to a fitter's tool" in log.read_text()

    asyncio.run(scenario())


def test_two_tools_do_not_share_a_line(tmp_path):
    section = LineSection(name="rs485-1", kind="rtu", serial="/dev/ttyUSB0")

    async def scenario() -> None:
        async with borrowed(section, tmp_path, tell=lambda _: None):
            with pytest.raises(RefusedCommand, match="another tool has it"):
                async with borrowed(section, tmp_path, tell=lambda _: None):
                    pass

    asyncio.run(scenario())


def test_a_tool_that_dies_gives_its_line_back(tmp_path):
    async def scenario() -> None:
        loan, closed = Loan(tmp_path, "rs485-1"), []
        clock = WallClock()
        await loan.before_use(clock, close=lambda: closed.append(1))
        tool = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _TOOL, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        while not closed:
            await loan.before_use(clock, close=tool_has(tool, closed))
            await asyncio.sleep(0.05)
        loan.release()

    def tool_has(tool, closed):
        def close() -> None:
            closed.append(1)
            tool.kill()

        return close

    asyncio.run(asyncio.wait_for(scenario(), 30))


_TOOL = """
import asyncio, sys
from pathlib import Path
from gateway.line_config import LineSection
from gateway.line_loan import borrowed

async def hold():
    section = LineSection(name="rs485-1", kind="rtu", serial="/dev/ttyUSB0")
    async with borrowed(section, Path(sys.argv[1]), tell=print):
        await asyncio.sleep(60)

asyncio.run(hold())
"""


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("scan", "--serial", "/dev/nowhere", "--units", "0-300"), "--units"),
        (("poll", "--serial", "/dev/nowhere", "--baud", "1"), "--baud"),
        (("poll", "--config", "/nonexistent/gateway.toml"), "/nonexistent/gateway.toml"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_key(arguments, key):
    code, _, told = command(*arguments)
    assert code == 2
    assert key in told


def test_a_free_port_is_no_line():
    with contextlib.suppress(termios.error):
        code, said, _ = command(
            "scan", "--host", HOST, "--port", free_port(), "--units", "1", "--json"
        )
        assert (code, json.loads(said)) == (1, {"found": []})
