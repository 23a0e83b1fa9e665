"""A Modbus responder: a request in, a reply out, over the images of a device's registers.

Modbus Application Protocol V1.1b3. It shares no line with the library by which the gateway asks, so
that the one cannot hide the other's mistakes.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum

from telemetry.register_map import REGISTERS_PER_READ_MAX

COILS, DISCRETE_INPUTS, HOLDING, INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, IDENTIFY = 5, 6, 15, 16, 43

BITS_PER_READ_MAX = 2000
BITS_PER_WRITE_MAX = 1968
REGISTERS_PER_WRITE_MAX = 123
PDU_MAX = 253

BUSY_FUNCTIONS = (WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, HOLDING, INPUT)
"""What a device that is starting or storing puts off."""

_MEI = 14
_ALL_REGULAR = 0x82
"""Regular identification, as a stream and one by one."""

Images = Mapping[int, dict[int, int]]
"""Words or bits by address, by the function that reads them."""


class Refusal(IntEnum):
    """Exception codes."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4
    BUSY = 6
    NOBODY_BEHIND = 11


class Refused(Exception):
    """Raised while a request is carried out: it becomes an exception reply, never leaves here."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code = code


class Slave:
    """One device's registers, and the answers to what is asked of them.

    `images` may be changed from outside at any time. A write goes to `on_write(table, address,
    values)`, which stores it, or raises `Refused`; without it every write is an illegal function.
    """

    def __init__(
        self,
        images: Images,
        *,
        identity: Sequence[bytes] = (),
        on_write: Callable[[int, int, tuple[int, ...]], None] | None = None,
        registers_per_read_max: int = REGISTERS_PER_READ_MAX,
    ) -> None:
        self._images = images
        self._identity = identity
        self._on_write = on_write
        self._words_max = registers_per_read_max

    def answer(self, pdu: bytes) -> bytes:
        """Return the reply to a request, both without unit and checksum."""
        function = pdu[0] if pdu else 0
        try:
            return self._answer(function, pdu)
        except Refused as e:
            return refusal(function, e.code)

    def _answer(self, function: int, pdu: bytes) -> bytes:
        match function:
            case 3 | 4:
                return self._words(function, pdu)
            case 1 | 2:
                return self._bits(function, pdu)
            case 6 | 16 if self._on_write is not None:
                return self._write_words(function, pdu, self._on_write)
            case 5 | 15 if self._on_write is not None and self._images.get(COILS):
                return self._write_bits(function, pdu, self._on_write)
            case 43 if self._identity:
                return self._identified(pdu)
            case _:
                raise Refused(Refusal.ILLEGAL_FUNCTION)

    def _words(self, function: int, pdu: bytes) -> bytes:
        image = self._image(function)
        address, count = _pair(pdu, count_max=self._words_max)
        try:
            words = [image[a] for a in range(address, address + count)]
        except KeyError:
            raise Refused(Refusal.ILLEGAL_ADDRESS) from None
        return struct.pack(f">BB{count}H", function, 2 * count, *words)

    def _bits(self, function: int, pdu: bytes) -> bytes:
        image = self._image(function)
        address, count = _pair(pdu, count_max=BITS_PER_READ_MAX)
        try:
            bits = sum(1 << n for n in range(count) if image[address + n])
        except KeyError:
            raise Refused(Refusal.ILLEGAL_ADDRESS) from None
        octets = (count + 7) // 8
        return bytes((function, octets)) + bits.to_bytes(octets, "little")

    def _write_words(
        self, function: int, pdu: bytes, write: Callable[[int, int, tuple[int, ...]], None]
    ) -> bytes:
        if function == WRITE_REGISTER:
            if len(pdu) != 5:
                raise Refused(Refusal.ILLEGAL_VALUE)
            address, *words = struct.unpack(">HH", pdu[1:])
        else:
            address, count = _counted(pdu, count_max=REGISTERS_PER_WRITE_MAX)
            if pdu[5] != 2 * count or len(pdu) != 6 + 2 * count:
                raise Refused(Refusal.ILLEGAL_VALUE)
            words = list(struct.unpack(f">{count}H", pdu[6:]))
        self._refuse_absent(HOLDING, address, len(words))
        write(HOLDING, address, tuple(words))
        return pdu[:5]

    def _write_bits(
        self, function: int, pdu: bytes, write: Callable[[int, int, tuple[int, ...]], None]
    ) -> bytes:
        if function == WRITE_COIL:
            if len(pdu) != 5 or pdu[3:] not in {b"\xff\x00", b"\x00\x00"}:
                raise Refused(Refusal.ILLEGAL_VALUE)
            address, bits = int.from_bytes(pdu[1:3], "big"), [int(pdu[3] == 0xFF)]
        else:
            address, count = _counted(pdu, count_max=BITS_PER_WRITE_MAX)
            octets = (count + 7) // 8
            if pdu[5] != octets or len(pdu) != 6 + octets:
                raise Refused(Refusal.ILLEGAL_VALUE)
            packed = int.from_bytes(pdu[6:], "little")
            bits = [packed >> n & 1 for n in range(count)]
        self._refuse_absent(COILS, address, len(bits))
        write(COILS, address, tuple(bits))
        return pdu[:5]

    def _identified(self, pdu: bytes) -> bytes:
        if pdu[1:2] != bytes((_MEI,)):
            raise Refused(Refusal.ILLEGAL_FUNCTION)
        if len(pdu) != 4 or pdu[2] not in {1, 2, 3, 4}:
            raise Refused(Refusal.ILLEGAL_VALUE)
        how = pdu[2]
        wanted = self._objects(how, first=pdu[3])
        body, told = b"", 0
        for n in wanted:
            text = self._identity[n][: PDU_MAX - 9]
            if len(body) + 2 + len(text) > PDU_MAX - 7:
                break
            body += bytes((n, len(text))) + text
            told += 1
        more = told < len(wanted)
        following = wanted[told] if more else 0
        head = (IDENTIFY, _MEI, how, _ALL_REGULAR, 0xFF if more else 0, following, told)
        return bytes(head) + body

    def _objects(self, how: int, *, first: int) -> range:
        if how == 4:  # one of them
            if first >= len(self._identity):
                raise Refused(Refusal.ILLEGAL_ADDRESS)
            return range(first, first + 1)
        end = min(3, len(self._identity)) if how == 1 else len(self._identity)
        # An unknown object in a stream means: from the beginning.
        return range(first if first < end else 0, end)

    def _image(self, function: int) -> dict[int, int]:
        image = self._images.get(function)
        if not image and function in {COILS, DISCRETE_INPUTS}:
            raise Refused(Refusal.ILLEGAL_FUNCTION)
        return image or {}

    def _refuse_absent(self, function: int, address: int, count: int) -> None:
        image = self._images.get(function) or {}
        if any(a not in image for a in range(address, address + count)):
            raise Refused(Refusal.ILLEGAL_ADDRESS)


def refusal(function: int, code: Refusal) -> bytes:
    """Return the exception reply to a request of that function."""
    return bytes((function & 0x7F | 0x80, code))


def _pair(pdu: bytes, *, count_max: int) -> tuple[int, int]:
    """Return address and count of a reading request."""
    if len(pdu) != 5:
        raise Refused(Refusal.ILLEGAL_VALUE)
    address, count = struct.unpack(">HH", pdu[1:])
    if not 1 <= count <= count_max:
        raise Refused(Refusal.ILLEGAL_VALUE)
    return address, count


def _counted(pdu: bytes, *, count_max: int) -> tuple[int, int]:
    """Return address and count of a request that writes several."""
    if len(pdu) < 7:
        raise Refused(Refusal.ILLEGAL_VALUE)
    address, count = struct.unpack(">HH", pdu[1:5])
    if not 1 <= count <= count_max:
        raise Refused(Refusal.ILLEGAL_VALUE)
    return address, count
