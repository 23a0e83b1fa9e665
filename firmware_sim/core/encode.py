"""Truth to words: what a device's registers hold when it shows a number.

Written apart from the gateway's decoding on purpose, so that a mistake in one is not undone by the
same mistake in the other. Instruments saturate at their stops; counters start again from zero.
"""

import struct

from telemetry.register_map import (
    ByteOrder,
    Form,
    Register,
    RegisterMap,
    Table,
    WordOrder,
)
from telemetry.units import from_house, to_house

Words = tuple[int, ...]

_FLOATS = {Form.FLOAT16: ">e", Form.FLOAT32: ">f", Form.FLOAT64: ">d"}
_SIGNED = (Form.INT8, Form.INT16, Form.INT32, Form.INT64)
_DIGITS = {Form.BCD16: 4, Form.BCD32: 8, Form.BCD64: 16}
_BITS = {Form.BIT: 1, Form.UINT8: 8, Form.INT8: 8}


def words(value: float, register: Register) -> Words:
    """Return the words that show `value`, in the house unit, as finely as the register can."""
    shown = from_house(value, register.unit)
    if register.minimum is not None:
        shown = max(shown, register.minimum)
    if register.maximum is not None:
        shown = min(shown, register.maximum)
    if register.resolution:
        shown = round(shown / register.resolution) * register.resolution
    raw = (shown - register.offset) / register.scale * 2**register.fraction_bits
    return raw_words(raw, register)


def text_words(text: str, register: Register) -> Words:
    """Return the words of a string register, padded with zeros."""
    size = 2 * (register.words or 0)
    return _ordered(text.encode("latin-1")[:size].ljust(size, b"\0"), register)


def own_bits(register: Register) -> int:
    """Return which bits of its words are the register's own; others share the word."""
    _shift, width = _field(register)
    return (1 << width) - 1 << _shift


def counter_words(total_m3: float, register: Register) -> Words:
    """Return the words of a counter that has seen `total_m3` since it was made."""
    if register.form in _FLOATS:
        return raw_words(from_house(total_m3, register.unit) / register.scale, register)
    return _spelt(counts(total_m3, register), register)


def counts(total_m3: float, register: Register) -> int:
    """Return the whole counts that a counter shows, rolled over as its data sheet says."""
    # A hair above, so that 0.3 m³ of 0.1 m³ counts is three, not two.
    whole = int(from_house(total_m3, register.unit) / register.scale + 1e-6)
    return whole % (register.rolls_over_at or 1 << 16 * register.form.words)


def number(shown: Words, register: Register) -> float:
    """Return the number, in the house unit, that a reader of these words takes them for."""
    raw = raw_of(shown, register) / 2**register.fraction_bits
    return to_house(raw * register.scale + register.offset, register.unit)


def resting_words(sheet: RegisterMap) -> dict[tuple[Table, int], int]:
    """Return every address of a data sheet with the word it holds while nothing is shown."""
    return {(r.table, a): 0 for r in sheet.registers for a in range(r.address, r.end)}


def raw_of(found: Words, register: Register) -> float:
    """Return the raw number that words spell, before scale and offset."""
    octets = b"".join(word.to_bytes(2, "big") for word in _ordered(_octets(found), register))
    if register.form in _FLOATS:
        number: float = struct.unpack(_FLOATS[register.form], octets)[0]
        return number
    if register.form in _DIGITS:
        return int(octets.hex())
    shift, width = _field(register)
    raw = int.from_bytes(octets, "big") >> shift & (1 << width) - 1
    return raw - (1 << width) if register.form in _SIGNED and raw >> width - 1 else raw


def raw_words(raw: float, register: Register) -> Words:
    """Return the words that spell a raw number, stopped at the ends of the form."""
    if register.form in _FLOATS:
        return _ordered(struct.pack(_FLOATS[register.form], raw), register)
    return _spelt(round(raw), register)


def _spelt(raw: int, register: Register) -> Words:
    size = 2 * register.form.words
    if register.table.is_of_bits:
        return (int(raw != 0),)
    if register.form in _DIGITS:
        digits = _DIGITS[register.form]
        return _ordered(bytes.fromhex(f"{min(max(raw, 0), 10**digits - 1):0{digits}d}"), register)
    shift, width = _field(register)
    if register.form in _SIGNED:
        raw = min(max(raw, -(1 << width - 1)), (1 << width - 1) - 1) % (1 << width)
    else:
        raw = min(max(raw, 0), (1 << width) - 1)
    return _ordered((raw << shift).to_bytes(size, "big"), register)


def _field(register: Register) -> tuple[int, int]:
    """Return where the bits of a number begin in its words, and how many they are."""
    if register.table.is_of_bits:
        return 0, 1
    width = register.bit_count or _BITS.get(register.form, 16 * register.form.words)
    return register.bit or 0, width


def _octets(found: Words) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in found)


def _ordered(octets: bytes, register: Register) -> Words:
    """Put words and bytes into the device's order, or back: each order undoes itself."""
    is_little = register.byte_order is ByteOrder.LITTLE
    found = tuple(
        int.from_bytes(octets[n : n + 2], "little" if is_little else "big")
        for n in range(0, len(octets), 2)
    )
    match register.word_order:
        case WordOrder.LITTLE:
            return found[::-1]
        case WordOrder.SWAPPED_IN_PAIRS:
            return tuple(found[n ^ 1] for n in range(len(found)))
        case WordOrder.SWAPPED_PAIRS:
            return found[2:] + found[:2]
        case WordOrder.BIG:
            return found
