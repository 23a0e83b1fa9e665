"""Small recordings of our own making, and what tests ask of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

AT = 1_790_000_000_000  # 2026-09-21T14:13:20Z
MINUTE = 60_000

HEAD = """
[recording]
version = 1
name = "two streets"
source = "made up"
licence = "Apache-2.0"
timezone = "Asia/Shanghai"
calendar = "cn"
from = 2026-09-21T14:00:00Z
to = 2026-09-22T14:00:00Z
cadence_s = 60
"""

ZONES = """
[[zone]]
id = "north"
name = "North"
kind = "dma"
inflow = [{ point = "inlet/flow", sign = 1 }]
storage = [{ point = "tower/level", area_m2 = 80.0 }]
"""

POINTS = """
[[point]]
id = "street/pressure"
zone = "north"
quantity = "pressure"
unit = "bar"
limits = { low = 1.4, high = 6.0 }

[[point]]
id = "inlet/flow"
zone = "north"
quantity = "flow"
unit = "m3/h"

[[point]]
id = "tower/level"
zone = "north"
quantity = "level"
unit = "m"
period_s = 300
"""

Sample = dict[str, Any]


def sample(
    point: str, minute: float, value: float | None, quality: int = 192, **more: Any
) -> Sample:
    """Return one row of a file of samples."""
    at = round(AT + minute * MINUTE)
    return {"at": at, "point": point, "value": value, "quality": quality, **more}


def table(rows: Sequence[Sample]) -> pa.Table:
    """Return rows as a file of samples holds them."""
    stamp = pa.timestamp("ms", "UTC")
    kinds = {"at": stamp, "arrived_at": stamp, "value": pa.float64(), "quality": pa.uint8()}
    kinds |= {"epoch": pa.int64(), "offset": pa.int64()}
    names = list(rows[0])
    columns = []
    for name in names:
        column = pa.array([r[name] for r in rows], kinds.get(name, pa.string()))
        columns.append(column if name in kinds else column.dictionary_encode())
    return pa.table(columns, names=names)


def recording(
    folder: Path, days: dict[str, Sequence[Sample]], *, toml: str = HEAD + ZONES + POINTS, **options
) -> Path:
    """Write a recording and return its folder."""
    (folder / "samples").mkdir(parents=True)
    (folder / "recording.toml").write_text(toml, encoding="utf-8")
    for name, rows in days.items():
        pq.write_table(table(rows), folder / "samples" / f"{name}.parquet", **options)
    return folder


def lines(path: Path, *rows: dict[str, Any]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
