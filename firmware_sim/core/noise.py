"""Chance without state: numbers that depend on a key and a count only, so history meets live."""

from typing import NewType

import numpy as np
import numpy.typing as npt

Key = NewType("Key", int)
"""What tells one stream of chance from another; 64 bits."""

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(seed: int, name: str) -> Key:
    """Return the key of the stream called `name` under `seed`."""
    state = _mixed(seed & _MASK)
    for byte in name.encode():
        state = _mixed(state ^ byte)
    return Key(state)


def uniform(key: Key, n: int) -> float:
    """Return the `n`-th number of a stream, evenly spread over 0 to 1, 1 excluded."""
    return (_mixed(key + n * 0x9E3779B97F4A7C15) >> 11) / 9007199254740992.0


def bell(key: Key, n: int) -> float:
    """Return the `n`-th number of a stream, near normal with mean 0 and deviation 1.

    The sum of four even 16-bit numbers: never beyond 3.47, as real instruments have stops too.
    """
    bits = _mixed(key + n * 0x9E3779B97F4A7C15)
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total - 131070) * 2.6429e-05


def smooth(key: Key, at: int, period: int) -> float:
    """Return a smooth random course at `at`, with a fresh bell-shaped number every `period`."""
    n, rest = divmod(at, period)
    f = rest / period
    here = bell(key, n)
    return here + (bell(key, n + 1) - here) * f * f * (3.0 - 2.0 * f)


def smooth_each(
    keys: npt.NDArray[np.uint64], at: int, periods: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return `smooth` of many streams at once; `periods` is one for each column of `keys`."""
    n = at // periods
    f = (at - n * periods) / periods
    here, there = (_bells(keys, k.astype(np.uint64)) for k in (n, n + 1))
    found: npt.NDArray[np.float64] = here + (there - here) * f * f * (3.0 - 2.0 * f)
    return found


def _bells(keys: npt.NDArray[np.uint64], n: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    bits = keys + (n + np.uint64(1)) * _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    parts = [(bits >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    total = (parts[0] + parts[1] + parts[2] + parts[3]).astype(np.float64)
    found: npt.NDArray[np.float64] = (total - 131070.0) * 2.6429e-05
    return found


def _mixed(n: int) -> int:
    """Return 64 well-mixed bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    n = (n + 0x9E3779B97F4A7C15) & _MASK
    n = ((n ^ (n >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    n = ((n ^ (n >> 27)) * 0x94D049BB133111EB) & _MASK
    return n ^ (n >> 31)
