"""What a fitter wants to see of raw words, and which speeds and units are worth trying."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ORDERS = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}
"""The four orders in which devices send the octets ABCD of a number of two words."""

BAUDS = (9600, 19200, 38400, 115200, 57600, 4800, 2400, 1200)
PARITIES = ("none", "even", "odd")
"""In the order in which they are met in the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading4:
    """Two words read in one order: as a float, and as whole numbers with and without a sign."""

    order: str
    float32: float
    int32: int
    uint32: int


def four_orders(words: Sequence[int]) -> list[Reading4]:
    """Return two words as each of the four orders spells them.

    >>> [round(r.float32, 2) for r in four_orders((0x438C, 0xC000))][:2]
    [281.5, -2.0]
    """
    octets = struct.pack(">HH", *words)
    found = []
    for order, places in ORDERS.items():
        ordered = bytes(octets[n] for n in places)
        (as_float,), (signed,), (unsigned,) = (
            struct.unpack(form, ordered) for form in (">f", ">i", ">I")
        )
        found.append(Reading4(order=order, float32=as_float, int32=signed, uint32=unsigned))
    return found


def settings_to_try(baud: int | None, parity: str | None) -> Iterator[tuple[int, str]]:
    """Return speeds and parities, the usual ones first; one that is given is not varied.

    >>> list(settings_to_try(9600, None))
    [(9600, 'none'), (9600, 'even'), (9600, 'odd')]
    """
    for one_baud in BAUDS if baud is None else (baud,):
        for one_parity in PARITIES if parity is None else (parity,):
            yield one_baud, one_parity


def units_of(text: str) -> list[int]:
    """Return the units that a text such as `1-10,17` names. Raises `ValueError`.

    >>> units_of("1-3,17")
    [1, 2, 3, 17]
    """
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    if not found or not all(1 <= unit <= 247 for unit in found):
        raise ValueError(f"expected units in 1 to 247, was {text!r}")
    return list(dict.fromkeys(found))
