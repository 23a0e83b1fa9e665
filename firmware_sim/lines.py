"""Lines out of their configuration: a port of this machine, or something like a serial port."""

from collections.abc import Mapping

from firmware_sim.config import RtuLineSection, TcpLineSection
from firmware_sim.core.line import Device
from firmware_sim.core.noise import key_of
from firmware_sim.core.rtu import Timing
from firmware_sim.modbus_server import TcpLine
from firmware_sim.serial_bus import SerialLine
from telemetry.register_map import RegisterMap


def line_of(
    section: TcpLineSection | RtuLineSection, maps: Mapping[str, RegisterMap], *, seed: int
) -> TcpLine | SerialLine:
    """Return the line that a section describes, not started yet; inside a running loop."""
    devices = [Device(id=d.id, unit=d.unit, sheet=maps[d.map]) for d in section.device]
    key = key_of(seed, f"wire {section.name}")
    if isinstance(section, RtuLineSection):
        return SerialLine(
            name=section.name,
            link=section.link,
            baud=section.baud,
            bits_per_char=section.bits_per_char,
            devices=devices,
            key=key,
        )
    timing = None if section.baud is None else Timing(baud=section.baud)
    return TcpLine(
        name=section.name,
        host=section.host,
        port=section.port,
        devices=devices,
        key=key,
        timing=timing,
    )
