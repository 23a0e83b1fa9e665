"""Weeks before now, written as a recording: the same water and instruments, day by day."""

import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.core.instruments import Instrument
from firmware_sim.core.plant import Plant
from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS, Instant, bin_start
from telemetry.sample import Quality
from telemetry.units import Quantity

Row = tuple[str, float]


def ends_at(config: SimConfig, now: Instant) -> Instant:
    """Return the last instant of the history that ends now."""
    return bin_start(now, config.history.cadence_s * SECOND_MS)


def begins_at(config: SimConfig, now: Instant) -> Instant:
    """Return the instant at which the plant must be to write the history that ends now."""
    return Instant(ends_at(config, now) - config.history.days * DAY_MS)


def prepare(folder: Path) -> None:
    """Make the folder of the recording. Raises `ConfigError` when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise ConfigError(
            f"history.out: expected a folder that can be written, was {folder}: {e.strerror}"
        ) from e


def write(
    config: SimConfig,
    plant: Plant,
    water: Hydraulics,
    *,
    until: Instant,
    is_stopped: Callable[[], bool],
) -> None:
    """Move the plant to `until` and write what its instruments show on the way.

    An earlier recording in the folder is replaced. Returns early when `is_stopped` says so.
    """
    folder = config.history.out
    cadence = config.history.cadence_s * SECOND_MS
    try:
        shutil.rmtree(folder / "samples", ignore_errors=True)
        (folder / "samples").mkdir()
        (folder / "truth.jsonl").write_text("", encoding="utf-8")
        shutil.copyfile(config.sim.network, folder / "network.inp")
        first = plant.at
        totals = _totals(plant)
        day: list[tuple[Instant, list[Row]]] = []
        while plant.at < until and not is_stopped():
            plant.advance(Instant(plant.at + cadence), step_ms=cadence)
            day.append((plant.at, _rows(plant, totals, hours=cadence / HOUR_MS)))
            if plant.at + cadence > until or (plant.at + cadence) // DAY_MS > plant.at // DAY_MS:
                _write_day(folder, day)
                day = []
        # Last, so that a folder with a recording.toml is a whole recording.
        if not is_stopped():
            text = _description(config, plant, water, first=Instant(first + cadence), last=until)
            (folder / "recording.toml").write_text(text, encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"history.out: cannot write into {folder}: {e}") from e


def _totals(plant: Plant) -> list[float]:
    return [
        i.total(truth) if i.counts else 0.0
        for i, truth in zip(plant.instruments, plant.truths(), strict=True)
    ]


def _rows(plant: Plant, totals: list[float], *, hours: float) -> list[Row]:
    """Return what every point shows now, and keep the totals for the next flows."""
    rows: list[Row] = []
    for n, (i, truth) in enumerate(zip(plant.instruments, plant.truths(), strict=True)):
        if not i.counts:
            rows.append((i.point, i.reading(truth, plant.at)))
            continue
        total = i.total(truth)
        rows.append((i.point, total))
        if i.flow_point is not None:
            rows.append((i.flow_point, max(0.0, total - totals[n]) / hours))
        totals[n] = total
    return rows


def _write_day(folder: Path, day: list[tuple[Instant, list[Row]]]) -> None:
    # Here and not above: pyarrow takes tens of megabytes that a simulator without history saves.
    import pyarrow as pa  # noqa: PLC0415  see above
    import pyarrow.parquet as pq  # noqa: PLC0415  see above

    names = [name for name, _ in day[0][1]]
    places = pa.array([n for _ in day for n in range(len(names))], type=pa.int32())
    count = len(day) * len(names)
    table = pa.table(
        {
            "at": pa.array(
                [at for at, rows in day for _ in rows], type=pa.timestamp("ms", tz="UTC")
            ),
            "point": pa.DictionaryArray.from_arrays(places, pa.array(names, type=pa.string())),
            "value": pa.array([value for _, rows in day for _, value in rows], type=pa.float64()),
            "quality": pa.array([int(Quality.GOOD)] * count, type=pa.uint8()),
        }
    )
    date = datetime.fromtimestamp(day[0][0] / 1000, UTC).date().isoformat()
    pq.write_table(table, folder / "samples" / f"{date}.parquet", compression="zstd")
    del table, places
    pa.default_memory_pool().release_unused()


def _description(
    config: SimConfig, plant: Plant, water: Hydraulics, *, first: Instant, last: Instant
) -> str:
    """Return the recording.toml."""
    head: dict[str, Any] = {
        "version": 1,
        "name": config.sim.name,
        "source": f"Mainwatch simulator, EPANET, seed {config.sim.seed}",
        "licence": "Apache-2.0",
        "timezone": config.sim.timezone,
        "calendar": config.sim.calendar,
        "from": _Moment(first),
        "to": _Moment(last),
        "cadence_s": config.history.cadence_s,
        "network": "network.inp",
    }
    tables = [("[recording]", head)]
    for z in config.zone:
        inflow = [{"point": i.point, "sign": i.sign} for i in z.inflow]
        zone = {"id": z.id, "name": z.name.en, "kind": "dma", "inflow": inflow}
        tables.append(("[[zone]]", zone))
    for i in plant.instruments:
        point = _point(i, water)
        tables.append(("[[point]]", point))
        if i.flow_point is not None:
            flow = {"id": i.flow_point, "quantity": Quantity.FLOW, "unit": Quantity.FLOW.unit}
            per_hour = HOUR_MS / (config.history.cadence_s * SECOND_MS)
            step = round(point["resolution"] * per_hour, 6)
            tables.append(("[[point]]", point | flow | {"resolution": step}))
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in body.items())
        for title, body in tables
    )


def _point(instrument: Instrument, water: Hydraulics) -> dict[str, Any]:
    i = instrument
    x, y = water.place(node=i.site.node, link=i.site.link)
    role = "inlet" if i.site.link else ("customer" if i.counts else i.register.quantity.value)
    return {
        "id": i.point,
        "zone": i.zone,
        "quantity": i.register.quantity,
        "unit": i.register.quantity.unit,
        "role": role,
        "resolution": round(i.step, 9),
        **({"node": i.site.node} if i.site.node else {"link": i.site.link}),
        "x": round(x, 1),
        "y": round(y, 1),
    }


class _Moment:
    """An instant that TOML writes without quotes."""

    def __init__(self, at: Instant) -> None:
        self.text = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _toml(value: Any) -> str:
    match value:
        case _Moment():
            return value.text
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
        case list():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case str():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return str(value)
