"""Words of a device to numbers in house units, by its data sheet."""

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

from telemetry.register_map import ByteOrder, Form, Register, WordOrder
from telemetry.sample import Reason
from telemetry.units import to_house

_FLOATS = {
    Form.FLOAT16: struct.Struct(">e"),
    Form.FLOAT32: struct.Struct(">f"),
    Form.FLOAT64: struct.Struct(">d"),
}
_PLAIN = {
    Form.UINT16: "H",
    Form.INT16: "h",
    Form.UINT32: "I",
    Form.INT32: "i",
    Form.UINT64: "Q",
    Form.INT64: "q",
    Form.FLOAT16: "e",
    Form.FLOAT32: "f",
    Form.FLOAT64: "d",
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


class PlainBlock:
    """Registers of one read that are nothing but numbers in order: all are decoded in one go."""

    def __init__(self, registers: Sequence[Register], *, form: str) -> None:
        self.registers = registers
        self._numbers = struct.Struct(form)
        self._words = struct.Struct(f">{self._numbers.size // 2}H")
        self._scales = [_scale(r.scale, r.offset, r.unit, r.minimum, r.maximum) for r in registers]

    @classmethod
    def of(cls, registers: Sequence[Register], *, address: int, count: int) -> Self | None:
        """Return the decoder of a read, or None when one of its registers is not that plain."""
        form, here = ">", address
        for r in registers:
            if r.address < here or not _is_plain(r):
                return None
            form += "xx" * (r.address - here) + _PLAIN[r.form]
            here = r.end
        return cls(registers, form=form + "xx" * (address + count - here))

    def values(self, words: Sequence[int]) -> list[float | Reason]:
        """Return for each register what `house_value` returns for its raw number."""
        found: list[float | Reason] = []
        numbers = self._numbers.unpack(self._words.pack(*words))
        for raw, (scale, offset, factor, low, high) in zip(numbers, self._scales, strict=True):
            value = raw * scale + offset
            house = value * factor
            if not math.isfinite(house):
                found.append(Reason.NOT_A_NUMBER)
            else:
                found.append(house if low <= value <= high else Reason.OUT_OF_RANGE)
        return found


@lru_cache(maxsize=1024)
def _scale(
    scale: float, offset: float, unit: str, low: float | None, high: float | None
) -> tuple[float, float, float, float, float]:
    """Return scale, offset, factor to the house unit and range: the same one for all that agree."""
    lowest = -math.inf if low is None else low
    return scale, offset, to_house(1.0, unit), lowest, math.inf if high is None else high


def _is_plain(r: Register) -> bool:
    is_big = r.word_order is WordOrder.BIG and r.byte_order is ByteOrder.BIG
    as_it_is = r.bit is None and r.bit_count is None and not r.fraction_bits
    no_codes = not r.error_values and not r.meanings
    is_number = r.form in _PLAIN and not r.table.is_of_bits
    return is_big and as_it_is and no_codes and is_number


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
