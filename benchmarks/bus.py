"""Serial lines for benchmarks: the simulator's paced bus in its own process, with worse faults.

Word `n` of unit `u` is `word_at(u, n)`, so that a value tells which register it is from. The faults
are those of real lines and a few that only a hostile device plays; which request meets which fault
follows from the seed. `python -m benchmarks.bus SETTINGS` serves until its standard input ends.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from firmware_sim.core.line import Device, Station
from firmware_sim.core.noise import key_of
from firmware_sim.core.rtu import Timing, framed
from firmware_sim.core.wire import Fate, spoilt
from firmware_sim.serial_bus import SerialLine
from telemetry.device_sheet import Behaviour
from telemetry.register_map import Form, Register, RegisterMap, Table

REGISTERS = 400

FAULTS = (
    "late", "very_late", "short", "long", "cut",
    "foreign", "corrupt", "echoed", "garbage", "silence",
)  # fmt: skip


def word_at(unit: int, address: int) -> int:
    """Return the word that a register holds for ever."""
    return (unit * 7919 + address * 31 + 17) & 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """One line. A fault comes to `fault_share` of the requests; `dead` units do not answer."""

    link: str
    baud: int
    units: tuple[int, ...]
    turnaround_ms: float = 8.0
    seed: int = 1
    fault_share: float = 0.0
    late_s: tuple[float, float] = (0.0, 0.0)
    very_late_s: tuple[float, float] = (0.0, 0.0)
    dead: tuple[int, ...] = field(default=())


class FaultyLine(SerialLine):
    """A line on which one request in so many is answered wrongly, late or not at all."""

    def __init__(self, settings: BusSettings) -> None:
        sheet = _sheet(settings.turnaround_ms)
        super().__init__(
            name="bench",
            link=Path(settings.link),
            baud=settings.baud,
            bits_per_char=11,
            devices=[Device(id=f"d{u}", unit=u, sheet=sheet) for u in settings.units],
            key=key_of(settings.seed, "bench"),
        )
        for unit in settings.units:
            for n in range(REGISTERS):
                words = (word_at(unit, n),)
                self.show(unit, table=Table.HOLDING, address=n, words=words)
        self.dead = set(settings.dead)
        self.told: dict[str, int] = {}
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._fault = ""

    def _asked(self, frame: bytes, timing: Timing) -> None:
        settings, chance = self._settings, self._random
        if frame[0] in self.dead:
            self._free_s = self._heard_s
            return
        faulty = chance.random() < settings.fault_share
        self._fault = chance.choice(FAULTS) if faulty else ""
        if faulty:
            self.told[self._fault] = self.told.get(self._fault, 0) + 1
        if chance.random() < 0.5:  # half of the devices hear what is asked while they think
            self._thinking.clear()
        if self._fault == "silence":
            self._free_s = self._heard_s
            return
        super()._asked(frame, timing)

    def _later(self, octets: bytes, begins_s: float, timing: Timing) -> None:
        span = {"late": self._settings.late_s, "very_late": self._settings.very_late_s}
        if self._fault in span:
            begins_s += self._random.uniform(*span[self._fault])
        super()._later(octets, begins_s, timing)

    def _on_the_wire(self, asked: bytes, reply: bytes, fate: Fate) -> bytes:
        chance = self._random
        unit, words = reply[0], (len(reply) - 5) // 2
        address = int.from_bytes(asked[2:4], "big")
        match self._fault:
            case "short" if words > 1:
                return _reply(unit, address, chance.randint(1, words - 1))
            case "long":
                return _reply(unit, address, min(125, words + chance.randint(1, 4)))
            case "cut":
                return reply[: chance.randint(1, len(reply) - 1)]
            case "foreign":
                other = chance.choice([u for u in self._settings.units if u != unit])
                return _reply(other, address, words)
            case "corrupt":
                for _ in range(chance.randint(1, 4)):
                    reply = spoilt(reply, chance.random())
                return reply
            case "echoed":
                return asked + reply
            case "garbage":
                return chance.randbytes(chance.randint(1, 6)) + reply
            case _:
                return super()._on_the_wire(asked, reply, fate)

    def _answer(self, station: Station, pdu: bytes) -> bytes | None:
        return None if station.firmware.unit in self.dead else super()._answer(station, pdu)


def _reply(unit: int, address: int, count: int) -> bytes:
    words = [word_at(unit, address + n) for n in range(count)]
    return framed(unit, bytes((3, 2 * count)) + b"".join(w.to_bytes(2, "big") for w in words))


def _sheet(turnaround_ms: float) -> RegisterMap:
    registers = tuple(
        Register(name=f"r{n}", address=n, form=Form.UINT16, unit="") for n in range(REGISTERS)
    )
    return RegisterMap(
        model="bench",
        description="",
        registers=registers,
        behaviour=Behaviour(turnaround_ms=turnaround_ms),
    )


@dataclass(slots=True)
class Bus:
    """A line that is being served: where it is, and the way to speak to its process."""

    link: str
    process: "subprocess.Popen[str]"

    def tell(self, **order: object) -> None:
        """Let units die or live: `dead=[3]`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def serving(**settings: object) -> Iterator[Bus]:
    """Serve a line in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mainwatch-bench-") as folder:
        chosen = {"link": f"{folder}/line", **settings}
        command = [sys.executable, "-m", "benchmarks.bus", json.dumps(chosen)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        try:
            yield Bus(link=str(chosen["link"]), process=process)
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


async def _serve(settings: BusSettings) -> None:
    line = FaultyLine(settings)
    await line.start(key="line")
    print(json.dumps(asdict(settings)), flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def hear() -> None:
        said = os.read(0, 4096).decode()
        if not said:
            loop.remove_reader(0)
            ended.set()
        for order in said.splitlines():
            line.dead = set(json.loads(order)["dead"])

    loop.add_reader(0, hear)
    try:
        await ended.wait()
    finally:
        await line.stop()


def main() -> None:
    """Serve the line that is described on the command line."""
    body = json.loads(sys.argv[1])
    for key in ("units", "dead", "late_s", "very_late_s"):
        if key in body:
            body[key] = tuple(body[key])
    asyncio.run(_serve(BusSettings(**body)))


if __name__ == "__main__":
    main()
