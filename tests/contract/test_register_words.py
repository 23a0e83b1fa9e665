"""Golden words: what each device's registers hold for known values, by its data sheet."""

import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from firmware_sim.core.encode import counter_words, text_words, words
from telemetry.register_map import Register, RegisterMap
from telemetry.units import Quantity

DEVICES = Path(__file__).parents[2] / "configs" / "devices"

# Worked out by hand from the data sheets; values in house units (kPa, m3/h, m3, m).
GOLDEN = [
    ("pressure-transmitter", "pressure", 312.5, (0x4048, 0x0000)),  # 3.125 bar
    ("pressure-transmitter", "pressure", 0.0, (0x0000, 0x0000)),
    ("pressure-transmitter", "pressure", 2000.0, (0x4180, 0x0000)),  # stops at 16 bar
    ("pressure-transmitter", "status", 0.0, (0x0000,)),
    ("pressure-transmitter", "status", -2.0, (0xFFFE,)),
    ("pressure-transmitter-ma", "pressure", 0.0, (0x0000,)),  # 4 mA
    ("pressure-transmitter-ma", "pressure", 1000.0, (0x0FFF,)),  # 20 mA
    ("pressure-transmitter-ma", "pressure", 250.06, (0x0400,)),
    ("electromagnetic-meter", "status", 129.0, (0x0081,)),
    ("electromagnetic-meter", "flow", 128.5, (0x8000, 0x4300)),  # low word first
    ("electromagnetic-meter", "flow", -12.25, (0x0000, 0xC144)),
    ("electromagnetic-meter", "total", 1_234_567.8, (0x614E, 0x00BC)),
    ("electromagnetic-meter", "total", 100_000_000.3, (0x0003, 0x0000)),  # after 99,999,999.9
    ("pulse-counter", "status", 4.0, (0x0004,)),
    ("pulse-counter", "clock", 1_784_678_400.0, (0x6A60, 0x0800)),  # 2026-07-22 00:00 UTC
    ("pulse-counter", "pulses", 49_153.37, (0x004B, 0x0089)),
    ("pulse-counter", "pulses", 42_949_672.95, (0xFFFF, 0xFFFF)),
    ("pulse-counter", "pulses", 42_949_673.0, (0x0000, 0x0004)),  # after 2**32 pulses
    ("heat-meter", "flow", 128.5, (0x4300, 0x8000)),
    ("heat-meter", "total", 1_234_567.8, (0x00BC, 0x614E)),
    ("heat-meter", "supply-temperature", 85.25, (0x214D,)),
    ("heat-meter", "return-temperature", -3.0, (0x0000,)),  # stops at 0
    ("volume-corrector", "flow", 4000.5, (0x457A, 0x0800)),
    ("volume-corrector", "corrected-total", 1_000_000_001.0, (0x0000, 0x0001)),
    ("volume-corrector", "uncorrected-total", 123_456.0, (0x0001, 0xE240)),
    ("volume-corrector", "pressure", 300.0, (0x4396, 0x0000)),
    ("volume-corrector", "temperature", -5.5, (0xFFC9,)),
    ("cabinet-io", "mains_present", 1.0, (0x0001,)),
    ("cabinet-io", "pit_flooded", 0.0, (0x0000,)),
    ("cabinet-io", "door_open", 1.0, (0x0001,)),
    ("cabinet-io", "battery_voltage", 12.85, (0x0505,)),  # hundredths of a volt
    ("level-transmitter", "level", 3.217, (0x0C91,)),
    ("level-transmitter", "level", -0.1, (0x0000,)),
    ("level-transmitter", "level", 12.0, (0x2710,)),  # stops at 10 m
    ("ultrasonic-meter", "flow", 12.5, (0x0000, 0x4148)),  # low word first
    ("ultrasonic-meter", "total", 123_456.78, (0x1234, 0x5678)),  # as on the display
    ("ultrasonic-meter", "temperature", -3.5, (0xFFDD,)),
    ("ultrasonic-meter", "signal", 87.0, (0x5700,)),  # high byte
    ("ultrasonic-meter", "condition", 2.0, (0x0002,)),  # low byte
    ("ultrasonic-meter", "battery_low", 1.0, (0x0004,)),  # bit 2
    ("ultrasonic-meter", "serial-number", "UM12345678", (0x554D, 0x3132, 0x3334, 0x3536, 0x3738)),
    ("io-module", "relay_1", 1.0, (1,)),
    ("io-module", "relay_2", 0.0, (0,)),
    ("io-module", "contact_1", 1.0, (1,)),
    ("io-module", "contact_2", 0.0, (0,)),
    ("io-module", "pressure", 500.0, (0x2EE0,)),  # 12.000 mA
    ("io-module", "level", 1.25, (0x1F40,)),  # 8.000 mA
    ("pulse-counter-two", "pulses-1", 1_234_567.8, (0x4E61, 0xBC00)),  # 0x00BC614E backwards
    ("pulse-counter-two", "pulses-2", 0.1, (0x0100, 0x0000)),
    ("pulse-counter-two", "tamper-1", 1.0, (0x0001,)),
    ("pulse-counter-two", "tamper-2", 1.0, (0x0002,)),
    ("pressure-logger", "pressure", 350.0, (0x0003, 0x8000)),  # 3.5 bar in 16.16
    ("pressure-logger", "pressure", -50.0, (0xFFFF, 0x8000)),
    ("pressure-logger", "temperature", 21.5, (0x4D60,)),  # half precision
    ("pressure-logger", "battery", 87.0, (0x0087,)),
    ("pressure-logger", "mode", 2.0, (0x0020,)),  # bits 4 to 6
    ("pressure-logger", "calibration_days", -100.0, (0x009C,)),
    ("electromagnetic-meter-net", "flow", -132.3, (0x6000, 0xC042, 0x0000, 0x0000)),  # -36.75 l/s
    ("electromagnetic-meter-net", "net-total", 1000.001, (0x000F, 0x4241, 0x0000, 0x0000)),
    ("electromagnetic-meter-net", "forward-total", 12_345.678, (0, 0, 0x1234, 0x5678)),  # digits
    ("electromagnetic-meter-net", "direction", 1.0, (0x0100,)),  # low byte first
    ("electromagnetic-meter-net", "serial-number", 19_088_743.0, (0x0123, 0x4567)),
]


def _sheets() -> dict[str, RegisterMap]:
    adapter = TypeAdapter(RegisterMap)
    return {
        path.stem: adapter.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
        for path in DEVICES.glob("*.toml")
    }


def _encoded(value: float | str, register: Register) -> tuple[int, ...]:
    if isinstance(value, str):
        return text_words(value, register)
    is_counter = register.quantity is Quantity.VOLUME
    return counter_words(value, register) if is_counter else words(value, register)


@pytest.mark.parametrize(("model", "name", "value", "expected"), GOLDEN)
def test_words_are_those_of_the_data_sheet(
    model: str, name: str, value: float | str, expected: tuple[int, ...]
) -> None:
    register = _sheets()[model].register(name)

    assert register is not None
    assert _encoded(value, register) == expected


def test_every_register_of_every_map_has_golden_words() -> None:
    registers = {(model, r.name) for model, sheet in _sheets().items() for r in sheet.registers}

    assert {(model, name) for model, name, _, _ in GOLDEN} == registers
