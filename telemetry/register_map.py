"""A device model's data sheet as types: which register holds what, in which form and unit.

The simulator encodes by it and the gateway decodes by it, with two codecs written apart on purpose;
golden words hold both to the data sheet. Files are `configs/devices/<model>.toml`. What a sheet
says of the device itself (identity, settings, power cuts) is in telemetry/device_sheet.py; the
gateway reads the registers only.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from telemetry.device_sheet import Behaviour, BitCopy, Identity, Setting, StatusBit
from telemetry.units import Quantity, quantity_of

REGISTERS_PER_READ_MAX = 125
"""Modbus Application Protocol V1.1b3, 6.3: quantity of registers 1 to 125."""


class Table(StrEnum):
    """Which of the two word tables a register is in."""

    HOLDING = "holding"
    INPUT = "input"


class Form(StrEnum):
    """How words spell a number."""

    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    FLOAT32 = "float32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT64 = "float64"

    @property
    def words(self) -> int:
        """Return how many 16-bit registers the form takes."""
        return int("".join(c for c in self.value if c.isdigit())) // 16


class WordOrder(StrEnum):
    """In which order the words of a number follow each other; each word is big-endian."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One quantity in one or more registers.

    The number in `unit` is `raw * scale + offset`. `minimum` and `maximum` bound what the
    instrument can say, in `unit`. `rolls_over_at` marks a counter: the raw count at which it starts
    again from zero. `resolution` is the smallest step, in `unit`.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    name: str
    address: int
    form: Form
    unit: str
    table: Table = Table.HOLDING
    word_order: WordOrder = WordOrder.BIG
    scale: float = 1.0
    offset: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    resolution: float | None = None
    rolls_over_at: int | None = None

    @property
    def quantity(self) -> Quantity:
        """Return what the register measures, from its unit."""
        return quantity_of(self.unit)

    @property
    def end(self) -> int:
        """Return the first address after the register."""
        return self.address + self.form.words


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMap:
    """The data sheet of one device model."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    model: str
    description: str
    registers: tuple[Register, ...]
    registers_per_read_max: int = REGISTERS_PER_READ_MAX
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
        for r in self.registers:
            if not 0 <= r.address <= 65536 - r.form.words:
                found.append(f"register {r.name!r}: address {r.address} is outside 0 to 65535")
            try:
                quantity_of(r.unit)
            except ValueError as e:
                found.append(f"register {r.name!r}: unit: {e}")
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
