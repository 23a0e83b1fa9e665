"""Words of a device to numbers in house units, by its data sheet."""

import math
import struct
from collections.abc import Sequence

from telemetry.register_map import ByteOrder, Form, Register, WordOrder
from telemetry.sample import Reason
from telemetry.units import to_house

_FLOATS = {
    Form.FLOAT16: struct.Struct(">e"),
    Form.FLOAT32: struct.Struct(">f"),
    Form.FLOAT64: struct.Struct(">d"),
}
_ORDERS: dict[WordOrder, tuple[int, ...]] = {
    WordOrder.SWAPPED_IN_PAIRS: (1, 0, 3, 2),
    WordOrder.SWAPPED_PAIRS: (2, 3, 0, 1),
}


def raw_number(words: Sequence[int], register: Register) -> int | float:
    """Return the number that the words of one register spell, before scale and offset.

    What is no number, such as a decimal digit above 9, is NaN.

    >>> pressure = Register(name="pressure", address=0, form=Form.FLOAT32, unit="bar")
    >>> raw_number((0x4033, 0x3333), pressure)
    2.799999952316284
    """
    if register.table.is_of_bits:
        return int(words[0] != 0)
    form = register.form
    octets = in_order(words, register)
    if form in _FLOATS:
        number: float = _FLOATS[form].unpack(octets)[0]
        return number
    raw = int.from_bytes(octets, "big")
    if form.is_bcd:
        digits = octets.hex()
        return int(digits) if digits.isdecimal() else math.nan
    width = register.width
    if width < 8 * len(octets):
        raw = raw >> (register.bit or 0) & (1 << width) - 1
    return raw - (1 << width) if form.is_signed and raw >> (width - 1) else raw


def house_value(raw: float, register: Register) -> float | Reason:
    """Return a raw number in the house unit, or why it is none."""
    if raw in register.error_values:
        return Reason.NOT_A_NUMBER
    if register.meanings and raw not in register.meanings:
        return Reason.OUT_OF_RANGE
    if register.fraction_bits:
        raw = math.ldexp(raw, -register.fraction_bits)
    value = raw * register.scale + register.offset
    house = to_house(value, register.unit)
    if not math.isfinite(house):
        return Reason.NOT_A_NUMBER
    if register.minimum is not None and value < register.minimum:
        return Reason.OUT_OF_RANGE
    if register.maximum is not None and value > register.maximum:
        return Reason.OUT_OF_RANGE
    return house


def text(words: Sequence[int], register: Register) -> str:
    """Return what a string register says, without its padding; of a number, its digits.

    >>> serial = Register(name="serial", address=0, form=Form.STRING, unit="", words=2)
    >>> text((0x4132, 0x3300), serial)
    'A23'
    """
    if register.form is not Form.STRING:
        return str(raw_number(words, register))
    octets = in_order(words, register)
    return octets.decode("latin-1").split("\0")[0].strip()


def in_order(words: Sequence[int], register: Register) -> bytes:
    """Return the octets of a register with the most significant first.

    >>> swapped = Register(
    ...     name="r", address=0, form=Form.UINT32, unit="", byte_order=ByteOrder.LITTLE
    ... )
    >>> in_order((0x2211, 0x4433), swapped).hex()
    '11223344'
    """
    order = register.word_order
    if order is WordOrder.LITTLE:
        words = words[::-1]
    elif order in _ORDERS:
        words = [words[n] for n in _ORDERS[order]]
    if register.byte_order is ByteOrder.LITTLE:
        return b"".join(word.to_bytes(2, "little") for word in words)
    if len(words) == 1:
        return words[0].to_bytes(2, "big")
    return struct.pack(f">{len(words)}H", *words)
