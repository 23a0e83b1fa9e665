"""Devices by their data sheets: settings, status, power cuts, cabinets."""

import struct

import pytest

from firmware_sim.core.cabinet import Cabinet
from firmware_sim.core.encode import counter_words, words
from firmware_sim.core.firmware import Firmware
from firmware_sim.core.slave import Refusal
from telemetry.device_sheet import Condition
from telemetry.instant import HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from telemetry.register_map import RegisterMap

Maps = dict[str, RegisterMap]
NOW = Instant(1_784_678_400_000)


def read(device: Firmware, address: int, count: int, *, function: int = 3) -> bytes:
    reply = device.answer(struct.pack(">BHH", function, address, count), now_s=1000.0)
    assert reply is not None
    assert reply[0] == function, reply
    return reply[2:]


def written(device: Firmware, address: int, *values: int, now_s: float = 10.0) -> int:
    """Write registers; return the exception code or 0."""
    pdu = struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)
    reply = device.answer(pdu, now_s=now_s)
    assert reply is not None
    return reply[1] if reply[0] & 0x80 else 0


def measure(device: Firmware, name: str, value: float, at: Instant = NOW) -> None:
    register = device.sheet.register(name)
    assert register is not None
    shown = counter_words(value, register) if register.unit == "m3" else words(value, register)
    device.show(table=register.table, address=register.address, words=shown, at=at)


def pressure_bar(device: Firmware) -> float:
    bar: float = struct.unpack(">f", read(device, 0, 2))[0]
    return bar


def total_m3(device: Firmware) -> float:
    low, high = struct.unpack(">HH", read(device, 12, 2))
    return float(high << 16 | low) / 10


def pulses(device: Firmware) -> int:
    count: int = struct.unpack(">I", read(device, 0, 2, function=4))[0]
    return count


def test_every_device_that_has_a_name_tells_it(maps: Maps) -> None:
    for name, sheet in maps.items():
        reply = Firmware(sheet, unit=1).answer(bytes((43, 14, 1, 0)), now_s=0.0)
        assert reply is not None
        if sheet.identity is None:
            assert reply == bytes((0xAB, Refusal.ILLEGAL_FUNCTION)), name
        else:
            assert sheet.identity.vendor.encode() in reply
            assert sheet.identity.product_code.encode() in reply


def test_zero_adjustment_is_taken_off_every_reading(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=1)
    measure(device, "pressure", 312.5)
    assert pressure_bar(device) == pytest.approx(3.125)

    assert written(device, 258, 25) == 0
    measure(device, "pressure", 312.5)
    assert pressure_bar(device) == pytest.approx(3.1)

    assert written(device, 258, 0x10000 - 25, now_s=20.0) == 0
    measure(device, "pressure", 312.5)
    assert pressure_bar(device) == pytest.approx(3.15)


def test_settings_refuse_what_they_cannot_take_and_keep_what_they_had(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=7, baud=9600)

    assert written(device, 256, 0) == Refusal.ILLEGAL_VALUE
    assert written(device, 256, 248) == Refusal.ILLEGAL_VALUE
    assert written(device, 257, 9) == Refusal.ILLEGAL_VALUE
    assert written(device, 0, 5) == Refusal.ILLEGAL_ADDRESS  # what is measured cannot be written
    assert written(device, 256, 8, 99) == Refusal.ILLEGAL_VALUE  # all of them or none
    assert read(device, 256, 3) == bytes.fromhex("0007 0001 0000")
    assert device.unit == 7


def test_half_a_setting_cannot_be_written(maps: Maps) -> None:
    device = Firmware(maps["electromagnetic-meter"], unit=1)

    assert written(device, 110, 5) == Refusal.ILLEGAL_ADDRESS
    assert written(device, 111, 5) == Refusal.ILLEGAL_ADDRESS


def test_a_new_unit_id_counts_at_once_and_a_new_speed_from_the_next_start(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=7, baud=9600)

    assert written(device, 256, 33, 2) == 0
    assert (device.unit, device.baud) == (33, 9600)

    device.power_off()
    device.power_on()
    assert (device.unit, device.baud) == (33, 19200)


def test_a_device_that_stores_a_setting_is_busy_for_a_while(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=1)
    assert written(device, 258, 1, now_s=10.0) == 0

    assert written(device, 258, 2, now_s=10.1) == Refusal.BUSY
    assert written(device, 258, 2, now_s=10.2) == 0


def test_a_total_can_be_brought_in_line_with_the_dial_and_counts_on(maps: Maps) -> None:
    device = Firmware(maps["electromagnetic-meter"], unit=1)
    measure(device, "total", 5000.0)

    assert written(device, 110, 0x0001, 0x0000) == 0
    assert total_m3(device) == 6553.6
    measure(device, "total", 5010.0)
    assert total_m3(device) == pytest.approx(6563.6)


def test_a_preset_total_still_rolls_over(maps: Maps) -> None:
    device = Firmware(maps["electromagnetic-meter"], unit=1)
    measure(device, "total", 5000.0)
    assert written(device, 110, *divmod(999_999_990, 65536)) == 0

    measure(device, "total", 5002.0)
    assert total_m3(device) == pytest.approx(1.0)


def test_a_good_meter_loses_only_what_flows_while_it_is_dead(maps: Maps) -> None:
    device = Firmware(maps["electromagnetic-meter"], unit=1)
    for n in range(10):
        measure(device, "total", 5000.0 + n, Instant(NOW + n * MINUTE_MS))
    device.power_off()
    assert device.answer(bytes.fromhex("03 000A 0004"), now_s=0.0) is None
    measure(device, "total", 5100.0, Instant(NOW + HOUR_MS))

    device.power_on()
    assert total_m3(device) == 5009.0
    measure(device, "total", 5100.0, Instant(NOW + HOUR_MS))
    assert total_m3(device) == 5009.0
    measure(device, "total", 5102.0, Instant(NOW + HOUR_MS + MINUTE_MS))
    assert total_m3(device) == 5011.0


def test_a_cheap_counter_forgets_the_last_minutes(maps: Maps) -> None:
    device = Firmware(maps["pulse-counter"], unit=1)
    for n in range(18):  # it writes its count down each ten minutes
        measure(device, "pulses", 100.0 + n, Instant(NOW + n * MINUTE_MS))
    assert pulses(device) == 11_700

    device.power_off()
    device.power_on()
    measure(device, "pulses", 117.0, Instant(NOW + 18 * MINUTE_MS))
    assert pulses(device) == 11_000
    measure(device, "pulses", 119.0, Instant(NOW + 19 * MINUTE_MS))
    assert pulses(device) == 11_200


def test_what_is_really_held_is_told_to_who_shows_it(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=1)
    register = device.sheet.registers[0]
    assert written(device, 258, 25) == 0
    at = {"table": register.table, "address": register.address}

    held = device.show(**at, words=words(312.5, register))
    assert held == words(310.0, register)
    device.power_off()
    assert device.show(**at, words=words(400.0, register)) == held


def test_the_status_tells_stops_and_restarts(maps: Maps) -> None:
    device = Firmware(maps["pressure-transmitter"], unit=1)
    measure(device, "pressure", 1600.0)
    assert read(device, 2, 1) == b"\x00\x01"
    measure(device, "pressure", 0.0)
    assert read(device, 2, 1) == b"\x00\x02"
    measure(device, "pressure", 300.0)
    assert read(device, 2, 1) == b"\x00\x00"

    device.power_off()
    device.power_on()
    measure(device, "status", 0.0)  # what the water says of the status is nothing
    assert read(device, 2, 1) == b"\x00\x10"
    assert read(device, 2, 1) == b"\x00\x00"  # once it was read it is over


def test_a_low_battery_shows_where_there_is_a_bit_for_it(maps: Maps) -> None:
    logger = Firmware(maps["pulse-counter"], unit=1)
    logger.set_condition(Condition.LOW_BATTERY, on=True)
    assert read(logger, 2, 1, function=4) == b"\x00\x04"
    logger.set_condition(Condition.LOW_BATTERY, on=False)
    assert read(logger, 2, 1, function=4) == b"\x00\x00"

    Firmware(maps["level-transmitter"], unit=1).set_condition(Condition.LOW_BATTERY, on=True)


def test_a_device_that_starts_is_busy_until_it_is_ready(maps: Maps) -> None:
    device = Firmware(maps["electromagnetic-meter"], unit=1)
    device.power_off()
    device.power_on(now_s=50.0)

    assert device.answer(bytes.fromhex("03 000A 0002"), now_s=54.0) == bytes((0x83, 6))
    reply = device.answer(bytes.fromhex("03 000A 0002"), now_s=56.0)
    assert reply is not None
    assert reply[0] == 3


def test_a_cabinet_shows_its_contacts_as_words_and_as_bits(maps: Maps) -> None:
    device = Firmware(maps["cabinet-io"], unit=1)
    cabinet = Cabinet(at=NOW)
    cabinet.is_open = True
    device.show_values(cabinet.readings(NOW))

    assert read(device, 0, 3) == bytes.fromhex("0001 0000 0001")
    assert read(device, 0, 3, function=2) == b"\x05"
    assert not device.is_mains_powered


def test_a_cabinets_battery_empties_without_mains_and_fills_again() -> None:
    cabinet = Cabinet(at=NOW)
    charging_v = cabinet.readings(NOW)["battery_voltage"]
    cabinet.set_mains(NOW, on=False)
    volts = [
        cabinet.readings(Instant(NOW + h * HOUR_MS + SECOND_MS))["battery_voltage"]
        for h in range(13)
    ]

    assert 13.5 < charging_v < 14
    assert volts == sorted(volts, reverse=True)
    assert volts[0] == pytest.approx(12.85, abs=0.01)
    assert volts[6] > 12
    assert volts[-1] < 10
    later = Instant(NOW + 13 * HOUR_MS)
    cabinet.set_mains(later, on=True)
    assert cabinet.readings(Instant(later + 12 * HOUR_MS))["battery_voltage"] == charging_v
