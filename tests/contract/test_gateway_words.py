"""Golden words, decode side: what known words of each device mean, by its data sheet."""

import math
import struct
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.core.decode import house_value, raw_number
from telemetry.register_map import Form, Register, RegisterMap, WordOrder
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
    ],
)
def test_every_form_is_read_in_both_word_orders(form, words, expected):
    big = Register(name="r", address=0, form=form, unit="")
    little = Register(name="r", address=0, form=form, unit="", word_order=WordOrder.LITTLE)

    assert raw_number(words, big) == expected
    assert raw_number(words[::-1], little) == expected


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
