"""How many Modbus TCP devices can one process play? `python -m benchmarks.sim_load --json`.

One process plays the devices, 25 behind each port, and refreshes every register each second, as the
simulator does; a client in a process of its own reads each device once a second and checks every
word. `cpu` is the share of one core that the playing process takes for it. Then the client asks as
fast as answers come, which gives `most_answers_per_s`.
"""

import argparse
import asyncio
import json
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

import psutil

from firmware_sim.core.encode import words
from firmware_sim.core.line import Device
from firmware_sim.core.noise import key_of, uniform
from firmware_sim.modbus_server import TcpLine
from mainwatch.load import configs_folder, load_register_map
from telemetry.register_map import RegisterMap, Table

SEED = 3
UNITS = 25
HEAD = struct.Struct(">HHHB")
REPLY = HEAD.size + 2 + 4


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--for", dest="seconds", type=float, default=10.0)
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        asyncio.run(_play(options.devices))
        return
    figures = asyncio.run(_measure(options.devices, options.seconds))
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


async def _play(devices: int) -> None:
    """Play until standard input closes."""
    sheet = load_register_map(configs_folder() / "devices" / "pressure-transmitter.toml")
    lines = [
        TcpLine(
            name=f"line-{n}",
            host="127.0.0.1",
            port=0,
            devices=[Device(id=f"d-{n}-{u}", unit=u, sheet=sheet) for u in range(1, UNITS + 1)],
            key=key_of(SEED, f"line-{n}"),
        )
        for n in range(devices // UNITS)
    ]
    for line in lines:
        await line.start(key="line")
    print(json.dumps([line.port for line in lines]), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    second = 0
    while not ended.is_set():
        for n, line in enumerate(lines):
            _refresh(line, n, second, sheet)
        second += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 1.0)
    for line in lines:
        await line.stop()


def _refresh(line: TcpLine, n: int, second: int, sheet: RegisterMap) -> None:
    register = sheet.registers[0]
    for unit in range(1, UNITS + 1):
        chance = uniform(key_of(SEED, f"{n}"), 1000 * second + unit)
        # The whole kilopascals of a reading tell whose it is; the rest moves.
        shown = words(100.0 + unit + 0.5 * chance, register)
        line.show(unit, table=Table.HOLDING, address=0, words=shown)


async def _measure(devices: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.sim_load", "--play", "--devices", str(devices)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        ports: list[int] = json.loads(await process.stdout.readline())
        player = psutil.Process(process.pid)
        steady = await _ask(ports, player, seconds, pause_s=1.0)
        flat_out = await _ask(ports, player, 5.0, pause_s=0.0)
    finally:
        process.stdin.close()
        await process.wait()
    return {
        "seed": SEED,
        "devices": len(ports) * UNITS,
        "ports": len(ports),
        "answers_per_s": round(steady["answers"] / steady["seconds"], 1),
        "wrong": steady["wrong"] + flat_out["wrong"],
        "cpu": round(steady["cpu_s"] / steady["seconds"], 4),
        "memory_mb": round(steady["memory_mb"], 1),
        "most_answers_per_s": round(flat_out["answers"] / flat_out["seconds"]),
    }


async def _ask(
    ports: list[int], player: psutil.Process, seconds: float, *, pause_s: float
) -> dict[str, float]:
    """Read every device each `pause_s`; return what came, and what it cost the player."""
    loop = asyncio.get_running_loop()
    counts = {"answers": 0, "wrong": 0}
    ended = asyncio.Event()
    loop.call_later(seconds, ended.set)
    spent = player.cpu_times()
    begun = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for port in ports:
            tasks.create_task(_one(port, ended, counts, pause_s))
    took = loop.time() - begun
    now = player.cpu_times()
    cpu_s = now.user + now.system - spent.user - spent.system
    memory_mb = player.memory_info().rss / 1e6
    return {**counts, "seconds": took, "cpu_s": cpu_s, "memory_mb": memory_mb}


async def _one(port: int, ended: asyncio.Event, counts: dict[str, int], pause_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not ended.is_set():
        for unit in range(1, UNITS + 1):
            writer.write(HEAD.pack(unit, 0, 6, unit) + bytes((3, 0, 0, 0, 2)))
            reply = await reader.readexactly(REPLY)
            transaction, _, _, who = HEAD.unpack_from(reply)
            (bar,) = struct.unpack(">f", reply[-4:])
            right = transaction == who == unit == int(100 * bar + 1e-3) - 100
            counts["answers"] += 1
            counts["wrong"] += not right
        due += pause_s
        if pause_s and loop.time() < due:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), due - loop.time())
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    main()
