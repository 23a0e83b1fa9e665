"""Golden words, decode side: what known words of each device mean, by its data sheet."""

import math
import struct
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from firmware_sim.core.encode import raw_words
from gateway.core.decode import PlainBlock, house_value, raw_number
from telemetry.register_map import ByteOrder, Form, Register, RegisterMap, WordOrder
from telemetry.sample import Reason

DEVICES = Path(__file__).parents[2] / "configs" / "devices"

# Worked out by hand from the data sheets; values in house units (kPa, m3/h, m3, m).
GOLDEN = [
    ("pressure-transmitter", "pressure", (0x4048, 0x0000), 312.5),  # 3.125 bar
    ("pressure-transmitter", "pressure", (0x0000, 0x0000), 0.0),
    ("pressure-transmitter", "pressure", (0x4180, 0x0000), 1600.0),  # 16 bar, the end of scale
    ("pressure-transmitter", "pressure", (0x4180, 0x0001), Reason.OUT_OF_RANGE),
    ("pressure-transmitter", "pressure", (0xBF80, 0x0000), Reason.OUT_OF_RANGE),  # -1 bar
    ("pressure-transmitter", "pressure", (0x7FC0, 0x0000), Reason.NOT_A_NUMBER),
    ("pressure-transmitter", "pressure", (0xFF80, 0x0000), Reason.NOT_A_NUMBER),  # minus infinity
    ("pressure-transmitter", "status", (0xFFFE,), -2.0),
    ("pressure-transmitter-ma", "pressure", (0x0000,), 0.0),  # 4 mA
    ("pressure-transmitter-ma", "pressure", (0x0FFF,), 1000.0),  # 20 mA
    ("pressure-transmitter-ma", "pressure", (0x0400,), 250.0610500610501),
    ("pressure-transmitter-ma", "pressure", (0x1000,), Reason.OUT_OF_RANGE),
    ("electromagnetic-meter", "flow", (0x8000, 0x4300), 128.5),  # low word first
    ("electromagnetic-meter", "flow", (0x0000, 0xC144), -12.25),
    ("electromagnetic-meter", "total", (0x614E, 0x00BC), 1_234_567.8),
    ("pulse-counter", "pulses", (0x004B, 0x0089), 49_153.37),
    ("level-transmitter", "level", (0x0C91,), 3.217),
    ("ultrasonic-meter", "flow", (0x0000, 0x4148), 12.5),  # low word first
    ("ultrasonic-meter", "total", (0x1234, 0x5678), 123_456.78),  # as on the display
    ("ultrasonic-meter", "temperature", (0xFFDD,), -3.5),
    ("ultrasonic-meter", "signal", (0x5700,), 87.0),  # high byte
    ("ultrasonic-meter", "condition", (0x0002,), 2.0),  # low byte
    ("ultrasonic-meter", "battery_low", (0x0004,), 1.0),  # bit 2
    ("io-module", "relay_1", (1,), 1.0),
    ("io-module", "relay_2", (0,), 0.0),
    ("io-module", "contact_1", (1,), 1.0),
    ("io-module", "contact_2", (0,), 0.0),
    ("io-module", "pressure", (0x2EE0,), 500.0),  # 12.000 mA
    ("io-module", "level", (0x1F40,), 1.25),  # 8.000 mA
    ("pulse-counter-two", "pulses-1", (0x4E61, 0xBC00), 1_234_567.8),  # 0x00BC614E backwards
    ("pulse-counter-two", "pulses-2", (0x0100, 0x0000), 0.1),
    ("pulse-counter-two", "tamper-1", (0x0001,), 1.0),
    ("pulse-counter-two", "tamper-2", (0x0002,), 1.0),
    ("pressure-logger", "pressure", (0x0003, 0x8000), 350.0),  # 3.5 bar in 16.16
    ("pressure-logger", "pressure", (0xFFFF, 0x8000), -50.0),
    ("pressure-logger", "temperature", (0x4D60,), 21.5),  # half precision
    ("pressure-logger", "battery", (0x0087,), 87.0),
    ("pressure-logger", "mode", (0x0020,), 2.0),  # bits 4 to 6
    ("pressure-logger", "calibration_days", (0x009C,), -100.0),
    ("electromagnetic-meter-net", "flow", (0x6000, 0xC042, 0x0000, 0x0000), -132.3),  # -36.75 l/s
    ("electromagnetic-meter-net", "net-total", (0x000F, 0x4241, 0x0000, 0x0000), 1000.001),
    ("electromagnetic-meter-net", "forward-total", (0, 0, 0x1234, 0x5678), 12_345.678),
    ("electromagnetic-meter-net", "direction", (0x0100,), 1.0),  # low byte first
    ("electromagnetic-meter-net", "serial-number", (0x0123, 0x4567), 19_088_743.0),
    ("ultrasonic-meter", "total", (0x1A34, 0x5678), Reason.NOT_A_NUMBER),  # no decimal digit
    ("ultrasonic-meter", "temperature", (0x8000,), Reason.NOT_A_NUMBER),  # its error value
    ("ultrasonic-meter", "signal", (0x5703,), 87.0),  # the other byte is another register
    ("ultrasonic-meter", "condition", (0x5709,), Reason.OUT_OF_RANGE),  # no meaning of that number
    ("ultrasonic-meter", "battery_low", (0xFFFB,), 0.0),
    ("io-module", "pressure", (3600,), -25.0),  # 3.6 mA: the end of what is no fault
    ("io-module", "pressure", (3500,), Reason.OUT_OF_RANGE),  # a broken loop
    ("io-module", "pressure", (0xFFFF,), Reason.NOT_A_NUMBER),
    ("pressure-logger", "pressure", (0x8000, 0x0000), Reason.NOT_A_NUMBER),
    ("pressure-logger", "mode", (0x0030,), Reason.OUT_OF_RANGE),
    ("electromagnetic-meter-net", "direction", (0xFFFF,), -1.0),
]


def _register(model: str, name: str) -> Register:
    body = tomllib.loads((DEVICES / f"{model}.toml").read_text(encoding="utf-8"))
    found = TypeAdapter(RegisterMap).validate_python(body).register(name)
    assert found is not None
    return found


@pytest.mark.parametrize(("model", "name", "words", "expected"), GOLDEN)
def test_the_words_of_a_device_mean_what_its_data_sheet_says(model, name, words, expected):
    register = _register(model, name)

    found = house_value(raw_number(words, register), register)

    assert found == (expected if isinstance(expected, Reason) else pytest.approx(expected))


@pytest.mark.parametrize(
    ("form", "words", "expected"),
    [
        (Form.UINT16, (0xFFFF,), 65_535),
        (Form.INT16, (0x8000,), -32_768),
        (Form.UINT32, (0x0001, 0x0002), 0x0001_0002),
        (Form.INT32, (0xFFFF, 0xFFFE), -2),
        (Form.FLOAT32, (0x4048, 0xF5C3), pytest.approx(3.14, abs=1e-6)),
        (Form.UINT64, (0xFFFF, 0, 0, 1), 0xFFFF_0000_0000_0001),
        (Form.INT64, (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD), -3),
        (Form.FLOAT64, (0x4009, 0x21FB, 0x5444, 0x2D18), math.pi),
        (Form.UINT8, (0xAB80,), 128),
        (Form.INT8, (0xAB80,), -128),
        (Form.FLOAT16, (0xC440,), -4.25),
        (Form.BCD16, (0x1234,), 1_234),
        (Form.BCD32, (0x1234, 0x5678), 12_345_678),
        (Form.BCD64, (0, 0, 0, 0x0099), 99),
    ],
)
def test_every_form_is_read_in_both_word_orders(form, words, expected):
    big = Register(name="r", address=0, form=form, unit="")
    little = Register(name="r", address=0, form=form, unit="", word_order=WordOrder.LITTLE)

    assert raw_number(words, big) == expected
    assert raw_number(words[::-1], little) == expected


WIDE = 0x0123_4567_89AB_CDEF


@pytest.mark.parametrize(
    ("word_order", "byte_order", "octets"),
    [
        (WordOrder.BIG, ByteOrder.BIG, "0123456789abcdef"),
        (WordOrder.LITTLE, ByteOrder.BIG, "cdef89ab45670123"),
        (WordOrder.SWAPPED_IN_PAIRS, ByteOrder.BIG, "45670123cdef89ab"),
        (WordOrder.SWAPPED_PAIRS, ByteOrder.BIG, "89abcdef01234567"),
        (WordOrder.BIG, ByteOrder.LITTLE, "23016745ab89efcd"),
        (WordOrder.LITTLE, ByteOrder.LITTLE, "efcdab8967452301"),
        (WordOrder.SWAPPED_IN_PAIRS, ByteOrder.LITTLE, "67452301efcdab89"),
        (WordOrder.SWAPPED_PAIRS, ByteOrder.LITTLE, "ab89efcd23016745"),
    ],
)
def test_every_order_of_words_and_bytes_is_put_right(word_order, byte_order, octets):
    r = Register(
        name="r", address=0, form=Form.UINT64, unit="", word_order=word_order, byte_order=byte_order
    )

    assert raw_number(struct.unpack(">4H", bytes.fromhex(octets)), r) == WIDE
    assert raw_words(WIDE, r) == struct.unpack(">4H", bytes.fromhex(octets))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted({*Form} - {Form.STRING, Form.BIT})),
    st.sampled_from(WordOrder),
    st.sampled_from(ByteOrder),
    st.integers(0, 9_999),
)
def test_what_the_simulator_spells_the_gateway_reads(form, word_order, byte_order, value):
    if form.words != 4 and word_order not in {WordOrder.BIG, WordOrder.LITTLE}:
        word_order = WordOrder.LITTLE
    value %= 128 if form in {Form.INT8, Form.UINT8} else 2_048 if form is Form.FLOAT16 else 10_000
    r = Register(
        name="r", address=0, form=form, unit="", word_order=word_order, byte_order=byte_order
    )

    assert raw_number(raw_words(value, r), r) == value


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted({*Form} - {Form.STRING})),
    st.binary(min_size=8, max_size=8),
    st.sampled_from(WordOrder),
)
def test_no_words_make_decoding_fail_or_give_a_value_that_is_none(form, data, order):
    if form.words != 4 and order not in {WordOrder.BIG, WordOrder.LITTLE}:
        order = WordOrder.BIG
    words = struct.unpack(f">{form.words}H", data[: 2 * form.words])
    register = Register(name="r", address=0, form=form, unit="bar", word_order=order, scale=1e300)

    found = house_value(raw_number(words, register), register)

    assert isinstance(found, Reason) or math.isfinite(found)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted({*Form} - {Form.STRING, Form.BIT})),
            st.integers(0, 3),
            st.sampled_from([WordOrder.BIG, WordOrder.BIG, WordOrder.LITTLE]),
            st.sampled_from([1.0, 0.1, 1e300]),
            st.sampled_from([None, 10.0]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_a_block_decoded_in_one_go_gives_what_its_registers_give(asked, random):
    registers, end = [], 100
    for n, (form, hole, order, scale, bound) in enumerate(asked):
        r = Register(
            name=f"r{n}",
            address=end + hole,
            form=form,
            unit="bar",
            word_order=order,
            scale=scale,
            minimum=bound,
            maximum=None if bound is None else 5_000.0,
        )
        registers.append(r)
        end = r.end
    words = [
        random.choice([0, 0x4248, 0x7FF8, 0xFFFF, random.randrange(65536)]) for _ in range(end)
    ]
    plain = PlainBlock.of(registers, address=98, count=end + 2 - 98)
    words = words[: end + 2 - 98]

    one_by_one = [
        house_value(raw_number(words[r.address - 98 : r.end - 98], r), r) for r in registers
    ]

    assert (plain is None) or plain.values(words) == one_by_one
    numbers = {f for f in Form if f.words > 1 or f in {Form.UINT16, Form.INT16, Form.FLOAT16}}
    plainly = {f for f in numbers if not f.is_bcd and f is not Form.STRING}
    assert (plain is not None) == all(
        r.form in plainly and r.word_order is WordOrder.BIG for r in registers
    )
