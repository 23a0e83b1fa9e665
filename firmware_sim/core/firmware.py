"""What lives in a device besides its sensor: settings, status, totals over power cuts, identity.

What differs between models is in their data sheets; this is what all of them do alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_sim.core.encode import (
    Words,
    own_bits,
    raw_of,
    raw_words,
    resting_words,
    text_words,
    words,
)
from firmware_sim.core.slave import (
    BUSY_FUNCTIONS,
    COILS,
    DISCRETE_INPUTS,
    HOLDING,
    INPUT,
    Refusal,
    Refused,
    Slave,
    refusal,
)
from telemetry.device_sheet import Condition, Power, Role, Setting
from telemetry.instant import SECOND_MS, Instant
from telemetry.register_map import Form, Register, RegisterMap, Table
from telemetry.units import Quantity

_FUNCTIONS = {
    Table.HOLDING: HOLDING,
    Table.INPUT: INPUT,
    Table.COIL: COILS,
    Table.DISCRETE: DISCRETE_INPUTS,
}
_FLOATS = (Form.FLOAT16, Form.FLOAT32, Form.FLOAT64)


@dataclass(slots=True)
class _Total:
    """A counter: what has passed, what of that was never counted, and what is safely written down.

    All in raw counts. What it shows is `true - lost`.
    """

    register: Register
    true: float = 0
    lost: float = 0
    saved: float = 0
    saved_at: Instant | None = None
    is_resuming: bool = False

    @property
    def shown(self) -> float:
        return self._turned(self.true - self.lost)

    def move(self, true: float, at: Instant | None, *, every_ms: int) -> None:
        """Take in what has passed, and write it down when that is due."""
        if self.is_resuming:
            self.lost = self._turned(true - self.saved)
            self.is_resuming = False
        self.true = true
        is_due = (
            at is None
            or not every_ms
            or self.saved_at is None
            or at // every_ms != self.saved_at // every_ms
        )
        if is_due:
            self.saved, self.saved_at = self.shown, at

    def preset(self, shown: float) -> None:
        """Stand at `shown` from now on."""
        self.lost = self._turned(self.true - shown)
        self.saved = shown

    def _turned(self, raw: float) -> float:
        if self.register.form in _FLOATS:
            return raw
        return raw % (self.register.rolls_over_at or 1 << 16 * self.register.form.words)


class Firmware:
    """One device: what its registers hold, and its answers."""

    def __init__(self, sheet: RegisterMap, *, unit: int, baud: int = 0) -> None:
        self.sheet = sheet
        self.unit = unit
        self.baud = baud
        """The speed it answers at; 0 behind a converter, where speed does not matter."""
        self.is_powered = True
        self._images: dict[int, dict[int, int]] = {HOLDING: {}, INPUT: {}, COILS: {}}
        self._images[DISCRETE_INPUTS] = {b.address: 0 for b in sheet.bits}
        for (table, address), word in resting_words(sheet).items():
            self._images[_FUNCTIONS[table]][address] = word
        self._conditions: dict[Condition, bool] = {}
        self._totals = {r.name: _Total(r) for r in sheet.registers if r.quantity is Quantity.VOLUME}
        self._zeros: dict[str, int] = {}
        self._places = {(r.table, r.address): r for r in sheet.registers}
        self._ready_s = 0.0
        self._awaiting_restart: list[tuple[Setting, int]] = []
        self._just_written = False
        for setting in sheet.settings:
            self._put(setting, self._delivered(setting))
        self._slave = Slave(
            self._images,
            identity=sheet.identity.objects() if sheet.identity is not None else (),
            on_write=self._write if sheet.settings else None,
            registers_per_read_max=sheet.registers_per_read_max,
        )

    @property
    def is_mains_powered(self) -> bool:
        """Say whether a power failure kills it."""
        return self.sheet.behaviour.power is Power.MAINS

    def answer(self, pdu: bytes, *, now_s: float) -> bytes | None:
        """Return the reply to a request at a monotonic time, or None from a dead device."""
        if not self.is_powered:
            return None
        if now_s < self._ready_s and pdu and pdu[0] in BUSY_FUNCTIONS:
            return refusal(pdu[0], Refusal.BUSY)
        reply = self._slave.answer(pdu)
        if self._just_written:
            self._just_written = False
            self._ready_s = now_s + self.sheet.behaviour.busy_ms / 1000
        elif self._conditions.get(Condition.RESTARTED) and self._tells_status(pdu):
            self.set_condition(Condition.RESTARTED, on=False)
        return reply

    def show(self, *, table: Table, address: int, words: Words, at: Instant | None = None) -> Words:
        """Measure: put words into the registers as the device would. Return what it holds then."""
        return self._show(self._places[table, address], words, at)

    def _show(self, register: Register, words: Words, at: Instant | None) -> Words:
        shown = self._measured(register, words, at)
        address, image = register.address, self._images[_FUNCTIONS[register.table]]
        if self.is_powered:
            mask = own_bits(register)
            for n, word in enumerate(shown):
                # A field leaves the other bits of its word to other registers.
                others = image[address + n] & ~mask if len(shown) == 1 else 0
                image[address + n] = others | word
            self._note_stops(register, shown)
            self._copy_bits(register)
        return tuple(image[a] for a in range(register.address, register.end))

    def show_text(self, name: str, text: str) -> None:
        """Let a string register hold a text, a serial number for instance."""
        register = self.sheet.register(name)
        assert register is not None
        for n, word in enumerate(text_words(text, register)):
            self._images[_FUNCTIONS[register.table]][register.address + n] = word

    def show_values(self, values: Mapping[str, float], *, at: Instant | None = None) -> None:
        """Measure several registers, by name, in house units."""
        for name, value in values.items():
            register = self.sheet.register(name)
            assert register is not None
            self._show(register, words(value, register), at)

    def set_condition(self, condition: Condition, *, on: bool) -> None:
        """Let the device know something of itself; it shows in its status bits, if it has any."""
        self._conditions[condition] = on
        for b in self.sheet.status_bits:
            if b.means is condition:
                register = self.sheet.register(b.register)
                assert register is not None
                image = self._images[_FUNCTIONS[register.table]]
                image[register.address] = image[register.address] & ~(1 << b.bit) | on << b.bit

    def power_off(self) -> None:
        """Cut the power: what is not written down is forgotten."""
        self.is_powered = False

    def power_on(self, *, now_s: float = 0.0) -> None:
        """Give the power back: totals go on from what was written down, settings take effect."""
        if self.is_powered:
            return
        self.is_powered = True
        self._ready_s = now_s + self.sheet.behaviour.starts_after_ms / 1000
        if not self.sheet.behaviour.counts_unpowered:
            for total in self._totals.values():
                total.is_resuming = True
        for setting, value in self._awaiting_restart:
            self._take(setting, value)
        self._awaiting_restart.clear()
        self.set_condition(Condition.RESTARTED, on=True)

    def _measured(self, register: Register, found: Words, at: Instant | None) -> Words:
        total = self._totals.get(register.name)
        if total is not None:
            if not self.is_powered:
                return found
            every_ms = self.sheet.behaviour.saves_totals_every_s * SECOND_MS
            total.move(raw_of(found, register), at, every_ms=every_ms)
            return raw_words(total.shown, register)
        steps = self._zeros.get(register.name)
        if steps:
            step = (register.resolution or register.scale) / register.scale
            return raw_words(raw_of(found, register) - steps * step, register)
        if any(b.register == register.name for b in self.sheet.status_bits):
            return tuple(self._own_status(register))
        return found

    def _own_status(self, register: Register) -> list[int]:
        image = self._images[_FUNCTIONS[register.table]]
        return [image[a] for a in range(register.address, register.end)]

    def _note_stops(self, register: Register, shown: Words) -> None:
        """Know whether what is measured stands at a stop of the instrument."""
        if register.quantity is Quantity.STATE or register.name in self._totals:
            return
        value = raw_of(shown, register) * register.scale + register.offset
        half = (register.resolution or register.scale) / 2
        for stop, condition in (
            (register.maximum, Condition.OVER_RANGE),
            (register.minimum, Condition.UNDER_RANGE),
        ):
            is_at = stop is not None and abs(value - stop) < half
            if is_at != self._conditions.get(condition, False):
                self.set_condition(condition, on=is_at)

    def _copy_bits(self, register: Register) -> None:
        for b in self.sheet.bits:
            if b.register == register.name:
                word = self._images[_FUNCTIONS[register.table]][register.address]
                self._images[DISCRETE_INPUTS][b.address] = int(word != 0)

    def _tells_status(self, pdu: bytes) -> bool:
        """Say whether a request has read the status."""
        if pdu[0] not in {HOLDING, INPUT}:
            return False
        first = int.from_bytes(pdu[1:3], "big")
        end = first + int.from_bytes(pdu[3:5], "big")
        registers = (self.sheet.register(b.register) for b in self.sheet.status_bits)
        return any(
            r is not None and _FUNCTIONS[r.table] == pdu[0] and first <= r.address < end
            for r in registers
        )

    # Settings.

    def _write(self, table: int, address: int, written: tuple[int, ...]) -> None:
        """Carry out a write of whole settings, all of them or none. Raises `Refused`."""
        if table != HOLDING:
            raise Refused(Refusal.ILLEGAL_ADDRESS)
        wanted: list[tuple[Setting, int]] = []
        at, end = address, address + len(written)
        while at < end:
            setting = next((s for s in self.sheet.settings if s.address == at), None)
            if setting is None or at + setting.words > end:
                raise Refused(Refusal.ILLEGAL_ADDRESS)
            part = written[at - address : at - address + setting.words]
            wanted.append((setting, _number(part, signed=setting.lowest < 0)))
            at += setting.words
        if any(not s.lowest <= value <= s.highest for s, value in wanted):
            raise Refused(Refusal.ILLEGAL_VALUE)
        for setting, value in wanted:
            self._put(setting, value)
            if setting.at_restart:
                self._awaiting_restart.append((setting, value))
            else:
                self._take(setting, value)
        self._just_written = True

    def _take(self, setting: Setting, value: int) -> None:
        """Let a setting have its effect."""
        match setting.role:
            case Role.UNIT:
                self.unit = value
            case Role.BAUD:
                if self.baud:
                    self.baud = setting.bauds[value - setting.lowest]
            case Role.ZERO:
                self._zeros[setting.register] = value
            case Role.TOTAL:
                total = self._totals[setting.register]
                total.preset(value)
                r = total.register
                image = self._images[_FUNCTIONS[r.table]]
                for n, word in enumerate(raw_words(total.shown, r)):
                    image[r.address + n] = word

    def _put(self, setting: Setting, value: int) -> None:
        octets = value.to_bytes(2 * setting.words, "big", signed=value < 0)
        for n in range(setting.words):
            self._images[HOLDING][setting.address + n] = int.from_bytes(
                octets[2 * n : 2 * n + 2], "big"
            )

    def _delivered(self, setting: Setting) -> int:
        match setting.role:
            case Role.UNIT:
                return self.unit
            case Role.BAUD if self.baud in setting.bauds:
                return setting.lowest + setting.bauds.index(self.baud)
            case _:
                return setting.value


def _number(part: tuple[int, ...], *, signed: bool) -> int:
    octets = b"".join(word.to_bytes(2, "big") for word in part)
    return int.from_bytes(octets, "big", signed=signed)
