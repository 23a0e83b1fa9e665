"""A golden bus transcript for each device map: what is asked, what is answered, what that means.

The device is the simulator's, on a real pseudo-terminal; the asking is the gateway's. Requests and
replies are also held against pymodbus, which shares no line with the device.
"""

import asyncio
import os
import pty
import tty
from pathlib import Path
from typing import Self

import pytest
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

from firmware_sim.core.firmware import Firmware
from firmware_sim.core.rtu import Requests, framed
from gateway.core.decode import text
from gateway.core.device import Device, Scan, identity_block
from gateway.devices import device_of, open_line
from gateway.line_config import DeviceSection, LineSection
from gateway.pace import Pace
from gateway.poller import Poller
from mainwatch.load import load_register_maps
from mainwatch.wall_clock import WallClock
from telemetry.register_map import Form, RegisterMap
from tests.contract.test_register_words import GOLDEN

HERE = Path(__file__).parent
MAPS = load_register_maps(HERE.parents[1] / "configs" / "devices")
UNIT = 7


class Port:
    """A serial port with one device at the other end, and everything that passes written down."""

    def __init__(self, sheet: RegisterMap) -> None:
        self.firmware = Firmware(sheet, unit=UNIT)
        self.lines: list[str] = []
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []
        self._requests = Requests()
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _readable(self) -> None:
        for frame in self._requests.feed(os.read(self._master, 1024)):
            reply = self.firmware.answer(frame[1:-2], now_s=0.0)
            assert reply is not None
            self.asked.append(frame)
            self.answered.append(framed(UNIT, reply))
            self.lines += [f">> {frame.hex(' ')}", f"<< {self.answered[-1].hex(' ')}"]
            os.write(self._master, self.answered[-1])


def section_of(model: str, sheet: RegisterMap) -> DeviceSection:
    points = [
        {"register": r.name, "point": f"{model}/{r.name}"}
        for r in sheet.registers
        if r.form is not Form.STRING
    ]
    body = {"id": "d", "unit": UNIT, "map": model, "zone": "z", "period_s": 1, "point": points}
    return DeviceSection.model_validate(body)


async def never(scan: Scan) -> None:
    raise AssertionError(scan)


def refused(device: Device) -> str:
    return " ".join(str(a) for _, a in sorted(device._costs.barred))


async def talk(model: str) -> Port:
    sheet = MAPS[model]
    section = section_of(model, sheet)
    with Port(sheet) as port:
        for of, name, value, _ in GOLDEN[::-1]:  # the first golden words of a register stay
            if of != model:
                continue
            if isinstance(value, str):
                port.firmware.show_text(name, value)
            else:
                port.firmware.show_values({name: value})
        line_section = LineSection.model_validate(
            {"name": "l", "kind": "rtu", "serial": port.path, "baud": 9600}
        )
        line = open_line(line_section, clock=WallClock(), ports=None)
        device = device_of(section, sheet, line_section.timing, {})
        poller = Poller(line, [device], clock=WallClock(), put=never, pace=Pace(WallClock()))
        try:
            if device.identity is not None:
                reply = await line.read(UNIT, identity_block(device.identity))
                port.lines.append(f"== identity {text(reply.words, device.identity)}")
            for poll in device.polls:
                replies, planned = await poller._ask(device, poll), poll
                while replies is None:  # it has refused a part, which is left out from now on
                    port.lines.append(f"== refused {refused(device)}")
                    (planned,) = device.polls
                    replies = await poller._ask(device, planned)
                scan = device.scan(planned, replies, now_ms=0)
                assert scan is not None
                port.lines += [
                    f"== {s.point.split('/')[1]} {s.reason if s.value is None else f'{s.value:g}'}"
                    for s in scan.samples
                ]
        finally:
            line.close()
    return port


@pytest.mark.parametrize("model", sorted(MAPS))
def test_a_device_is_asked_and_understood_as_in_its_transcript(model, golden):
    port = asyncio.run(talk(model))

    golden(HERE / "transcripts" / f"{model}.txt", "\n".join(port.lines) + "\n")


@pytest.mark.parametrize("model", sorted(MAPS))
def test_pymodbus_reads_the_same_in_the_frames_of_a_transcript(model):
    lines = (HERE / "transcripts" / f"{model}.txt").read_text(encoding="utf-8").splitlines()
    asked = [bytes.fromhex(line[3:]) for line in lines if line.startswith(">>")]
    answered = [bytes.fromhex(line[3:]) for line in lines if line.startswith("<<")]

    for question, answer in zip(asked, answered, strict=True):
        _, request = FramerRTU(DecodePDU(is_server=True)).handleFrame(question, UNIT, 0)
        _, reply = FramerRTU(DecodePDU(is_server=False)).handleFrame(answer, UNIT, 0)
        assert request is not None
        assert reply is not None
        assert reply.function_code & 0x7F == request.function_code
        if reply.isError():
            continue
        held = reply.bits if request.function_code < 3 else reply.registers
        of = request.count if request.function_code >= 3 else (request.count + 7) // 8 * 8
        assert len(held) == of
