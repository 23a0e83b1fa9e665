"""Words of a device to numbers in house units, by its data sheet."""

import math
import struct
from collections.abc import Sequence

from telemetry.register_map import Form, Register, WordOrder
from telemetry.sample import Reason
from telemetry.units import to_house

_FORMS = {
    Form.UINT16: struct.Struct(">H"),
    Form.INT16: struct.Struct(">h"),
    Form.UINT32: struct.Struct(">I"),
    Form.INT32: struct.Struct(">i"),
    Form.FLOAT32: struct.Struct(">f"),
    Form.UINT64: struct.Struct(">Q"),
    Form.INT64: struct.Struct(">q"),
    Form.FLOAT64: struct.Struct(">d"),
}
_WORDS = {n: struct.Struct(f">{n}H") for n in (1, 2, 4)}


def raw_number(words: Sequence[int], register: Register) -> int | float:
    """Return the number that the words of one register spell, before scale and offset.

    >>> pressure = Register(name="pressure", address=0, form=Form.FLOAT32, unit="bar")
    >>> raw_number((0x4033, 0x3333), pressure)
    2.799999952316284
    """
    ordered = words if register.word_order is WordOrder.BIG else words[::-1]
    number: int | float
    (number,) = _FORMS[register.form].unpack(_WORDS[len(words)].pack(*ordered))
    return number


def house_value(raw: float, register: Register) -> float | Reason:
    """Return a raw number in the house unit, or why it is none."""
    value = raw * register.scale + register.offset
    house = to_house(value, register.unit)
    if not math.isfinite(house):
        return Reason.NOT_A_NUMBER
    if register.minimum is not None and value < register.minimum:
        return Reason.OUT_OF_RANGE
    if register.maximum is not None and value > register.maximum:
        return Reason.OUT_OF_RANGE
    return house
