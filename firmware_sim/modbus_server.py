"""Modbus TCP converters: several devices behind one port, answering from their registers."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_sim.core.encode import Words, resting_words
from telemetry.errors import ConfigError
from telemetry.register_map import RegisterMap, Table

_FUNCTIONS = {Table.HOLDING: 3, Table.INPUT: 4}
_ANY_UNIT = 0
"""pymodbus sends it whatever is for no device of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device on the line behind a converter."""

    unit: int
    sheet: RegisterMap


class Converter:
    """One listening port with its devices."""

    def __init__(self, *, name: str, host: str, port: int, devices: Iterable[Device]) -> None:
        self.name = name
        self.port = port
        self._host = host
        self._devices = [_sim_device(d) for d in devices]
        self._server: ModbusTcpServer | None = None

    async def start(self, *, key: str) -> None:
        """Listen. Raises `ConfigError` naming `key` when the port cannot be had."""
        silent = SimDevice(
            id=_ANY_UNIT,
            simdata=SimData(0, values=[0] * 65536, datatype=DataType.REGISTERS),
            action=_nobody_there,
        )
        server = ModbusTcpServer([silent, *self._devices], address=(self._host, self.port))
        try:
            await server.serve_forever(background=True)
        except (RuntimeError, OSError, OverflowError) as e:
            raise ConfigError(
                f"{key}: expected a free port, was {self.port}"
                f" which cannot be listened on at {self._host}"
            ) from e
        self._server = server
        # A listening pymodbus server keeps asyncio's own server where a client has its transport.
        listening = cast(asyncio.Server, server.transport)
        self.port = listening.sockets[0].getsockname()[1]

    async def show(self, unit: int, *, table: Table, address: int, words: Words) -> None:
        """Put words into a device's registers, all at once."""
        assert self._server is not None
        await self._server.async_setValues(unit, _FUNCTIONS[table], address, list(words))

    async def stop(self) -> None:
        """Close the port and every connection; harmless when it never opened."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus gives no types
            self._server = None


def _sim_device(device: Device) -> SimDevice:
    bits = [SimData(65520, values=[False] * 16, datatype=DataType.BITS)]
    # pymodbus demands four tables; a device without registers in one has an invalid address there.
    tables: dict[Table, list[SimData]] = {table: [] for table in Table}
    for table, address in sorted(resting_words(device.sheet)):
        tables[table].append(SimData(address, values=[0], datatype=DataType.REGISTERS))
    nothing = [SimData(65535, datatype=DataType.INVALID)]
    return SimDevice(
        id=device.unit,
        simdata=(
            bits,
            bits,
            tables[Table.HOLDING] or nothing,
            tables[Table.INPUT] or nothing,
        ),
        action=_read_only,
    )


async def _read_only(
    function: int,
    _start: int,
    _address: int,
    _count: int,
    _registers: list[int],
    _written: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """Refuse what would write; the simulator itself fills registers under a reading function."""
    return None if function in _FUNCTIONS.values() else ExcCodes.ILLEGAL_FUNCTION


async def _nobody_there(
    _function: int,
    _start: int,
    _address: int,
    _count: int,
    _registers: list[int],
    _written: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """Answer as a converter does when no device with that unit id answers it."""
    return ExcCodes.GATEWAY_NO_RESPONSE
