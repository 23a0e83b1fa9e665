"""What can go wrong in the field, as data: kinds, the numbers each takes, and one happening."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from telemetry.instant import Instant


class Layer(StrEnum):
    """Which part of the pretend field plays a happening."""

    WATER = "water"
    INSTRUMENT = "instrument"
    WIRE = "wire"


class Truth(StrEnum):
    """What a happening is called in truth.jsonl; `none` is not written there."""

    LEAK = "leak"
    BURST = "burst"
    FAULT = "fault"
    SUPPLY = "supply"
    WORKS = "works"
    CUSTOMER_LEAK = "customer_leak"
    NONE = "none"


class Kind(StrEnum):
    """Everything that can be made to happen, by layer."""

    BURST = "burst"
    LEAK = "leak"
    HYDRANT = "hydrant"
    VALVE_CLOSED = "valve_closed"
    PUMP_TRIP = "pump_trip"
    POWER_FAILURE = "power_failure"
    PRV_SETPOINT = "prv_setpoint"
    TANK_EMPTIED = "tank_emptied"
    LARGE_DEMAND = "large_demand"
    CUSTOMER_LEAK = "customer_leak"
    HOLIDAY = "holiday"
    WEATHER = "weather"

    OFFSET = "offset"
    DRIFT = "drift"
    FLAT = "flat"
    SPIKES = "spikes"
    NOISE = "noise"
    SCALE = "scale"
    SWAPPED_WORDS = "swapped_words"
    FROZEN_COUNTER = "frozen_counter"
    COUNTER_RESET = "counter_reset"
    COUNTER_NEAR_ROLLOVER = "counter_near_rollover"
    REVERSE_FLOW = "reverse_flow"
    METER_REPLACED = "meter_replaced"
    LOW_BATTERY = "low_battery"
    WRONG_CLOCK = "wrong_clock"

    DEAD = "dead"
    SLOW = "slow"
    LATE_REPLY = "late_reply"
    CRC_ERRORS = "crc_errors"
    ECHO = "echo"
    FOREIGN_MASTER = "foreign_master"
    CONVERTER_REBOOT = "converter_reboot"
    ADDRESS_CONFLICT = "address_conflict"
    GARBAGE = "garbage"
    UPLINK_DOWN = "uplink_down"
    PIT_FLOODED = "pit_flooded"
    DOOR_OPEN = "door_open"

    @property
    def layer(self) -> Layer:
        """Return who plays it."""
        return SHEETS[self].layer

    @property
    def truth(self) -> Truth:
        """Return what truth.jsonl calls it."""
        return SHEETS[self].truth

    @property
    def sheet(self) -> "Sheet":
        """Return what it must be told."""
        return SHEETS[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a kind must be told.

    `needs` are numbers without which it cannot happen; `may` has the others with what they are
    when nothing is said. `targets` names what it can happen to, the likeliest first; `town` stands
    for the whole, written as an empty target. `at_once` marks what is over when it has happened.
    """

    layer: Layer
    truth: Truth
    targets: tuple[str, ...]
    needs: tuple[str, ...] = ()
    may: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    at_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One happening: what, from when until when (None: until it is put right), to what, how much.

    `numbers` holds every number of its kind's sheet, those not told at their usual value.
    """

    id: str
    kind: Kind
    begin: Instant
    end: Instant | None = None
    target: str = ""
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def _water(
    truth: Truth, *targets: str, needs: tuple[str, ...] = (), may: Mapping[str, float] | None = None
) -> Sheet:
    return Sheet(layer=Layer.WATER, truth=truth, targets=targets, needs=needs, may=may or {})


def _instrument(
    *needs: str, may: Mapping[str, float] | None = None, at_once: bool = False
) -> Sheet:
    return Sheet(
        layer=Layer.INSTRUMENT,
        truth=Truth.FAULT,
        targets=("point", "device"),
        needs=needs,
        may=may or {},
        at_once=at_once,
    )


def _wire(*targets: str, may: Mapping[str, float] | None = None) -> Sheet:
    return Sheet(layer=Layer.WIRE, truth=Truth.FAULT, targets=targets, may=may or {})


SHEETS: Mapping[Kind, Sheet] = MappingProxyType(
    {
        # Water. m3h is let out at the pressure of the moment it begins (for a leak: of its end).
        Kind.BURST: _water(Truth.BURST, "pipe", "node", needs=("m3h",)),
        Kind.LEAK: _water(Truth.LEAK, "pipe", "node", needs=("m3h",), may={"grow_h": 0.0}),
        Kind.HYDRANT: _water(Truth.WORKS, "node", needs=("m3h",)),
        Kind.VALVE_CLOSED: _water(Truth.WORKS, "link"),
        Kind.PUMP_TRIP: _water(Truth.SUPPLY, "pump", "town"),
        # dark 1: what the mains feed in there is dead as well.
        Kind.POWER_FAILURE: _water(Truth.SUPPLY, "zone", "town", may={"dark": 1.0}),
        Kind.PRV_SETPOINT: _water(Truth.WORKS, "link", needs=("kpa",)),
        Kind.TANK_EMPTIED: _water(Truth.SUPPLY, "tank", "town", may={"m": 0.0}),
        Kind.LARGE_DEMAND: _water(Truth.NONE, "node", needs=("m3h",)),
        # Behind the customer's meter of a node, which counts it.
        Kind.CUSTOMER_LEAK: _water(Truth.CUSTOMER_LEAK, "node", needs=("m3h",)),
        Kind.HOLIDAY: _water(Truth.NONE, "town", may={"factor": 1.0}),
        Kind.WEATHER: _water(Truth.NONE, "town", needs=("factor",)),
        # Instruments. `by`, `size` and `sd` are in the house unit of the point.
        Kind.OFFSET: _instrument("by"),
        Kind.DRIFT: _instrument("per_day"),
        Kind.FLAT: _instrument(),
        Kind.SPIKES: _instrument("per_hour", "size"),
        Kind.NOISE: _instrument("sd"),
        Kind.SCALE: _instrument("factor"),
        Kind.SWAPPED_WORDS: _instrument(),
        Kind.FROZEN_COUNTER: _instrument(),
        Kind.COUNTER_RESET: _instrument(may={"m3": 0.0}, at_once=True),
        Kind.COUNTER_NEAR_ROLLOVER: _instrument(may={"counts": 100.0}, at_once=True),
        Kind.REVERSE_FLOW: _instrument(),
        Kind.METER_REPLACED: _instrument(may={"m3": 0.0}, at_once=True),
        Kind.LOW_BATTERY: _instrument(may={"volts": 3.1}),
        Kind.WRONG_CLOCK: _wire("clock", may={"by_s": 3600.0}),
        # Wires. A late reply comes `seconds` after the request, one request in `one_in`.
        Kind.DEAD: _wire("device", "line"),
        Kind.SLOW: _wire("device", "line", may={"seconds": 0.5}),
        Kind.LATE_REPLY: _wire("device", "line", may={"seconds": 1.5, "one_in": 20.0}),
        Kind.CRC_ERRORS: _wire("line", "device", may={"ratio": 0.05}),
        Kind.ECHO: _wire("line"),
        Kind.FOREIGN_MASTER: _wire("line", may={"per_minute": 12.0}),
        Kind.CONVERTER_REBOOT: _wire("line", may={"seconds": 30.0}),
        Kind.ADDRESS_CONFLICT: _wire("device"),
        Kind.GARBAGE: _wire("line", "device", may={"ratio": 0.05}),
        # Above the wires: the registers are read, but what was read arrives when it ends.
        Kind.UPLINK_DOWN: _wire("town", "zone"),
        # The cabinet that a gateway stands in; told by its own input module.
        Kind.PIT_FLOODED: _wire("cabinet"),
        Kind.DOOR_OPEN: _wire("cabinet"),
    }
)
"""The sheet of every kind."""


def full_numbers(kind: Kind, told: Mapping[str, float]) -> Mapping[str, float]:
    """Return every number of a kind, those not told at their usual value.

    >>> dict(full_numbers(Kind.SLOW, {}))
    {'seconds': 0.5}
    """
    return MappingProxyType({**kind.sheet.may, **told})
