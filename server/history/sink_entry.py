"""The form of one entry of the sink's queue: samples column by column, compressed."""

import json
import math
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise

from server.history.line_protocol import Row
from telemetry.errors import StorageError

_LEVEL = 1
_HEAD_BYTES = 4


def pack(
    points: Sequence[str],
    at: Sequence[int],
    values: Sequence[float | None],
    qualities: Sequence[int],
) -> bytes:
    """Return the bytes of some samples; only this machine reads them back."""
    numbers: dict[str, int] = {}
    which = array("I", [numbers.setdefault(p, len(numbers)) for p in points])
    steps = array("q", [at[0], *(b - a for a, b in pairwise(at))])
    floats = array("d", [math.nan if v is None else v for v in values])
    head = json.dumps(list(numbers), ensure_ascii=False).encode()
    body = (
        len(head).to_bytes(_HEAD_BYTES, "big"),
        head,
        which.tobytes(),
        steps.tobytes(),
        floats.tobytes(),
        bytes(qualities),
    )
    return zlib.compress(b"".join(body), _LEVEL)


def unpack(payload: bytes) -> list[Row]:
    """Return the samples of an entry. Raises `StorageError` when its bytes are damaged."""
    try:
        body = zlib.decompress(payload)
        start = _HEAD_BYTES + int.from_bytes(body[:_HEAD_BYTES], "big")
        points = json.loads(body[_HEAD_BYTES:start])
        n = (len(body) - start) // 21
        which, steps, floats = array("I"), array("q"), array("d")
        for column in (which, steps, floats):
            end = start + n * column.itemsize
            column.frombytes(body[start:end])
            start = end
        return [
            (points[p], at, None if math.isnan(v) else v, q)
            for p, at, v, q in zip(which, accumulate(steps), floats, body[start:], strict=True)
        ]
    except (zlib.error, ValueError, IndexError) as e:
        raise StorageError(f"an entry of the sink's queue is damaged: {e}") from e
