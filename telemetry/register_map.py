"""A device model's data sheet as types: which register holds what, in which form and unit.

The simulator encodes by it and the gateway decodes by it, with two codecs written apart on purpose;
golden words hold both to the data sheet. Files are `configs/devices/<model>.toml`. What a sheet
says of the device itself (identity, settings, power cuts) is in telemetry/device_sheet.py; the
gateway reads the registers only.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from telemetry.device_sheet import Behaviour, BitCopy, Identity, Setting, StatusBit
from telemetry.units import Quantity, quantity_of

REGISTERS_PER_READ_MAX = 125
"""Modbus Application Protocol V1.1b3, 6.3: quantity of registers 1 to 125."""


PAUSE_MS_MAX = 10_000

BITS_PER_READ_MAX = 2000
"""The same, 6.1 and 6.2: quantity of coils or discrete inputs."""


class Table(StrEnum):
    """Which of the four tables a register is in: two of words, two of single bits."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def is_of_bits(self) -> bool:
        """Say whether an address of the table holds one bit rather than a word."""
        return self in {Table.COIL, Table.DISCRETE}


class Form(StrEnum):
    """How words spell a number; `uint8` and `int8` are one half of a word, `bit` one bit."""

    BIT = "bit"
    UINT8 = "uint8"
    INT8 = "int8"
    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    STRING = "string"

    @property
    def words(self) -> int:
        """Return how many 16-bit registers the form takes; a string says itself."""
        return _WORDS[self]

    @property
    def is_float(self) -> bool:
        """Say whether the words spell a floating-point number."""
        return self in {Form.FLOAT16, Form.FLOAT32, Form.FLOAT64}

    @property
    def is_signed(self) -> bool:
        """Say whether the words spell a signed integer."""
        return self in {Form.INT8, Form.INT16, Form.INT32, Form.INT64}

    @property
    def is_bcd(self) -> bool:
        """Say whether each four bits are a decimal digit."""
        return self in {Form.BCD16, Form.BCD32, Form.BCD64}


_WORDS = {form: max(1, int("0" + "".join(filter(str.isdigit, form.value))) // 16) for form in Form}
"""Asked for at every reading of every register."""


class WordOrder(StrEnum):
    """In which order the words of a number follow each other; the examples spell ABCD or ABCDEFGH.

    For numbers of four words there are two more: pairs in order with their words exchanged, and
    pairs exchanged with their words in order.
    """

    BIG = "big"
    """AB CD; AB CD EF GH."""
    LITTLE = "little"
    """CD AB; GH EF CD AB."""
    SWAPPED_IN_PAIRS = "swapped-in-pairs"
    """CD AB GH EF."""
    SWAPPED_PAIRS = "swapped-pairs"
    """EF GH AB CD."""


class ByteOrder(StrEnum):
    """In which order the two bytes of a word follow each other."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One quantity in one or more registers.

    The number in `unit` is `raw * scale + offset`; a fixed-point number has `fraction_bits` behind
    its point before that. `bit` and `bit_count` take a field out of a word; bit 0 is the lowest.
    `minimum` and `maximum` bound what the instrument can say, in `unit`; `error_values` are raw
    numbers by which it says that it has none. `meanings` names the raw numbers of an enumeration;
    another one is out of range. `rolls_over_at` marks a counter: the raw count at which it starts
    again from zero; with `runs_backwards` it goes down while the flow is reversed. `resolution` is
    the smallest step, in `unit`. A string has `words`; with `identifies` it tells one device from
    another of its model.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    name: str
    address: int
    form: Form
    unit: str
    table: Table = Table.HOLDING
    word_order: WordOrder = WordOrder.BIG
    byte_order: ByteOrder = ByteOrder.BIG
    words: int | None = None
    bit: int | None = None
    bit_count: int | None = None
    fraction_bits: int = 0
    scale: float = 1.0
    offset: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    error_values: tuple[int, ...] = ()
    meanings: dict[int, str] = field(default_factory=dict, hash=False)
    resolution: float | None = None
    rolls_over_at: int | None = None
    runs_backwards: bool = False
    identifies: bool = False

    @property
    def quantity(self) -> Quantity:
        """Return what the register measures, from its unit."""
        return quantity_of(self.unit)

    @property
    def length(self) -> int:
        """Return how many addresses of its table it takes."""
        return self.words or self.form.words

    @property
    def end(self) -> int:
        """Return the first address after the register."""
        return self.address + self.length

    def problems(self) -> list[str]:
        """Return every mistake of sense, one sentence each, naming register and key."""
        here = f"register {self.name!r}"
        found = []
        if not 0 <= self.address <= 65536 - self.length:
            found.append(f"{here}: address {self.address} is outside 0 to 65535")
        try:
            quantity_of(self.unit)
        except ValueError as e:
            found.append(f"{here}: unit: {e}")
        if not math.isfinite(self.scale) or self.scale == 0:
            found.append(f"{here}: scale: expected a finite number other than 0, was {self.scale}")
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low > high:
            found.append(f"{here}: minimum: expected at most {high}, was {low}")
        return found + self._form_problems(here)

    def _form_problems(self, here: str) -> list[str]:
        """Return the mistakes in how the words are to be read."""
        form, order, text = self.form, self.word_order, self.form is Form.STRING
        whole = not (form.is_float or form.is_bcd or text)
        wrong = {
            f"form: expected bit in table {self.table}, was {form}": (
                self.table.is_of_bits and form is not Form.BIT
            ),
            "words: required for a string": text and self.words is None,
            "words: only for a string": not text and self.words is not None,
            f"words: expected 1 to {REGISTERS_PER_READ_MAX}, was {self.words}": (
                text and not 1 <= (self.words or 1) <= REGISTERS_PER_READ_MAX
            ),
            f"word_order: {order} needs four words, not {form}": (
                order not in {WordOrder.BIG, WordOrder.LITTLE} and form.words != 4
            ),
            f"fraction_bits: expected an integer, was {form}": (
                bool(self.fraction_bits) and not whole
            ),
            f"identifies: expected a string or an integer, was {form}": (
                self.identifies and form.is_float
            ),
            "runs_backwards: expected a counter with rolls_over_at": (
                self.runs_backwards and self.rolls_over_at is None
            ),
        }
        found = [f"{here}: {sentence}" for sentence, is_so in wrong.items() if is_so]
        return found + self._field_problems(here)

    def _field_problems(self, here: str) -> list[str]:
        """Return the mistakes in which bits of a word are to be taken."""
        bits = 16 * self.form.words
        takes_field = self.form in _FIELDS and not self.table.is_of_bits
        found = []
        if self.bit_count is not None and not 1 <= self.bit_count <= bits:
            found.append(f"{here}: bit_count: expected 1 to {bits}, was {self.bit_count}")
        elif self.bit is not None and not takes_field:
            found.append(f"{here}: bit: expected an unsigned integer, was {self.form}")
        elif self.bit is not None and not 0 <= self.bit <= bits - self.width:
            found.append(f"{here}: bit: expected 0 to {bits - self.width}, was {self.bit}")
        is_field = self.bit_count is not None or (self.form is Form.BIT and takes_field)
        if self.bit is None and is_field:
            found.append(f"{here}: bit: required to take a field out of a word")
        return found

    @property
    def width(self) -> int:
        """Return how many bits its field has."""
        if self.bit_count is not None:
            return self.bit_count
        return {Form.BIT: 1, Form.UINT8: 8, Form.INT8: 8}.get(self.form, 16 * self.form.words)


_FIELDS = (Form.BIT, Form.UINT8, Form.INT8, Form.UINT16, Form.UINT32, Form.UINT64)
"""What a field of bits may be taken out of; `uint8` and `int8` take `bit` 0 unless they say 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMap:
    """The data sheet of one device model. It wants `pause_ms` after each answer of its own."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    model: str
    description: str
    registers: tuple[Register, ...]
    registers_per_read_max: int = REGISTERS_PER_READ_MAX
    pause_ms: int = 0
    identity: Identity | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)
    settings: tuple[Setting, ...] = ()
    status_bits: tuple[StatusBit, ...] = ()
    bits: tuple[BitCopy, ...] = ()

    def register(self, name: str) -> Register | None:
        """Return the register of that name, or None."""
        return next((r for r in self.registers if r.name == name), None)

    def problems(self) -> list[str]:
        """Return every mistake in the map, one sentence each; empty when there is none."""
        found = []
        names = [r.name for r in self.registers]
        found += [
            f"register name {n!r} is used twice" for n in sorted({*names}) if names.count(n) > 1
        ]
        if not 1 <= self.registers_per_read_max <= REGISTERS_PER_READ_MAX:
            found.append(
                f"registers_per_read_max: expected 1 to {REGISTERS_PER_READ_MAX},"
                f" was {self.registers_per_read_max}"
            )
        if not 0 <= self.pause_ms <= PAUSE_MS_MAX:
            found.append(f"pause_ms: expected 0 to {PAUSE_MS_MAX}, was {self.pause_ms}")
        for r in self.registers:
            found += r.problems()
            longest = self.registers_per_read_max
            if longest > 0 and r.length > longest and not r.table.is_of_bits:
                found.append(
                    f"register {r.name!r}: takes {r.length} registers, but"
                    f" registers_per_read_max is {self.registers_per_read_max}"
                )
        return found + self._device_problems(names)

    def _device_problems(self, names: list[str]) -> list[str]:
        """Return the mistakes in what is said of the device rather than of its registers."""
        taken = {
            a for r in self.registers if r.table is Table.HOLDING for a in (r.address, r.end - 1)
        }
        wanted = [(f"setting {s.name!r}", s.register) for s in self.settings if s.register]
        wanted += [(f"status bit {b.bit}", b.register) for b in self.status_bits]
        wanted += [(f"bit {b.address}", b.register) for b in self.bits]
        known = ", ".join(names)
        found = [
            f"{key}: register: expected one of {known}, was {name!r}"
            for key, name in wanted
            if name not in names
        ]
        for s in self.settings:
            if s.address in taken:
                found.append(f"setting {s.name!r}: address {s.address} is a register's already")
            found += s.problems()
            taken |= {s.address, s.address + s.words - 1}
        return found
