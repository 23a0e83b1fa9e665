"""Samples, units, instants, points and register maps: what cannot be, cannot be made."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.instant import Instant, bin_start
from telemetry.point import PointId, is_name, is_point_id
from telemetry.register_map import Form, Register, RegisterMap
from telemetry.sample import Quality, Reason, Sample
from telemetry.units import HOUSE_UNITS, UNITS, Quantity, from_house, quantity_of, to_house

POINT = PointId("wenhua-road-12/pressure")
AT = Instant(1_790_000_000_000)


@given(
    st.none() | st.floats(),
    st.sampled_from(Quality),
    st.sampled_from(Reason),
)
def test_sample_is_made_only_when_value_quality_and_reason_agree(
    value: float | None, quality: Quality, reason: Reason
) -> None:
    agree = (
        (value is None) == (quality is Quality.BAD)
        and (value is None or math.isfinite(value))
        and (quality is Quality.GOOD) == (reason is Reason.NONE)
    )
    said = contextlib.nullcontext() if agree else pytest.raises(ValueError, match=POINT)

    with said:
        Sample(point=POINT, at=AT, value=value, quality=quality, reason=reason)


def test_bad_sample_has_no_value_and_a_reason() -> None:
    sample = Sample.bad(POINT, AT, Reason.TIMEOUT)

    assert (sample.value, sample.quality, sample.reason) == (None, Quality.BAD, Reason.TIMEOUT)


def test_bad_sample_without_a_reason_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="quality BAD with reason"):
        Sample.bad(POINT, AT, Reason.NONE)


@given(st.sampled_from(UNITS), st.floats(-1e9, 1e9))
def test_units_convert_there_and_back(unit: str, value: float) -> None:
    assert from_house(to_house(value, unit), unit) == pytest.approx(value, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(
    ("value", "unit", "house"),
    [
        (0.28, "MPa", 280.0),
        (10.0, "mH2O", 98.0665),
        (100.0, "psi", 689.4757293168361),
        (10.0, "l/s", 36.0),
        (1000.0, "l/min", 60.0),
        (250.0, "cm", 2.5),
        (1500.0, "l", 1.5),
    ],
)
def test_units_have_the_factors_of_the_books(value: float, unit: str, house: float) -> None:
    assert to_house(value, unit) == pytest.approx(house, rel=1e-12)


@pytest.mark.parametrize("quantity", Quantity)
def test_house_unit_needs_no_conversion(quantity: Quantity) -> None:
    unit = quantity.unit

    assert HOUSE_UNITS[quantity] == unit
    assert quantity_of(unit) is quantity
    assert to_house(1.5, unit) == from_house(1.5, unit) == 1.5


@pytest.mark.parametrize("convert", [to_house, from_house])
def test_unknown_unit_is_refused_with_those_that_are_known(convert: object) -> None:
    with pytest.raises(ValueError, match=r"expected a unit out of 'kPa'.*, was 'furlong'"):
        convert(1.0, "furlong")  # type: ignore[operator]  # both take a number and a unit


@given(st.integers(0, 2**45), st.integers(1, 10**9))
def test_bin_holds_the_instant_and_starts_on_a_whole_width(at: int, width: int) -> None:
    start = bin_start(Instant(at), width)

    assert start <= at < start + width
    assert start % width == 0


@pytest.mark.parametrize("text", ["gw-01", "A", "north_2", "a" * 32])
def test_name_is_letters_digits_dash_and_underscore(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "a" * 33, "a b", "a.b", "a/b", "a+", "路", "a\n"])
def test_other_text_is_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("text", ["wenhua-road-12/pressure", "a/b/c/d", "a" * 64 + "/b"])
def test_point_id_has_two_to_four_parts(text: str) -> None:
    assert is_point_id(text)


@pytest.mark.parametrize("text", ["", "a", "/a", "a/", "a//b", "a/b/c/d/e", "a/b c", "a/b\n"])
def test_other_text_is_no_point_id(text: str) -> None:
    assert not is_point_id(text)


def register(name: str = "pressure", **more: object) -> Register:
    fields = {"address": 0, "form": Form.UINT16, "unit": "kPa", **more}
    return Register(name=name, **fields)  # type: ignore[arg-type]  # fields of Register


def register_map(*registers: Register, words: int = 125) -> RegisterMap:
    return RegisterMap(
        model="m", description="d", registers=registers, registers_per_read_max=words
    )


def test_sound_register_map_has_no_problems() -> None:
    sheet = register_map(register(), register("total", address=65532, form=Form.UINT64, unit="m3"))

    assert sheet.problems() == []
    assert sheet.register("total") == sheet.registers[1]
    assert sheet.register("flow") is None
    assert (sheet.registers[1].quantity, sheet.registers[1].end) == (Quantity.VOLUME, 65536)


@pytest.mark.parametrize(
    ("sheet", "problem"),
    [
        (register_map(register(), register()), "register name 'pressure' is used twice"),
        (
            register_map(register(), words=126),
            "registers_per_read_max: expected 1 to 125, was 126",
        ),
        (register_map(register(), words=0), "registers_per_read_max: expected 1 to 125, was 0"),
        (register_map(register(address=-1)), "register 'pressure': address -1 is outside"),
        (
            register_map(register(address=65535, form=Form.FLOAT32)),
            "register 'pressure': address 65535 is outside",
        ),
        (register_map(register(unit="furlong")), "register 'pressure': unit: expected a unit"),
    ],
)
def test_every_mistake_in_a_register_map_is_told(sheet: RegisterMap, problem: str) -> None:
    (told,) = sheet.problems()

    assert problem in told


def test_all_mistakes_of_a_register_map_are_told_at_once() -> None:
    sheet = register_map(register(address=-1), register(unit="furlong"), words=0)

    assert len(sheet.problems()) == 4


@pytest.mark.parametrize(
    ("form", "words"),
    [(Form.INT16, 1), (Form.UINT32, 2), (Form.FLOAT32, 2), (Form.INT64, 4), (Form.FLOAT64, 4)],
)
def test_form_knows_its_words(form: Form, words: int) -> None:
    assert form.words == words
