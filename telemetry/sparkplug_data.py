"""The hot path of the codec: a device's samples as a DDATA, the bytes that `encode` writes.

A gateway encodes thousands of samples a second, and nearly all are good, synchronised and share an
instant with their neighbours. Those are put together from parts; the others go through `encode`.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from telemetry.extension import EPOCH, OFFSET, PAYLOAD_MAX
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality, Sample, TimeQuality
from telemetry.sparkplug import INSTANT_MAX, METRICS_MAX, Metric, Payload, encode

_METRICS = b"\x12"
_NAME = b"\x0a"
_TIMESTAMP = b"\x18"
_IS_HISTORICAL = b"\x28\x01"
_LONG_VALUE = b"\x58"
_DOUBLE_VALUE = b"\x69"

_double = struct.Struct("<d").pack
_GOOD, _SYNCHRONISED = Quality.GOOD, TimeQuality.SYNCHRONISED


def varint(number: int) -> bytes:
    """Return a whole number as protobuf writes it.

    >>> varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


_LENGTHS = [varint(n) for n in range(1024)]


@lru_cache(maxsize=20_000)
def _head(name: str) -> bytes:
    """Return the name of a metric and the tag of the timestamp that follows it."""
    text = name.encode()
    return _NAME + varint(len(text)) + text + _TIMESTAMP


def encode_data(
    samples: Sequence[Sample],
    names: Mapping[PointId, str],
    *,
    seq: int,
    epoch: int,
    offset: int,
    at: Instant,
    is_historical: bool,
    described: Callable[[Sample], Metric],
) -> bytes:
    """Return the DDATA of samples with consecutive offsets, `described` telling what is not plain.

    Raises `ValueError` for what the contract does not allow us to send.
    """
    if len(samples) > METRICS_MAX - 2:
        raise ValueError(f"expected at most {METRICS_MAX - 2} samples, were {len(samples)}")
    now = _instant(at)
    parts = [b"\x08", now, _whole(EPOCH, epoch, now), _whole(OFFSET, offset, now)]
    add = parts.append
    last = Instant(-1)
    middle = b""
    for s in samples:
        if s.quality is _GOOD and s.time_quality is _SYNCHRONISED:
            if s.at != last:
                last = s.at
                middle = _instant(last) + (_IS_HISTORICAL if is_historical else b"") + _DOUBLE_VALUE
            head = _head(names[s.point])
            add(_METRICS)
            add(_LENGTHS[len(head) + len(middle) + 8])
            add(head)
            add(middle)
            add(_double(s.value))
        else:
            alone = Payload(timestamp=None, metrics=(described(s),))
            add(encode(alone, with_datatypes=False))
    parts += (b"\x18", varint(seq))
    data = b"".join(parts)
    if len(data) > PAYLOAD_MAX:
        raise ValueError(f"expected a payload of at most {PAYLOAD_MAX} bytes, was {len(data)}")
    return data


def _whole(name: str, number: int, now: bytes) -> bytes:
    body = _head(name) + now + _LONG_VALUE + varint(number)
    return _METRICS + varint(len(body)) + body


def _instant(at: Instant) -> bytes:
    if not 0 <= at <= INSTANT_MAX:
        raise ValueError(f"expected an instant in 0 to {INSTANT_MAX} ms, was {at}")
    return varint(at)
