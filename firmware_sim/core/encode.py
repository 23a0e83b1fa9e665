"""Truth to words: what a device's registers hold when it shows a number.

Written apart from the gateway's decoding on purpose, so that a mistake in one is not undone by the
same mistake in the other. Instruments saturate at their stops; counters start again from zero.
"""

import struct

from telemetry.register_map import Form, Register, RegisterMap, Table, WordOrder
from telemetry.units import from_house, to_house

Words = tuple[int, ...]

_FLOATS = {Form.FLOAT32: ">f", Form.FLOAT64: ">d"}
_SIGNED = (Form.INT16, Form.INT32, Form.INT64)


def words(value: float, register: Register) -> Words:
    """Return the words that show `value`, in the house unit, as finely as the register can."""
    shown = from_house(value, register.unit)
    if register.minimum is not None:
        shown = max(shown, register.minimum)
    if register.maximum is not None:
        shown = min(shown, register.maximum)
    if register.resolution:
        shown = round(shown / register.resolution) * register.resolution
    raw = (shown - register.offset) / register.scale
    if register.form in _FLOATS:
        return _ordered(struct.pack(_FLOATS[register.form], raw), register)
    return _spelt(round(raw), register)


def counter_words(total_m3: float, register: Register) -> Words:
    """Return the words of a counter that has seen `total_m3` since it was made."""
    raw = from_house(total_m3, register.unit) / register.scale
    if register.form in _FLOATS:
        return _ordered(struct.pack(_FLOATS[register.form], raw), register)
    return _spelt(counts(total_m3, register), register)


def counts(total_m3: float, register: Register) -> int:
    """Return the whole counts that a counter shows, rolled over as its data sheet says."""
    # A hair above, so that 0.3 m³ of 0.1 m³ counts is three, not two.
    whole = int(from_house(total_m3, register.unit) / register.scale + 1e-6)
    return whole % (register.rolls_over_at or 1 << 16 * register.form.words)


def number(shown: Words, register: Register) -> float:
    """Return the number, in the house unit, that a reader of these words takes them for."""
    raw = raw_of(shown, register)
    return to_house(raw * register.scale + register.offset, register.unit)


def resting_words(sheet: RegisterMap) -> dict[tuple[Table, int], int]:
    """Return every address of a data sheet with the word it holds while nothing is shown."""
    return {(r.table, a): 0 for r in sheet.registers for a in range(r.address, r.end)}


def raw_of(found: Words, register: Register) -> float:
    """Return the raw number that words spell, before scale and offset."""
    in_order = found if register.word_order is WordOrder.BIG else found[::-1]
    octets = b"".join(word.to_bytes(2, "big") for word in in_order)
    if register.form in _FLOATS:
        number: float = struct.unpack(_FLOATS[register.form], octets)[0]
        return number
    return int.from_bytes(octets, "big", signed=register.form in _SIGNED)


def raw_words(raw: float, register: Register) -> Words:
    """Return the words that spell a raw number, stopped at the ends of the form."""
    if register.form in _FLOATS:
        return _ordered(struct.pack(_FLOATS[register.form], raw), register)
    return _spelt(round(raw), register)


def _spelt(raw: int, register: Register) -> Words:
    bits = 16 * register.form.words
    if register.form in _SIGNED:
        raw = min(max(raw, -(1 << bits - 1)), (1 << bits - 1) - 1) % (1 << bits)
    else:
        raw = min(max(raw, 0), (1 << bits) - 1)
    return _ordered(raw.to_bytes(bits // 8, "big"), register)


def _ordered(octets: bytes, register: Register) -> Words:
    found = tuple(octets[n] << 8 | octets[n + 1] for n in range(0, len(octets), 2))
    return found if register.word_order is WordOrder.BIG else found[::-1]
