"""How right are real losses by night flow? `python -m benchmarks.balance RECORDING`.

Of a recording with `truth_flow.parquet`, what each month's night flows say leaked is held to what
really leaked: once with the assumed night use (10 to 30 % of the night flow), once with the night
use that a leak survey would give, for which the median of the first seven nights stands: use a
recording that begins without leaks. `in_range` counts the months whose range holds the truth.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.balance.account import ZoneMonth, account
from server.balance.hours import Hours
from server.balance.layout import Layout, layout_of
from server.balance.local import floor_hour, month_bounds, month_of
from server.balance.sources import hours_of_recording
from server.config import BalanceSection
from server.history.recording import Recording, open_recording
from telemetry.instant import HOUR_MS, Instant

SURVEY_NIGHTS = 7


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, metavar="RECORDING")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    figures = measure(open_recording(options.recording))
    if options.json:
        print(json.dumps(figures))
        return
    for zone, found in figures["zones"].items():
        for name, way in found.items():
            print(f"  {zone} {name}: {way}")


def measure(recording: Recording) -> dict[str, Any]:
    truth = truth_of(recording)
    registry = recording.registry()
    zones = {}
    began = perf_counter()
    for zone, told in registry.zones.items():
        layout = layout_of(registry, zone)
        begin = floor_hour(recording.begin, told.timezone)
        end = Instant(floor_hour(recording.end, told.timezone) + HOUR_MS)
        hours = hours_of_recording(recording, layout.points, begin, end)
        months = _months(begin, end, told.timezone)
        assumed = BalanceSection(zone=zone)
        first = account(layout, hours, months[0], assumed, until=end).nights[:SURVEY_NIGHTS]
        use = float(np.median([n.m3h for n in first if n.m3h is not None]))
        surveyed = BalanceSection(zone=zone, night_use_m3h=use)
        zones[str(zone)] = {
            "assumed": judged(layout, hours, months, assumed, truth, end),
            "surveyed": judged(layout, hours, months, surveyed, truth, end)
            | {"night_use_m3h": round(use, 1)},
        }
    return {"zones": zones, "seconds": round(perf_counter() - began, 2)}


def judged(
    layout: Layout,
    hours: Hours,
    months: list[str],
    facts: BalanceSection,
    truth: dict[tuple[str, str], float],
    end: Instant,
) -> dict[str, Any]:
    """Return how far the months' real losses are from the truth."""
    found: list[ZoneMonth] = [account(layout, hours, m, facts, until=end) for m in months]
    below = [f.balance.real_below for f in found]
    real = [truth.get((layout.zone, m), 0.0) for m in months]
    pairs = [(b, t) for b, t in zip(below, real, strict=True) if b is not None]
    likely, leaked = sum(b.likely for b, _ in pairs), sum(t for _, t in pairs)
    return {
        "months": len(pairs),
        "leaked_m3": round(leaked),
        "said_m3": round(likely),
        "off_percent": round((likely - leaked) / leaked * 100, 1),
        "month_off_m3_median": round(float(np.median([abs(b.likely - t) for b, t in pairs]))),
        "month_off_m3_max": round(max(abs(b.likely - t) for b, t in pairs)),
        "in_range": sum(b.low <= t <= b.high for b, t in pairs),
        "by_month": {
            m: [round(t), round(b.likely)]
            for m, b, t in zip(months, below, real, strict=True)
            if b is not None
        },
    }


def truth_of(recording: Recording) -> dict[tuple[str, str], float]:
    """Return what leaked by zone and month, m³."""
    lines = (recording.folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    zone_of = {row["id"]: row["zone"] for row in map(json.loads, lines)}
    timezones = {str(z): found.timezone for z, found in recording.registry().zones.items()}
    table = pq.read_table(recording.folder / "truth_flow.parquet")
    at = table["at"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy()
    ids = np.array(table["id"].cast(pa.string()).to_pylist())
    m3h = table["m3h"].to_numpy()
    found: dict[tuple[str, str], float] = defaultdict(float)
    for leak, zone in zone_of.items():
        mine = ids == leak
        if not mine.any():
            continue
        end = int(at[mine].max())
        for month in _months(int(at[mine].min()), end + 1, timezones[zone]):
            start, behind = month_bounds(month, timezones[zone])
            inside = mine & (at >= start) & (at < behind)
            found[zone, month] += float(m3h[inside].sum()) * recording.cadence_ms / HOUR_MS
    return found


def _months(begin: int, end: int, timezone: str) -> list[str]:
    found = []
    while begin < end:
        found.append(month_of(Instant(begin), timezone))
        begin = month_bounds(found[-1], timezone)[1]
    return found


if __name__ == "__main__":
    main()
