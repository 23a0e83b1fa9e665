"""Is a wrong value ever taken for a right one? `python -m benchmarks.bus_faults --json`.

A paced serial line answers one request in four late, very late, too short, too long, cut off, from
another unit, corrupted, after an echo, after garbage or not at all. Every word tells its own unit
and register, so that any value of any other register, old reply or length is counted as wrong.
Beside our line the bare libraries ask the same line, one after the other: each as its manual
shows, with the same time-out and without retries. `failed` counts reads that gave nothing, which
is honest.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import logging
import random
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from benchmarks.bus import FAULTS, serving, word_at
from gateway.core.device import Words
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Block
from gateway.modbus import Line
from gateway.wire import Place
from mainwatch.wall_clock import WallClock
from telemetry.register_map import Table

SEED = 11
BAUD = 115200
UNITS = (1, 2, 3)
FAULT_SHARE = 0.25
TIMEOUT_S = 0.06
QUIET_S = 0.06
LATE_S = (0.06, 0.11)
VERY_LATE_S = (0.13, 0.6)

Ask = Callable[[int, int, int], Awaitable[list[int] | None]]
"""Unit, address and count to words, or None when there were none."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--transactions", type=int, default=10_000)
    parser.add_argument("--peer-transactions", type=int, default=2_000)
    options = parser.parse_args()
    logging.getLogger("mainwatch").setLevel(logging.ERROR)
    found = _ours(options.transactions)
    figures: dict[str, Any] = {
        "seed": SEED,
        "baud": BAUD,
        "fault_share": FAULT_SHARE,
        "faults": FAULTS,
        **found,
        "peers": {
            name: (
                asyncio.run(ask(options.peer_transactions))
                if importlib.util.find_spec(module)
                else "not installed"
            )
            for name, module, ask in (
                ("pymodbus", "pymodbus", _pymodbus),
                ("minimalmodbus", "minimalmodbus", _minimalmodbus),
                ("modbus-tk", "modbus_tk", _modbus_tk),
            )
        },
    }
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _bus() -> Any:
    return serving(
        baud=BAUD, units=UNITS, turnaround_ms=2.0, seed=SEED,
        fault_share=FAULT_SHARE, late_s=LATE_S, very_late_s=VERY_LATE_S,
    )  # fmt: skip


def _ours(transactions: int) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        with _bus() as bus:
            timing = LineTiming(baud=BAUD, char_bits=11, has_gaps=True)
            line = Line(
                Place(kind="rtu", serial=bus.link, timing=timing),
                name="bench",
                timeout_s=TIMEOUT_S,
                quiet_s=QUIET_S,
                connect_pause_s=0.0,
                clock=WallClock(),
            )

            async def ask(unit: int, address: int, count: int) -> list[int] | None:
                block = Block(table=Table.HOLDING, address=address, count=count, registers=())
                reply = await line.read(unit, block)
                return list(reply.words) if isinstance(reply, Words) else None

            found = await _count(ask, transactions)
            s = line.statistics
            line.close()
            return found | {
                "late": s.late, "foreign": s.foreign, "noise": s.noise,
                "echoes": s.echoes, "fences": s.fences,
            }  # fmt: skip

    return asyncio.run(run())


async def _count(ask: Ask, transactions: int) -> dict[str, Any]:
    """Ask at random and hold every answer against what the registers hold."""
    chance = random.Random(SEED)
    wrong = failed = 0
    for _ in range(transactions):
        unit, count = chance.choice(UNITS), chance.choice((2, 2, 2, 10))
        address = chance.randrange(380)
        words = await ask(unit, address, count)
        if words is None:
            failed += 1
        elif words != [word_at(unit, address + n) for n in range(count)]:
            wrong += 1
    return {"transactions": transactions, "wrong_values": wrong, "failed": failed}


async def _pymodbus(transactions: int) -> dict[str, Any]:

    with _bus() as bus:
        client = AsyncModbusSerialClient(bus.link, baudrate=BAUD, timeout=TIMEOUT_S, retries=0)
        await client.connect()

        async def ask(unit: int, address: int, count: int) -> list[int] | None:
            try:
                reply = await client.read_holding_registers(address, count=count, device_id=unit)
            except ModbusException:
                return None
            return None if reply.isError() else list(reply.registers)

        try:
            return await _count(ask, transactions)
        finally:
            client.close()


async def _minimalmodbus(transactions: int) -> dict[str, Any]:
    import minimalmodbus  # noqa: PLC0415  it may be absent

    with _bus() as bus:
        instruments = {u: minimalmodbus.Instrument(bus.link, u) for u in UNITS}
        for instrument in instruments.values():
            instrument.serial.baudrate = BAUD
            instrument.serial.timeout = TIMEOUT_S

        async def ask(unit: int, address: int, count: int) -> list[int] | None:
            with contextlib.suppress(minimalmodbus.ModbusException, ValueError, OSError):
                return list(instruments[unit].read_registers(address, count))
            return None

        return await _count(ask, transactions)


async def _modbus_tk(transactions: int) -> dict[str, Any]:
    import serial  # noqa: PLC0415  it may be absent
    from modbus_tk import defines, modbus_rtu  # noqa: PLC0415  it may be absent
    from modbus_tk.exceptions import ModbusError, ModbusInvalidResponseError  # noqa: PLC0415  it may be absent

    with _bus() as bus:
        master = modbus_rtu.RtuMaster(serial.Serial(bus.link, BAUD))
        master.set_timeout(TIMEOUT_S)

        async def ask(unit: int, address: int, count: int) -> list[int] | None:
            with contextlib.suppress(ModbusError, ModbusInvalidResponseError, struct.error):
                function = defines.READ_HOLDING_REGISTERS
                return list(master.execute(unit, function, address, count))
            return None

        try:
            return await _count(ask, transactions)
        finally:
            master.close()


if __name__ == "__main__":
    main()
