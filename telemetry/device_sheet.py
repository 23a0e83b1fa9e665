"""What a data sheet says of a device itself: its name, its settings, what a power cut does."""

from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """What keeps a device alive."""

    MAINS = "mains"
    BATTERY = "battery"


class Role(StrEnum):
    """What writing a setting changes."""

    UNIT = "unit"
    """The unit id that the device answers to."""
    BAUD = "baud"
    """The speed it answers at, by a code."""
    ZERO = "zero"
    """A number of steps that is taken off what it measures."""
    TOTAL = "total"
    """What its total stands at from now on."""


class Condition(StrEnum):
    """What a device can say of its own state."""

    OVER_RANGE = "over_range"
    UNDER_RANGE = "under_range"
    LOW_BATTERY = "low_battery"
    RESTARTED = "restarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The objects of function 43/14; the first three are basic and obligatory, the others regular.

    Modbus Application Protocol V1.1b3, 6.21.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    vendor: str
    product_code: str
    revision: str
    vendor_url: str = ""
    product_name: str = ""
    model_name: str = ""

    def objects(self) -> tuple[bytes, ...]:
        """Return the objects in the order of their ids."""
        basic = (self.vendor, self.product_code, self.revision)
        regular = (self.vendor_url, self.product_name, self.model_name)
        return tuple(t.encode("ascii", "replace") for t in basic + regular)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a device of the model lives.

    `saves_totals_every_s` is how often it writes its totals where a power cut does not reach them:
    0 is at the cut itself, so that nothing is lost. `counts_unpowered` is for counters that turn
    without power. `busy_ms` is how long it answers "busy" after a setting was written.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    power: Power = Power.MAINS
    saves_totals_every_s: int = 0
    counts_unpowered: bool = False
    turnaround_ms: float = 8.0
    starts_after_ms: int = 0
    busy_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A holding register that a master may write, and what that changes.

    `value` is what it holds as delivered (a unit id: that of the device); `lowest` to `highest` is
    what it takes. `register` names what ZERO and TOTAL adjust; `bauds` the speeds by code from
    `lowest` on. `at_restart` is for what takes effect only when the device starts again.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    name: str
    address: int
    role: Role
    lowest: int
    highest: int
    value: int = 0
    words: int = 1
    register: str = ""
    bauds: tuple[int, ...] = ()
    at_restart: bool = False

    def problems(self) -> list[str]:
        """Return every mistake of sense, one sentence each."""
        found = []
        key = f"setting {self.name!r}"
        if self.role in {Role.ZERO, Role.TOTAL} and not self.register:
            found.append(f"{key}: register: required, as the role is {self.role}")
        if not 0 <= self.address <= 65536 - self.words:
            found.append(f"{key}: address {self.address} is outside 0 to 65535")
        if self.words not in {1, 2}:
            found.append(f"{key}: words: expected 1 or 2, was {self.words}")
        if self.lowest > self.highest:
            found.append(f"{key}: lowest: expected at most {self.highest}, was {self.lowest}")
        if self.role is Role.BAUD and len(self.bauds) != self.highest - self.lowest + 1:
            found.append(
                f"{key}: bauds: expected a speed for each of {self.lowest} to {self.highest},"
                f" found {len(self.bauds)}"
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusBit:
    """One bit of a status register, and what it says."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    register: str
    bit: int
    means: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class BitCopy:
    """A discrete input that says whether a register is other than zero."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  read by pydantic's TypeAdapter

    address: int
    register: str
