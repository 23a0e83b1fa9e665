"""Encoding: every form and word order, stops and roll-over."""

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.core.encode import counter_words, counts, resting_words, words
from telemetry.register_map import Form, Register, RegisterMap, Table, WordOrder

EITHER = st.sampled_from([WordOrder.BIG, WordOrder.LITTLE])
PLAIN = {Form.UINT16: ">H", Form.INT16: ">h", Form.UINT32: ">I", Form.INT32: ">i"}


def _register(form: Form, order: WordOrder = WordOrder.BIG, **more: object) -> Register:
    return Register(name="r", address=0, form=form, unit="kPa", word_order=order, **more)  # type: ignore[arg-type]  # keys of Register


def _read(found: tuple[int, ...], order: WordOrder, spelling: str) -> float:
    in_order = found if order is WordOrder.BIG else found[::-1]
    value: float = struct.unpack(spelling, b"".join(struct.pack(">H", w) for w in in_order))[0]
    return value


@given(
    st.sampled_from(sorted(PLAIN)),
    EITHER,
    st.integers(min_value=-(2**33), max_value=2**33),
)
def test_whole_numbers_are_shown_or_stop_at_the_end_of_their_form(
    form: Form, order: WordOrder, value: int
) -> None:
    spelling = PLAIN[form]
    bits = 16 * form.words
    low, high = (
        (0, 2**bits - 1) if form.value[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )

    assert _read(words(value, _register(form, order)), order, spelling) == min(
        max(value, low), high
    )


@given(EITHER, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_come_back_as_they_were(order: WordOrder, value: float) -> None:
    assert _read(words(value, _register(Form.FLOAT32, order)), order, ">f") == value


def test_wide_forms_take_four_words() -> None:
    assert words(1.5, _register(Form.FLOAT64)) == (0x3FF8, 0, 0, 0)
    assert words(-1, _register(Form.INT64)) == (0xFFFF,) * 4
    assert words(65536, _register(Form.UINT64, WordOrder.LITTLE)) == (0, 1, 0, 0)


def test_scale_and_offset_are_undone() -> None:
    assert words(25.0, _register(Form.INT16, scale=0.5, offset=10.0)) == (30,)


def test_an_instrument_stops_at_its_stops() -> None:
    register = _register(Form.FLOAT32, minimum=0.0, maximum=100.0)

    assert words(-3.0, register) == words(0.0, register)
    assert words(140.0, register) == words(100.0, register)


@given(st.floats(min_value=0, max_value=1e9), st.integers(min_value=10, max_value=2**32))
def test_a_counter_counts_on_and_starts_again(total: float, turn: int) -> None:
    register = Register(
        name="r", address=0, form=Form.UINT32, unit="m3", scale=0.1, rolls_over_at=turn
    )
    shown = counts(total, register)

    assert 0 <= shown < turn
    assert math.isclose(shown, total / 0.1 % turn, abs_tol=1.001) or shown in {0, turn - 1}
    assert counter_words(total, register) == (shown >> 16, shown & 0xFFFF)


def test_a_data_sheet_at_rest_holds_zero_at_every_address_of_a_register() -> None:
    sheet = RegisterMap(
        model="m",
        description="d",
        registers=(
            Register(name="a", address=4, form=Form.UINT32, unit="kPa"),
            Register(name="b", address=9, form=Form.INT16, unit="m", table=Table.INPUT),
        ),
    )

    assert resting_words(sheet) == {
        (Table.HOLDING, 4): 0,
        (Table.HOLDING, 5): 0,
        (Table.INPUT, 9): 0,
    }
