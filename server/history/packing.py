"""Columns of numbers as bytes: plain while they are young, compressed once they lie still."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def _zstd() -> Any:
    """Return the codec; 36 MB that nobody needs who reads only what is young."""
    from pyarrow import Codec  # noqa: PLC0415  as above

    return Codec("zstd", compression_level=5)


def join(columns: Sequence[Array]) -> bytes:
    """Return the columns one after the other, as they are."""
    return b"".join([np.ascontiguousarray(c).tobytes() for c in columns])


def split(body: bytes, kinds: Sequence[str], rows: int) -> list[Array]:
    """Return the columns that `join` was given. Raises `ValueError` when bytes are missing."""
    sizes = [rows * np.dtype(kind).itemsize for kind in kinds]
    if len(body) != sum(sizes):
        raise ValueError(f"expected {sum(sizes)} bytes, were {len(body)}")
    found, begin = [], 0
    for kind, size in zip(kinds, sizes, strict=True):
        found.append(np.frombuffer(body, kind, rows, begin))
        begin += size
    return found


def squeeze(columns: Sequence[Array]) -> bytes:
    """Compress columns: whole numbers as differences, their bytes side by side; then zstd.

    >>> body = squeeze([np.arange(1000), np.full(1000, 0.5)])
    >>> len(body) < 100
    True
    >>> [c[-1].item() for c in expand(body, ["<i8", "<f8"], 1000)]
    [999, 0.5]
    """
    parts = []
    for column in columns:
        if column.dtype.kind == "f":
            parts.append(column.tobytes())
            continue
        steps = np.diff(column, prepend=column.dtype.type(0))
        parts.append(steps.view("u1").reshape(len(steps), column.itemsize).T.tobytes())
    packed: bytes = _zstd().compress(b"".join(parts), asbytes=True)
    return packed


def expand(body: bytes, kinds: Sequence[str], rows: int) -> list[Array]:
    """Return the columns that `squeeze` was given. Raises `ValueError` when they are damaged."""
    size = rows * sum(np.dtype(kind).itemsize for kind in kinds)
    codec = _zstd()
    from pyarrow import ArrowException  # noqa: PLC0415  it has just been loaded

    try:
        plain: bytes = codec.decompress(body, decompressed_size=size, asbytes=True)
    except (ArrowException, OSError) as e:
        raise ValueError(f"cannot be decompressed: {e}") from e
    found, begin = [], 0
    for kind in kinds:
        dtype = np.dtype(kind)
        stretch = plain[begin : begin + rows * dtype.itemsize]
        begin += len(stretch)
        if dtype.kind == "f":
            found.append(np.frombuffer(stretch, dtype))
            continue
        steps = np.frombuffer(stretch, "u1").reshape(dtype.itemsize, rows).T
        found.append(np.cumsum(np.ascontiguousarray(steps).view(dtype).ravel(), dtype=dtype))
    return found
