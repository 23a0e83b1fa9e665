"""Reads a recording (docs/recordings.md): its name, and its samples day by day."""

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from telemetry.errors import ConfigError
from telemetry.sample import Quality

Row = tuple[str, int, float | None, int]
"""Point, instant, value in the house unit or None, quality."""

COLUMNS = ("at", "point", "value", "quality")


def name_of(folder: Path) -> str:
    """Return the name of a recording. Raises `ConfigError` when the folder is none."""
    path = folder / "recording.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["recording"]["name"])
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected the head of a recording, found none") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except (KeyError, TypeError):
        raise ConfigError(f"{path}: expected the key recording.name, found none") from None


def days(folder: Path) -> Iterator[tuple[Row, ...]]:
    """Yield the samples of each file of a recording, in the order of their names and rows.

    Raises `ConfigError` naming the file that is not as it should be.
    """
    import pyarrow as pa  # noqa: PLC0415  170 MB that a server without an import does not need
    import pyarrow.parquet as pq  # noqa: PLC0415

    for path in sorted((folder / "samples").glob("*.parquet")):
        try:
            table = pq.read_table(path, columns=list(COLUMNS))
            instants = table["at"].cast(pa.timestamp("ms", "UTC"), safe=False)
            at: list[Any] = instants.cast(pa.int64()).to_pylist()
            points: list[Any] = table["point"].cast(pa.string()).to_pylist()
            values: list[Any] = table["value"].cast(pa.float64()).to_pylist()
            quality: list[Any] = table["quality"].cast(pa.uint8()).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as e:
            raise ConfigError(f"{path}: expected Parquet with {', '.join(COLUMNS)}: {e}") from e
        if None in at or None in points or None in quality:
            raise ConfigError(f"{path}: expected an instant, a point and a quality in every row")
        usable = [
            None if q == Quality.BAD or v is None or not math.isfinite(v) else v
            for v, q in zip(values, quality, strict=True)
        ]
        yield tuple(zip(points, at, usable, quality, strict=True))
